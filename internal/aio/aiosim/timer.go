package aiosim

// timerKind says what a timer does when it fires.
type timerKind uint8

const (
	tFunc timerKind = iota
	tConnect
	tStep    // the client's script goes on
	tArrive  // bytes of the client arrive
	tRead    // the client reads
	tPeerRST // the client's RST arrives
	tCork    // the kernel stops waiting for more
	tReady   // the socket is ready for a blocked attempt
	tFetch   // a range of a file was fetched
	tClosed  // the last operation of a closing slot is over
)

// timer is something that will happen. use tells apart the uses of a slot.
type timer struct {
	at   int64
	seq  uint64 // equal times fire in the order of their making
	kind timerKind
	use  uint32
	c    *Client
	s    *slot
	fn   func()
}

// timerHeap is a binary heap by time and sequence. It is written out since
// container/heap costs an interface value per timer.
type timerHeap []timer

func (h timerHeap) less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}

func (h *timerHeap) push(t timer) {
	*h = append(*h, t)
	q := *h
	for i := len(q) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.less(i, up) {
			return
		}
		q[i], q[up] = q[up], q[i]
		i = up
	}
}

func (h *timerHeap) pop() timer {
	q := *h
	top, n := q[0], len(q)-1
	q[0] = q[n]
	q[n] = timer{}
	q = q[:n]
	*h = q
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			return top
		}
		if c+1 < n && q.less(c+1, c) {
			c++
		}
		if !q.less(c, i) {
			return top
		}
		q[i], q[c] = q[c], q[i]
		i = c
	}
}

// after starts a timer that fires d nanoseconds from now.
func (w *World) after(d int64, t timer) {
	w.seq++
	t.at, t.seq = w.now+max(d, 0), w.seq
	w.timers.push(t)
}

// next returns when the next timer fires.
func (w *World) next() (at int64, ok bool) {
	if len(w.timers) == 0 {
		return 0, false
	}
	return w.timers[0].at, true
}

// fireDue fires every timer whose time has come.
func (w *World) fireDue() {
	for len(w.timers) > 0 && w.timers[0].at <= w.now {
		t := w.timers.pop()
		w.fire(&t)
	}
	if w.undone == 0 && w.whenDone != nil && !w.over() {
		f := w.whenDone
		w.whenDone = nil
		f()
	}
}

func (w *World) fire(t *timer) {
	switch t.kind {
	case tFunc:
		if !w.over() {
			t.fn()
		}
	case tConnect:
		t.c.arriveAtListener()
	case tStep:
		t.c.step()
	case tArrive:
		t.c.arrive()
	case tRead:
		t.c.read()
	case tPeerRST:
		t.c.breakUp()
	case tCork:
		t.c.corkTimeout(t.use)
	default:
		w.drv.fire(t)
	}
}
