package shape

import "math/bits"

// tick is the granularity of the wheel. Instants are rounded up to it: what is due in the
// same millisecond costs one wake-up.
const tick = int64(1e6)

// The wheel has 256 slots of one tick, then three levels of 64 slots, each as
// long as the whole level below: 256 ms, 16 s, 17 min, 18 h. A timer that
// is further off waits in the last level and is placed again from there.
const (
	nearBits = 8
	farBits  = 6
	nearLen  = 1 << nearBits
	farLen   = 1 << farBits
	farCount = 3
)

// timer is a place in the wheel. It is a part of the member or the meter that it wakes. The
// zero value is not set.
type timer struct {
	next, prev *timer
	slot       *slot // nil: not set
	at         int64 // tick
	member     *member
	meter      *meter
}

// slot is a list of timers, first set first.
type slot struct {
	head, tail *timer
	level      int8 // -1: near
	index      uint8
}

// wheel is a hierarchical timing wheel. Setting and stopping cost O(1).
type wheel struct {
	now      int64 // tick up to which everything has been returned or cascaded
	count    int
	near     [nearLen]slot
	nearUsed [nearLen / 64]uint64
	far      [farCount][farLen]slot
	farUsed  [farCount]uint64
}

func newWheel() *wheel {
	w := new(wheel)
	for i := range w.near {
		w.near[i] = slot{level: -1, index: uint8(i)}
	}
	for l := range w.far {
		for i := range w.far[l] {
			w.far[l][i] = slot{level: int8(l), index: uint8(i)}
		}
	}
	return w
}

// set sets t, which is not set, to the first tick not before the instant at.
func (w *wheel) set(t *timer, at int64) {
	t.at = at / tick
	if at%tick > 0 {
		t.at++
	}
	t.at = max(t.at, w.now+1)
	w.count++
	w.place(t)
}

// place links t where its distance from now says.
func (w *wheel) place(t *timer) {
	d := t.at - w.now
	if d < nearLen {
		w.link(&w.near[t.at&(nearLen-1)], t)
		return
	}
	at, shift := t.at, nearBits
	for l := range farCount {
		if l == farCount-1 && d>>(shift+farBits) > 0 {
			at = w.now + 1<<(shift+farBits) - 1
			d = 0
		}
		if d>>(shift+farBits) == 0 {
			w.link(&w.far[l][at>>shift&(farLen-1)], t)
			return
		}
		shift += farBits
	}
}

func (w *wheel) link(s *slot, t *timer) {
	t.slot, t.next, t.prev = s, nil, s.tail
	if s.tail == nil {
		s.head = t
		w.used(s, true)
	} else {
		s.tail.next = t
	}
	s.tail = t
}

func (w *wheel) unlink(t *timer) {
	s := t.slot
	if t.prev == nil {
		s.head = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		s.tail = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.slot, t.next, t.prev = nil, nil, nil
	if s.head == nil {
		w.used(s, false)
	}
}

// used notes whether a slot holds anything.
func (w *wheel) used(s *slot, yes bool) {
	word, bit := &w.nearUsed[s.index/64], uint64(1)<<(s.index%64)
	if s.level >= 0 {
		word = &w.farUsed[s.level]
	}
	if yes {
		*word |= bit
	} else {
		*word &^= bit
	}
}

// stop takes t out if it is set.
func (w *wheel) stop(t *timer) {
	if t.slot != nil {
		w.unlink(t)
		w.count--
	}
}

// pop takes out and returns a timer that is due at the instant now, in the order of ticks;
// nil: there is none. If the clock goes back, time stands still.
func (w *wheel) pop(now int64) *timer {
	until := now / tick
	for w.count > 0 {
		if t := w.near[w.now&(nearLen-1)].head; t != nil {
			w.unlink(t)
			w.count--
			return t
		}
		next := w.next()
		if next > until {
			break
		}
		w.now = next
		w.cascade()
	}
	w.now = max(w.now, until)
	return nil
}

// next returns the first tick after now at which something is due or must be
// moved to a finer level. The wheel is not empty.
func (w *wheel) next() int64 {
	first := never
	if d := w.nearNext(); d > 0 {
		first = w.now + d
	}
	shift := nearBits
	for _, used := range w.farUsed {
		if used != 0 {
			turn := w.now>>shift + 1
			skip := bits.TrailingZeros64(bits.RotateLeft64(used, -int(turn&(farLen-1))))
			first = min(first, (turn+int64(skip))<<shift)
		}
		shift += farBits
	}
	return first
}

// nearNext returns the distance to the next used near slot, 0 if there is none.
func (w *wheel) nearNext() int64 {
	from := (w.now + 1) & (nearLen - 1)
	word, bit := from/64, from%64
	if used := w.nearUsed[word] >> bit; used != 0 {
		return 1 + int64(bits.TrailingZeros64(used))
	}
	skipped := 64 - bit
	for i := int64(1); i <= int64(len(w.nearUsed)); i++ {
		if used := w.nearUsed[(word+i)%int64(len(w.nearUsed))]; used != 0 {
			return 1 + skipped + int64(bits.TrailingZeros64(used))
		}
		skipped += 64
	}
	return 0
}

// cascade moves what the coarser levels hold for the tick now to finer ones.
func (w *wheel) cascade() {
	shift := nearBits
	for l := range farCount {
		if w.now&(1<<shift-1) != 0 {
			return
		}
		s := &w.far[l][w.now>>shift&(farLen-1)]
		// A timer beyond the last level may come back to this very slot.
		for t, last := s.head, s.tail; t != nil; {
			moved := t
			t = t.next
			w.unlink(moved)
			w.place(moved)
			if moved == last {
				break
			}
		}
		shift += farBits
	}
}

// due returns the instant when pop may return something, -1 if nothing is set.
func (w *wheel) due() int64 {
	if w.count == 0 {
		return -1
	}
	if w.near[w.now&(nearLen-1)].head != nil {
		return w.now * tick
	}
	return w.next() * tick
}
