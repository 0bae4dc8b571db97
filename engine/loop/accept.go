package loop

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/internal/tlsrec"
)

// acceptPause is how long accepting rests when descriptors have run out.
const acceptPause = 10 * time.Millisecond

// acceptor has the listening sockets of a loop.
type acceptor struct {
	loop      *Loop
	listeners []*listener
	paused    []listen.Socket // not accepted from yet
	resumeAt  int64           // when stopped listeners accept again; 0: none is
}

// listener is one listening socket of one loop.
type listener struct {
	index   int
	token   aio.Token
	fd      int   // the driver's
	last    int32 // a duplicate, for acceptLast; -1: none
	stopped bool  // its stream ended for lack of descriptors
	closing bool
	line    line // what its connections have of it
}

// start begins to accept at the sockets that are paused.
func (a *acceptor) start() error {
	sockets := a.paused
	a.paused = nil
	for i, s := range sockets {
		if err := a.listen(s); err != nil {
			listen.CloseAll(sockets[i+1:])
			return fmt.Errorf("loop %d: %w", a.loop.cfg.Index, err)
		}
	}
	return nil
}

// listen gives a listening socket to the driver.
func (a *acceptor) listen(s listen.Socket) error {
	l := a.loop
	slot, ok := l.conns.get(1 << 31)
	if !ok {
		l.kernel.closeFD(int32(s.FD))
		return errors.New("no slot for a listener")
	}
	ln := &listener{
		index: s.Index, token: l.conns.token(slot), fd: s.FD, last: -1,
		line: line{paced: listen.Paces(s.FD), local: listen.IsLocal(s.FD), unix: listen.IsUnix(s.FD)},
	}
	if err := l.driver.Listen(ln.token, s.FD, s.Shared); err != nil {
		l.conns.put(slot)
		l.kernel.closeFD(int32(s.FD))
		return err
	}
	a.listeners = append(a.listeners, ln)
	return nil
}

func (a *acceptor) of(t aio.Token) *listener {
	for _, ln := range a.listeners {
		if ln.token == t {
			return ln
		}
	}
	return nil
}

// sockets returns those that are accepted from.
func (a *acceptor) sockets() (list []listen.Socket) {
	for _, ln := range a.listeners {
		if !ln.closing {
			list = append(list, listen.Socket{FD: ln.fd, Index: ln.index})
		}
	}
	return list
}

// handle handles an event that is of a listener, and reports whether it was.
func (a *acceptor) handle(e *aio.Event) bool {
	ln := a.of(e.Token)
	switch {
	case e.Op == aio.Accepted:
		a.accepted(ln, e)
	case ln == nil:
		return false
	default:
		a.closed(ln)
	}
	return true
}

// accepted handles a new connection, or the lack of descriptors for one.
func (a *acceptor) accepted(ln *listener, e *aio.Event) {
	l := a.loop
	switch {
	case ln == nil && e.Err == 0:
		l.kernel.closeFD(e.FD)
	case ln == nil:
	case e.Err == 0:
		a.open(ln, e.FD, e.Data)
	default:
		l.stats.AcceptErrors++
		if openfile.OutOfDescriptors(e.Err) {
			l.crowd.outOfDescriptors()
		}
		ln.stopped = true
		if a.resumeAt == 0 {
			a.resumeAt = l.now + int64(acceptPause)
		}
	}
}

// open begins to serve a connection that a listener has accepted. Who its peer is, is asked
// now, if the driver has not said it: later the peer may have reset it, and getpeername(2) does
// not tell any more.
func (a *acceptor) open(ln *listener, fd int32, peer []byte) {
	a.loop.stats.Accepted++
	if c := a.loop.open(fd, int32(ln.index), nil, nil); c != nil {
		if c.line = ln.line; peer != nil {
			c.peer = sys.PeerIn(peer)
		} else {
			c.peer = a.loop.kernel.peerOf(fd)
		}
		c.counted()
	}
}

// tick accepts again where accepting has rested long enough.
func (a *acceptor) tick() {
	if a.resumeAt == 0 || a.loop.now < a.resumeAt {
		return
	}
	a.resumeAt = 0
	for _, ln := range a.listeners {
		if ln.stopped && !ln.closing {
			ln.stopped = false
			a.loop.driver.Accept(ln.token)
		}
	}
}

