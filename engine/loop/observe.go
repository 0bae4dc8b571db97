package loop

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/aio"
)

// speed measures the throughput of a response by the second: the mean and the
// variance over about the last eight seconds, each later one counting for less.
type speed struct {
	seen     int64 // bytes at the end of the last second
	seconds  uint32
	mean     float64 // bytes per second
	variance float64
}

const (
	speedEvery = int64(time.Second)
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

// measureSpeeds measures all responses under way, once a second. It is one pass over a flat
// array.
func (l *Loop) measureSpeeds() {
	if !l.cfg.Sample || l.now < l.speedsAt {
		return
	}
	dt := l.now - l.speedsAt + speedEvery // since the last time; nothing was measured before the first
	l.speedsAt = l.now + speedEvery
	n, sum := 0, 0.0
	l.each(func(c *Conn) {
		s := c.stream
		if c.state != connSending || s.outcome.Start > l.now-speedEvery {
			return
		}
		over := dt
		if s.speed.seconds == 0 {
			over = l.now - s.outcome.Start
		}
		s.speed.add(s.outcome.Total(), float64(over)/float64(time.Second))
		if cov, ok := s.speed.jitter(); ok {
			n, sum = n+1, sum+cov
		}
	})
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
	Adopted  Adopted // see Conn.Adopted

	Sending bool   // a response is under way, of which the rest tells
	Client  string // what it is counted by; empty: the address of the peer
	Group   string // see Response.Group
	File    string
	For     time.Duration // since it began
	Sent    int64         // bytes
	Left    int64         // bytes
	Rate    int64         // bytes per second over the last seconds, or since it began
	Waiting bool          // for its turn in the limits
	Blocked bool          // for the peer, the disk, or its source
	// Held is by which levels it was held so far; in the place of LevelNone is
	// what it waits now.
	Held [shape.NumLevels]time.Duration

	key int64 // by which it was ranked
}

// Connections returns the first n connections of some loops in an order, and how
// many there are. It asks each loop, which passes once over its connections and
// looks closely at those that are returned.
func Connections(runners []*Runner, order ConnOrder, n int) (list []ConnInfo, open int) {
	for _, r := range runners {
		r.Ask(func(l *Loop) {
			open += l.openConns()
			list = append(list, l.connections(order, n)...)
		})
	}
	slices.SortStableFunc(list, func(a, b ConnInfo) int { return cmp.Compare(b.key, a.key) })
	return list[:min(n, len(list))], open
}

// Cut ends the connection of an ID with a reset, and returns what it was doing; ok is false if
// the loop has none, or has ended.
func (r *Runner) Cut(id uint64) (i ConnInfo, ok bool) {
	done := make(chan struct{})
	if !r.loop.post(func(l *Loop) {
		defer close(done)
		t := aio.Token(id)
		if int(t.Slot()) >= len(l.conns.gens) {
			return
		}
		c := l.conns.of(t)
		if ok = c != nil && c.state != connClosing; ok {
			i = describe(c)
			c.broken(outcome.Aborted, true)
		}
	}) {
		return i, false
	}
	<-done
	return i, ok
}

// ranked is a connection with what it is ordered by.
type ranked struct {
	key int64
	c   *Conn
}

// connections returns the first n of the loop's connections.
func (l *Loop) connections(order ConnOrder, n int) []ConnInfo {
	top := make([]ranked, 0, n+1)
	l.each(func(c *Conn) {
		if c.state == connClosing {
			return
		}
		top = keepTop(top, ranked{order.of(c), c}, n)
	})
	list := make([]ConnInfo, 0, len(top))
	for _, r := range top {
		i := describe(r.c)
		i.key = r.key
		list = append(list, i)
	}
	return list
}

// keepTop keeps the n largest in a heap whose first one is the smallest.
func keepTop(heap []ranked, r ranked, n int) []ranked {
	switch {
	case len(heap) < n:
		heap = append(heap, r)
		for i := len(heap) - 1; i > 0 && heap[i].key < heap[(i-1)/2].key; i = (i - 1) / 2 {
			heap[i], heap[(i-1)/2] = heap[(i-1)/2], heap[i]
		}
		return heap
	case n <= 0 || r.key <= heap[0].key:
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

// of is what a connection is ordered by.
func (order ConnOrder) of(c *Conn) int64 {
	switch {
	case order == ByAge:
		return c.loop.now - c.opened
	case c.state != connSending:
		return -1
	case order == ByRate:
		return c.stream.rate()
	}
	var held int64
	for _, ns := range c.stream.heldSoFar() {
		held += ns
	}
	return held
}

// rate returns the bytes per second of a response.
func (s *Stream) rate() int64 {
	if s.speed.seconds > 0 {
		return int64(s.speed.mean)
	}
	took := max(s.conn.loop.now-s.outcome.Start, int64(time.Millisecond))
	return int64(float64(s.outcome.Total()) / (float64(took) / float64(time.Second)))
}

// heldSoFar returns for how long limits have held the response. What it waits
// now is not yet known to be any level's: it is in the place of LevelNone.
func (s *Stream) heldSoFar() [shape.NumLevels]int64 {
	if s.flow == nil {
		return s.outcome.Held
	}
	held := s.flow.Held()
	held[shape.LevelNone] = 0
	if s.phase == awaitingTokens && s.flow.Waiting() {
		held[shape.LevelNone] = max(s.conn.loop.now-s.flow.Since(), 0)
	}
	return held
}

func describe(c *Conn) ConnInfo {
	l := c.loop
	i := ConnInfo{
		Loop: l.cfg.Index, ID: c.ID(), Peer: c.RemoteAddr(), Listener: c.Listener(),
		Age: time.Duration(l.now - c.opened), Requests: c.requests, Adopted: c.adopted,
	}
	if c.state != connSending {
		return i
	}
	s := c.stream
	i.Sending, i.For = true, time.Duration(l.now-s.outcome.Start)
	i.Sent, i.Left, i.Rate = s.outcome.Total(), s.left, s.rate()
	i.Client, i.Group = string(s.whose.client), s.whose.group
	i.Waiting = s.phase == awaitingTokens
	i.Blocked = s.phase == awaitingRoom || s.phase == awaitingDisk || s.phase == awaitingBody
	for level, ns := range s.heldSoFar() {
		i.Held[level] = time.Duration(ns)
	}
	if f := s.file(); f != nil {
		i.File = strings.Clone(f.Key())
	}
	return i
}

// file returns the file that is being sent, or the first of those that will be.
func (s *Stream) file() *openfile.File {
	if s.at.File != nil {
		return s.at.File
	}
	for i := range s.parts.list {
		if f := s.parts.list[i].File; f != nil {
			return f
		}
	}
	return nil
}

// openConns returns how many connections there are.
func (l *Loop) openConns() int { return max(0, l.conns.open-len(l.acceptor.listeners)) }

// surveyStep is how many clients are looked at in one turn of the loop: some half a
// millisecond's worth, since hardly any is in the core's cache.
const surveyStep = 1024

// Survey adds to r what the loop's tree is doing, which it asks in as many turns as
// it takes. s is memory that is used again. A loop that has ended adds nothing.
func (r *Runner) Survey(s *shape.Survey, report *shape.Report) {
	whole := make(chan bool, 1)
	var step func(*Loop)
	step = func(l *Loop) { // it asks for its next turn itself, without waiting for the caller's
		if !s.Step(l.flows.tree, l.now, surveyStep) {
			whole <- true
		} else if !l.post(step) {
			whole <- false
		}
	}
	if r.loop.post(step) && <-whole {
		s.AddTo(report)
	}
}
