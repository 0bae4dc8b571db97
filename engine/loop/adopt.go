package loop

import (
	"net/netip"
	"time"

	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/internal/tlsrec"
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

// Socket is what an Adopted is besides if what it stands in front of is a TCP
// connection, which is then measured in place of the descriptor that was adopted.
type Socket interface {
	// Control is that of a syscall.RawConn, which fails once the connection is closed.
	Control(f func(fd uintptr)) error
}

// Relay is what an Adopted is besides if it watches how its client takes what it passes on.
type Relay interface {
	// Rests returns for how long the client has taken nothing, by which a response is cut in
	// place of when the loop could send last: a socket that was full has room again only after
	// much of it was taken, which takes a slow client longer. It is called on the loop.
	Rests() time.Duration
}

// Adopt gives a connected, non-blocking stream socket to the loop, which serves it like
// an accepted one. It reports false if the loop has ended; the socket is then the
// caller's still.
func (r *Runner) Adopt(fd int, a Adopted) bool {
	return r.loop.post(func(l *Loop) { l.adopt(int32(fd), a) })
}

func (l *Loop) adopt(fd int32, a Adopted) {
	if l.draining || l.posts.ended() {
		l.kernel.closeFD(fd)
		a.Ending(false)
		return
	}
	l.stats.Accepted++
	var rec *tlsrec.Conn
	if s, ok := a.(Secured); ok {
		rec = s.Records()
	}
	c := l.open(fd, -1, rec, a)
	if c == nil {
		a.Ending(true)
		return
	}
	c.line.paced = listen.Paces(int(fd))
	if rec != nil {
		c.line.local = listen.IsLocal(int(fd))
	} else if s, ok := a.(Socket); ok {
		_ = s.Control(func(fd uintptr) { c.line.local = listen.IsLocal(int(fd)) }) // closed by now: it does not matter
	}
	c.SetRemoteAddr(a.Peer())
}

// stillTakes moves the deadline of a response on if its client is known to have taken something.
func stillTakes(c *Conn) bool {
	r, ok := c.adopted.(Relay)
	if ok {
		c.deadline = c.loop.now + int64(c.loop.cfg.SendTimeout-r.Rests())
	}
	return ok && c.deadline > c.loop.now
}

// Adopted returns what the engine was given with the connection, nil if it has accepted it.
func (c *Conn) Adopted() Adopted { return c.adopted }
