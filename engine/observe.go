package engine

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/fserve/fserve/engine/shape"
)

// Ask runs f on each loop in turn and waits for it, so that f may read what
// belongs to the loop and write what belongs to the caller. For a loop that has
// ended f runs on the caller's goroutine. Ask must not be called on a loop.
func (e *Engine) Ask(f func(*Loop)) {
	var loops []*Loop
	e.each(func(l *Loop) { loops = append(loops, l) })
	done := make(chan struct{}, 1)
	for _, l := range loops {
		if l.post(func(l *Loop) { f(l); done <- struct{}{} }) {
			<-done
			continue
		}
		<-l.gone
		f(l)
	}
}

// Stats returns the loop's counters. It is for Engine.Ask.
func (l *Loop) Stats() LoopStats {
	if last := l.last.Load(); last != nil {
		return *last
	}
	return l.snapshot()
}

// speed measures the throughput of a response by the second: the mean and the
// variance over about the last eight seconds, each later one counting for less.
type speed struct {
	seen     int64 // bytes at the end of the last second
	seconds  uint32
	mean     float64 // bytes per second
	variance float64
}

const (
	sampleEvery = int64(time.Second)
	// steadyAfter is how many seconds a response must have been measured before
	// its jitter counts: the first ones are of slow start.
	steadyAfter = 3
	// speedMemory is how many seconds the mean looks back.
	speedMemory = 8
)

// add notes that total bytes have been moved, dt seconds after the last time.
func (s *speed) add(total int64, dt float64) {
	x := float64(total-s.seen) / dt
	s.seen = total
	s.seconds++
	a := 1 / float64(min(s.seconds, speedMemory))
	d := x - s.mean
	s.mean += a * d
	s.variance = (1 - a) * (s.variance + a*d*d)
}

// jitter returns standard deviation over mean; ok is false if there is not
// enough to tell.
func (s *speed) jitter() (cov float64, ok bool) {
	if s.seconds < steadyAfter || s.mean <= 0 {
		return 0, false
	}
	return math.Sqrt(s.variance) / s.mean, true
}

// sample measures all responses under way, once a second. It is part of the
// sweep, and like it one pass over a flat array.
func (l *Loop) sample() {
	if !l.engine.cfg.Sample || l.now < l.sampleAt {
		return
	}
	dt := l.now - l.sampleAt + sampleEvery // since the last time; nothing was measured before the first
	l.sampleAt = l.now + sampleEvery
	n, sum := 0, 0.0
	for i := range l.conns.slabs {
		s := l.conns.slabs[i]
		for j := range s {
			c := &s[j]
			if c.state != connSending || c.out.outcome.Start > l.now-sampleEvery {
				continue
			}
			t := c.out
			over := dt
			if t.speed.seconds == 0 {
				over = l.now - t.outcome.Start
			}
			t.speed.add(t.outcome.Total(), float64(over)/float64(time.Second))
			if cov, ok := t.speed.jitter(); ok {
				n, sum = n+1, sum+cov
			}
		}
	}
	l.stats.Steady, l.stats.Jitter = n, 0
	if n > 0 {
		l.stats.Jitter = sum / float64(n)
	}
}

// ConnOrder says which connections come first.
type ConnOrder uint8

const (
	ByRate ConnOrder = iota // bytes per second of the response
	ByAge                   // since the connection was opened
	ByWait                  // time that limits have held the response
)

// ConnInfo is what a connection is doing at some instant.
type ConnInfo struct {
	Loop     int
	ID       uint64 // see Conn.ID
	Peer     netip.AddrPort
	Listener int           // see Conn.Listener
	Age      time.Duration // since it was opened
	Requests uint32

	Sending bool // a response is under way, of which the rest tells
	File    string
	For     time.Duration // since it began
	Sent    int64         // bytes
	Left    int64         // bytes
	Rate    int64         // bytes per second over the last seconds, or since it began
	Waiting bool          // for its turn in the limits
	Blocked bool          // for the peer or the disk
	// Held is by which levels it was held so far; in the place of LevelNone is
	// what it waits now.
	Held [shape.NumLevels]time.Duration
}

