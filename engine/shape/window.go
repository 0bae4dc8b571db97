package shape

// windowSlots is how many whole seconds a window looks back.
const windowSlots = 10

// window counts traffic by the second: ten whole seconds and the running one. Adding costs
// O(1).
type window struct {
	second int64 // the running one, in seconds of the clock
	slots  [windowSlots + 1]int64
}

// add counts n bytes in the given second; below 0: bytes that come back.
func (w *window) add(sec, n int64) {
	w.roll(sec)
	w.slots[w.second%int64(len(w.slots))] += n
}

// roll makes sec the running second and forgets what is too old.
func (w *window) roll(sec int64) {
	if sec <= w.second {
		return
	}
	for s := max(w.second+1, sec-windowSlots); s <= sec; s++ {
		w.slots[s%int64(len(w.slots))] = 0
	}
	w.second = sec
}

// rates returns the bytes per second over the last ten whole seconds, and over
// the last one.
func (w *window) rates(sec int64) (ten, one int64) {
	w.roll(sec)
	for _, n := range w.slots {
		ten += n
	}
	ten -= w.slots[w.second%int64(len(w.slots))] // still running
	one = w.slots[(w.second+windowSlots)%int64(len(w.slots))]
	return max(ten/windowSlots, 0), max(one, 0)
}
