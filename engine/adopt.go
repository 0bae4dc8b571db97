package engine

import (
	"errors"
	"net/netip"

	"github.com/fserve/fserve/engine/listen"
)

// Adopted is what stands behind a connection that the engine was given instead
// of accepting it, for example the part of a program that ends TLS.
type Adopted interface {
	// Peer returns the address that Conn.RemoteAddr returns.
	Peer() netip.AddrPort

	// Ending tells that the engine is about to close its end; reset says that
	// what was sent must not be taken for the whole. It is called once, on the
	// loop, and must not block. What is on the other end learns nothing else of
	// a reset: sockets that are not TCP have none.
	Ending(reset bool)
}

var errNoLoops = errors.New("engine: it has no loops")

// Adopt gives a connected stream socket to one of the loops, which serves it
// like an accepted one. The descriptor must be non-blocking; it is the engine's
// from here on, unless an error is returned. Conn.Listener is -1 for it.
func (e *Engine) Adopt(fd int, a Adopted) error {
	if len(e.loops) == 0 {
		return errNoLoops
	}
	e.mu.Lock()
	l := e.loops[int(e.adopted.Add(1))%len(e.loops)]
	e.mu.Unlock()
	if l == nil || !l.post(func(l *Loop) { l.adopt(int32(fd), a) }) {
		return ErrEnded
	}
	return nil
}

func (l *Loop) adopt(fd int32, a Adopted) {
	if l.draining || l.ended() {
		l.closeFD(fd)
		a.Ending(false)
		return
	}
	l.stats.Accepted++
	c := l.open(fd, -1)
	if c == nil {
		a.Ending(true)
		return
	}
	c.adopted, c.paced = a, listen.Paces(int(fd))
	if s, ok := a.(Socket); ok {
		_ = s.Control(func(fd uintptr) { c.local = listen.IsLocal(int(fd)) }) // closed by now: it does not matter
	}
	c.SetRemoteAddr(a.Peer())
}

// ended reports whether the loop handles no events any more.
func (l *Loop) ended() bool {
	l.posts.mu.Lock()
	defer l.posts.mu.Unlock()
	return l.posts.over
}

// Adopted returns what Engine.Adopt was given with the connection, nil if the
// engine has accepted it.
func (c *Conn) Adopted() Adopted { return c.adopted }

// SetRemoteAddr replaces the address of the peer by what is known better, for
// example from a proxy in front; the zero value is one, too.
func (c *Conn) SetRemoteAddr(a netip.AddrPort) { c.peer, c.named = a, true }

// Named reports whether SetRemoteAddr was called.
func (c *Conn) Named() bool { return c.named }