// Connections returns the first n connections of all loops in an order, and how
// many there are. It asks each loop, which passes once over its connections and
// looks closely at those that are returned.
func (e *Engine) Connections(order ConnOrder, n int) (list []ConnInfo, open int) {
	e.Ask(func(l *Loop) {
		open += l.snapshotOpen()
		list = append(list, l.connections(order, n)...)
	})
	key := func(i *ConnInfo) int64 {
		switch order {
		case ByRate:
			return i.Rate
		case ByWait:
			return int64(i.held())
		default:
			return int64(i.Age)
		}
	}
	slices.SortStableFunc(list, func(a, b ConnInfo) int { return cmp.Compare(key(&b), key(&a)) })
	return list[:min(n, len(list))], open
}

func (i *ConnInfo) held() (sum time.Duration) {
	for _, d := range i.Held {
		sum += d
	}
	return sum
}

// ranked is a connection with what it is ordered by.
type ranked struct {
	key int64
	c   *Conn
}

// connections returns the first n of the loop's connections.
func (l *Loop) connections(order ConnOrder, n int) []ConnInfo {
	top := make([]ranked, 0, n+1)
	for i := range l.conns.slabs {
		s := l.conns.slabs[i]
		for j := range s {
			c := &s[j]
			if c.state == connFree || c.state == connClosing {
				continue
			}
			r := ranked{l.rank(c, order), c}
			if len(top) == n && (n == 0 || r.key <= top[0].key) {
				continue
			}
			top = admit(top, r, n)
		}
	}
	list := make([]ConnInfo, 0, len(top))
	for _, r := range top {
		list = append(list, l.describe(r.c))
	}
	return list
}

// admit keeps the n largest in a heap whose first one is the smallest.
func admit(heap []ranked, r ranked, n int) []ranked {
	if len(heap) < n {
		heap = append(heap, r)
		for i := len(heap) - 1; i > 0 && heap[i].key < heap[(i-1)/2].key; i = (i - 1) / 2 {
			heap[i], heap[(i-1)/2] = heap[(i-1)/2], heap[i]
		}
		return heap
	}
	heap[0] = r
	for i := 0; ; {
		small := i
		for _, k := range [2]int{2*i + 1, 2*i + 2} {
			if k < n && heap[k].key < heap[small].key {
				small = k
			}
		}
		if small == i {
			return heap
		}
		heap[i], heap[small] = heap[small], heap[i]
		i = small
	}
}

func (l *Loop) rank(c *Conn, order ConnOrder) int64 {
	switch {
	case order == ByAge:
		return l.now - c.opened
	case c.state != connSending:
		return -1
	case order == ByRate:
		return l.rate(c.out)
	}
	var held int64
	for _, ns := range l.heldSoFar(c) {
		held += ns
	}
	return held
}

// rate returns the bytes per second of a response.
func (l *Loop) rate(t *transfer) int64 {
	if t.speed.seconds > 0 {
		return int64(t.speed.mean)
	}
	took := max(l.now-t.outcome.Start, int64(time.Millisecond))
	return int64(float64(t.outcome.Total()) / (float64(took) / float64(time.Second)))
}

// heldSoFar returns for how long limits have held the response. What it waits
// now is not yet known to be any level's: it is in the place of LevelNone.
func (l *Loop) heldSoFar(c *Conn) [shape.NumLevels]int64 {
	if c.flow == nil || c.out.done {
		return c.out.outcome.Held
	}
	held := c.flow.Held()
	held[shape.LevelNone] = 0
	if c.out.waiting && c.flow.Waiting() {
		held[shape.LevelNone] = max(l.now-c.flow.Since(), 0)
	}
	return held
}

func (l *Loop) describe(c *Conn) ConnInfo {
	i := ConnInfo{
		Loop: l.index, ID: c.ID(), Peer: c.RemoteAddr(), Listener: c.Listener(),
		Age: time.Duration(l.now - c.opened), Requests: c.requests,
	}
	if c.state != connSending {
		return i
	}
	t := c.out
	i.Sending, i.For = true, time.Duration(l.now-t.outcome.Start)
	i.Sent, i.Left, i.Rate = t.outcome.Total(), t.left, l.rate(t)
	i.Waiting, i.Blocked = t.waiting, t.blocked
	for level, ns := range l.heldSoFar(c) {
		i.Held[level] = time.Duration(ns)
	}
	for k := range t.segs {
		if f := t.segs[k].File; f != nil {
			i.File = f.Key()
			break
		}
	}
	return i
}
