package loop

import (
	"slices"
	"time"
)

// simSource is a Source in a simulated world: it gives what a response consists of in
// pieces, often later, and fails at times if anything may go wrong.
type simSource struct {
	s       *simSession
	c       *Conn
	all     []Segment // whose files are held
	list    []Segment // that are to come
	waits   int       // Later was answered so many more times than Pull was called
	closed  bool
	told    bool // of the end
	pausing bool // the next answer is Later
}

func (s *simSession) newSource(c *Conn) *simSource {
	s.sources++
	b := &simSource{s: s, c: c, all: slices.Clone(s.segs), pausing: s.m.rnd.IntN(2) == 0}
	for _, g := range b.all {
		if g.File != nil {
			g.File.Retain()
		}
		if g.left() > 0 {
			b.list = append(b.list, g)
		}
	}
	return b
}

// Next implements Body.
func (b *simSource) Next(budget int64) (Segment, Status) {
	m := b.s.m
	switch {
	case b.closed, b.told, b.waits > 0, budget <= 0:
		m.bad("a source is asked at the wrong time: %+v", *b)
	case b.pausing:
		b.later()
		return Segment{}, Later
	case !m.calm && m.rnd.IntN(60) == 0:
		b.told = true
		return Segment{}, Failed
	}
	b.pausing = m.rnd.IntN(3) == 0
	if len(b.list) == 0 {
		b.told = true
		return Segment{}, Last
	}
	g := b.cut()
	if len(b.list) == 0 && m.rnd.IntN(2) == 0 {
		b.told = true
		return g, Last
	}
	return g, More
}

// cut takes the next segment off the list, or a part of it.
func (b *simSource) cut() Segment {
	g := b.list[0]
	n := g.left()
	if n > 1 && b.s.m.rnd.IntN(2) == 0 {
		n = 1 + b.s.m.rnd.Int64N(n)
	}
	rest := g
	rest.skip(n)
	if g.inMemory() {
		g.Mem = g.Mem[:n]
	} else {
		g.N = n
	}
	if b.list[0] = rest; rest.left() == 0 {
		b.list = b.list[1:]
	}
	return g
}

// later has the loop told, after a time, that there is more.
func (b *simSource) later() {
	m := b.s.m
	b.pausing = false
	b.s.later++
	b.waits++
	m.w.At(time.Duration(m.rnd.Int64N(int64(200*time.Millisecond))), func() {
		m.loop.post(func(*Loop) {
			b.waits--
			if !b.closed {
				b.c.Pull()
			}
		})
	})
}

// Left implements Body: at times it does not know.
func (b *simSource) Left() (n int64) {
	if b.s.m.rnd.IntN(4) == 0 {
		return 0
	}
	for i := range b.list {
		n += b.list[i].left()
	}
	return n
}

// Close implements Body.
func (b *simSource) Close() {
	if b.closed {
		b.s.m.bad("a source is closed twice")
	}
	b.closed = true
	b.s.sources--
	for _, g := range b.all {
		if g.File != nil {
			g.File.Release()
		}
	}
}
