package loop

import "github.com/fserve/fserve/engine/outcome"

const (
	// reclaimLooks bounds the connections that are looked at for those to end, some 20 us of
	// work. Among no more than these it is the longest waiting ones that go.
	reclaimLooks = 4096

	// reclaimMost is how many connections end at once, if they are that few among many, so that each that
	// comes to a full house does not look for a place anew.
	reclaimMost = 16

	// spareMost is how many files are closed at once for want of descriptors.
	spareMost = 64
)

// crowd makes room where the Bounds are met: connections that wait for their client end, those
// first that wait the longest.
type crowd struct {
	loop *Loop
	slab int // where the next look begins
	top  []ranked
}

// full reports whether there is no room for one connection more, although some were closed for it.
func (w *crowd) full() bool {
	b := w.loop.cfg.Bounds
	most := int64(b.Conns)
	if most == 0 || b.conns.Load() < most {
		return false
	}
	b.short(NoConns, w.loop.now)
	w.reclaim(isIdle)
	return b.conns.Load() >= most
}

// makeRoom makes room for input of c, of which too much is kept, or ends c.
func (w *crowd) makeRoom(c *Conn) {
	b := w.loop.cfg.Bounds
	over := func() bool { return b.Buffered > 0 && b.buffered.Load() > b.Buffered }
	if !over() {
		return
	}
	b.short(NoBuffers, w.loop.now)
	w.reclaim(func(c *Conn) bool { return keepsInput(c) && (c.state == connSending || isIdle(c)) })
	switch {
	case !keepsInput(c) || !over():
	case c.state == connReading:
		c.refuse()
	default:
		c.broken(outcome.Aborted, true)
	}
}

// outOfDescriptors frees some, if not at once: those of files that nobody uses, of which the
// cache has as many as there were descriptors, or else those of connections that are idle.
func (w *crowd) outOfDescriptors() {
	files := w.loop.Files
	freed := 0
	for freed < spareMost && files.Spare() {
		freed++
	}
	if freed == 0 {
		w.loop.cfg.Bounds.short(NoDescriptors, w.loop.now)
		w.reclaim(isIdle)
	}
}

// reclaim ends a few of the connections that wait for their client and may be ended, the
// longest waiting first, and returns how many.
func (w *crowd) reclaim(mayEnd func(*Conn) bool) int {
	l := w.loop
	n := min(reclaimMost, 1+l.openConns()/64)
	w.top = w.top[:0]
	slabs := l.conns.slabs
	for range min(len(slabs), reclaimLooks/slab) {
		w.slab = (w.slab + 1) % len(slabs)
		for i := range slabs[w.slab] {
			c := &slabs[w.slab][i]
			if c.deadline != 0 && c != l.serving && mayEnd(c) {
				w.top = keepTop(w.top, ranked{l.now - l.cfg.waitsSince(c), c}, n)
			}
		}
	}
	for i, r := range w.top {
		w.top[i].c = nil
		l.stats.Reclaimed++
		if r.c.state == connSending {
			r.c.broken(outcome.Aborted, true)
		} else {
			r.c.close(false)
		}
	}
	return len(w.top)
}

// isIdle reports whether a connection has no request that the session knows of.
func isIdle(c *Conn) bool {
	return c.state == connLingering || c.state == connReading && !c.in.queued && c.in.due == 0 && (c.trunk == nil || c.trunk.speaks.Idle())
}

// waitsSince returns since when a connection that has a deadline waits for its client.
func (c *Config) waitsSince(conn *Conn) int64 {
	switch {
	case conn.state == connSending:
		return conn.deadline - int64(c.SendTimeout)
	case conn.state == connLingering:
		return conn.deadline - int64(c.LingerTimeout)
	case len(conn.in.buf) == 0 && conn.requests > 0:
		return conn.deadline - int64(c.IdleTimeout)
	}
	return conn.deadline - int64(c.HeaderTimeout)
}

// counted counts a connection by its client, and refuses it if it is one too many.
func (c *Conn) counted() {
	l := c.loop
	b := l.cfg.Bounds
	if c.state != connReading {
		return
	}
	if b.count(c); !b.tooMany(c.client) {
		return
	}
	b.short(NoClientConns, l.now)
	of := c.client
	l.crowd.reclaim(func(other *Conn) bool { return other != c && other.client == of && isIdle(other) })
	if b.tooMany(of) {
		c.refuse()
	}
}

// refuse tells a connection that it is one too many, if its bounds have a word for that, and ends it.
func (c *Conn) refuse() {
	l := c.loop
	l.stats.Refused++
	if c.trunk != nil {
		c.trunk.speaks.Refuse(c)
		return
	}
	if word := l.cfg.Bounds.Refusal; word != nil {
		send(c, word, nil, true) // before FIN. What is not taken is lost.
	}
	c.linger()
}