// closeListener gives a listener back to the driver to close.
func (a *acceptor) closeListener(ln *listener) {
	ln.closing = true
	a.loop.driver.Close(ln.token, false)
}

// closed forgets a listener that the driver has closed.
func (a *acceptor) closed(ln *listener) {
	a.acceptLast(ln)
	a.listeners = slices.DeleteFunc(a.listeners, func(other *listener) bool { return other == ln })
	a.loop.conns.put(ln.token.Slot())
}

// stop stops accepting.
func (a *acceptor) stop() {
	a.resumeAt = 0 // what rests now will not be resumed
	listen.CloseAll(a.paused)
	a.paused = nil
	for _, ln := range a.listeners {
		if !ln.closing {
			a.closeListener(ln)
		}
	}
}

// handOver stops accepting in favour of a successor. What waits in the queues is for it,
// but for what the kernel has woken this process for.
func (a *acceptor) handOver() {
	a.resumeAt = 0
	for _, ln := range a.listeners {
		if ln.closing {
			continue
		}
		fd, err := unix.FcntlInt(uintptr(ln.fd), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			ln.last = int32(fd)
		}
		a.closeListener(ln)
	}
}

// acceptLast takes what waits in the queue of a listener that the driver has let go
// of. A multishot accept on a ring is an exclusive waiter: one connection may have
// woken it while it was being cancelled, and nobody else will be woken for that one.
func (a *acceptor) acceptLast(ln *listener) {
	if ln.last < 0 {
		return
	}
	for range listen.Backlog {
		if !sys.Readable(ln.last) {
			break
		}
		fd, e := sys.Accept4(ln.last) // never waits long: see sys.SetAcceptPatience
		if e != 0 {
			break
		}
		a.open(ln, fd, nil)
	}
	a.loop.kernel.closeFD(ln.last)
}

// close closes what the driver does not own, when the loop ends.
func (a *acceptor) close() {
	listen.CloseAll(a.paused)
	a.paused = nil
	for _, ln := range a.listeners {
		if ln.last >= 0 {
			a.loop.kernel.closeFD(ln.last)
		}
		ln.last, ln.closing = -1, true // the driver closes ln.fd
	}
}

// open begins to serve a connection, or closes it and returns nil. Of those that are too many
// a few more are let in, to be told so. rec is for TLS, if that is spoken; a may be nil.
func (l *Loop) open(fd, listener int32, rec *tlsrec.Conn, a Adopted) *Conn {
	b := l.cfg.Bounds
	full := l.crowd.full()
	slot, ok := uint32(0), !full || b.Refusal != nil && b.conns.Load() <= int64(b.Conns+b.Conns/16)
	if ok {
		slot, ok = l.conns.get(1 << 31)
	}
	if !ok {
		l.stats.Refused++
		l.kernel.closeFD(fd)
		return nil
	}
	c := l.conns.at(slot)
	*c = Conn{
		loop: l, token: l.conns.token(slot), fd: fd, listener: listener,
		state: connReading, deadline: l.now + int64(l.cfg.HeaderTimeout), opened: l.now,
	}
	if err := l.driver.Open(c.token, int(fd)); err != nil {
		l.stats.Refused++
		l.kernel.closeFD(fd)
		*c = Conn{}
		l.conns.put(slot)
		return nil
	}
	b.conns.Add(1)
	if rec != nil {
		c.sealed = newSealed(c, rec)
	}
	if c.adopted = a; a != nil {
		if s, ok := a.(Speaker); ok {
			if by := s.Speak(c); by != nil {
				c.trunk = &trunk{speaks: by}
			}
		}
	}
	if full {
		c.refuse()
	}
	return c
}

// drainBy stops accepting, and does what is to be done with idle connections.
func (l *Loop) drainBy(idle func(*Conn)) {
	if l.draining {
		return
	}
	l.draining = true
	l.acceptor.stop()
	l.each(func(c *Conn) {
		switch {
		case c.trunk != nil && c.state == connReading:
			c.trunk.speaks.Drain(c, l.retiring)
		case c.carried != nil:
		case c.state == connReading && len(c.in.buf) == 0:
			idle(c)
		}
	})
}
