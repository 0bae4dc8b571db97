package engine

import (
	"errors"

	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/internal/aio"
)

// listener is one listening socket of one loop.
type listener struct {
	index   int
	token   aio.Token
	fd      int   // the driver's
	last    int32 // a duplicate, for acceptLast; -1: none
	stopped bool  // its stream ended for lack of descriptors
	closing bool
	paced   bool // its connections are, by their congestion control
	local   bool // at a loopback address
}

func (ln *listener) resume(l *Loop) {
	if ln.stopped && !ln.closing {
		ln.stopped = false
		l.driver.Accept(ln.token)
	}
}

// listen gives a listening socket to the loop, which owns it from here on.
func (l *Loop) listen(s listen.Socket) error {
	slot, ok := l.conns.get(1 << 31)
	if !ok {
		l.closeFD(int32(s.FD))
		return errors.New("no slot for a listener")
	}
	ln := &listener{index: s.Index, token: l.conns.token(slot), fd: s.FD, last: -1, paced: listen.Paces(s.FD), local: listen.IsLocal(s.FD)}
	if err := l.driver.Listen(ln.token, s.FD, s.Shared); err != nil {
		l.conns.put(slot)
		l.closeFD(int32(s.FD))
		return err
	}
	l.listeners = append(l.listeners, ln)
	return nil
}

func (l *Loop) listenerOf(t aio.Token) *listener {
	for _, ln := range l.listeners {
		if ln.token == t {
			return ln
		}
	}
	return nil
}

func (l *Loop) listenerClosed(ln *listener) {
	l.acceptLast(ln)
	for i, other := range l.listeners {
		if other == ln {
			l.listeners = append(l.listeners[:i], l.listeners[i+1:]...)
			l.conns.put(ln.token.Slot())
			return
		}
	}
}

// accepted handles a new connection, or the lack of descriptors for one.
func (l *Loop) accepted(e *aio.Event) {
	ln := l.listenerOf(e.Token)
	if ln == nil {
		if e.Err == 0 {
			l.closeFD(e.FD)
		}
		return
	}
	if e.Err != 0 {
		l.stats.AcceptErrors++
		if openfile.OutOfDescriptors(e.Err) {
			l.Files.Spare() // a client is worth more than a file that may be asked for
		}
		ln.stopped = true
		if l.acceptAt == 0 {
			l.acceptAt = l.now + int64(acceptPause)
		}
		return
	}
	l.stats.Accepted++
	l.openFrom(ln, e.FD)
}

// openFrom begins to serve a connection that a listener has accepted.
func (l *Loop) openFrom(ln *listener, fd int32) {
	if c := l.open(fd, int32(ln.index)); c != nil {
		c.paced, c.local = ln.paced, ln.local
	}
}

// open begins to serve a connection, or closes it and returns nil.
func (l *Loop) open(fd, listener int32) *Conn {
	slot, ok := l.conns.get(l.maxConns + len(l.listeners))
	if !ok {
		l.stats.Refused++
		l.closeFD(fd)
		return nil
	}
	c := l.conns.at(slot)
	*c = Conn{
		loop: l, token: l.conns.token(slot), fd: fd, listener: listener, queued: c.queued,
		state: connReading, deadline: l.now + l.headerTimeout, opened: l.now,
	}
	if err := l.driver.Open(c.token, int(fd)); err != nil {
		l.stats.Refused++
		l.closeFD(fd)
		*c = Conn{queued: c.queued}
		l.conns.put(slot)
		return nil
	}
	return c
}

// closeListener gives a listener back to the driver to close.
func (l *Loop) closeListener(ln *listener) {
	ln.closing = true
	l.driver.Close(ln.token, false)
}

// drain stops accepting and closes what is idle; the rest closes as it ends.
func (l *Loop) drain() { l.drainBy(func(c *Conn) { l.closeConn(c, false) }) }

// drainBy is drain, with what becomes of idle connections.
func (l *Loop) drainBy(idle func(*Conn)) {
	if l.draining {
		return
	}
	l.draining = true
	l.acceptAt = 0 // what rests now will not be resumed
	listen.CloseAll(l.held)
	l.held = nil
	for _, ln := range l.listeners {
		if !ln.closing {
			l.closeListener(ln)
		}
	}
	for i := range l.conns.slabs {
		for j := range l.conns.slabs[i] {
			c := &l.conns.slabs[i][j]
			if c.state == connReading && len(c.in) == 0 {
				idle(c)
			}
		}
	}
}
