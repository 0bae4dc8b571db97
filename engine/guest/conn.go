package guest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/outcome"
)

// Listener returns a listener whose connections send through the engine; see
// engine.Engine.Listener.
func (g *Guests) Listener(ln net.Listener) net.Listener { return &listener{Listener: ln, guests: g} }

type listener struct {
	net.Listener
	guests *Guests
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	if l.guests.shut {
		return nil, ErrNoGuests
	}
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := &Conn{Conn: c, guests: l.guests}
	if sc, ok := c.(syscall.Conn); ok {
		g.raw, _ = sc.SyscallConn() // fails if it is closed already
	}
	l.guests.register(g)
	return g, nil
}

func (g *Guests) register(c *Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[c] = struct{}{}
	if g.closed {
		c.interrupt()
	}
}

func (g *Guests) forget(c *Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
}

// Conn is a connection of a Listener.
type Conn struct {
	net.Conn
	guests *Guests
	raw    syscall.RawConn // nil: it has no descriptor

	naming naming

	// writing is held by whoever writes, as the runtime does for a descriptor. It
	// guards what follows.
	writing sync.Mutex
	lane    *lane // nil: nothing was limited yet
	client  string
	lowat   bool // the kernel keeps little unsent data
	// buffered: the send buffer was decided upon.
	buffered bool

	mu      sync.Mutex
	closed  bool
	writeBy time.Time     // the write deadline
	poke    chan struct{} // closed when one of these changes; nil: nobody waits
}

// NetConn returns the connection that the listener underneath has accepted.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.guests.gate != nil {
		c.naming.received(p[:n])
	}
	return n, err
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.guests.gate == nil {
		return c.Conn.Write(p)
	}
	if err := c.guests.enter(); err != nil {
		return 0, c.fault("write", err)
	}
	defer c.guests.exit()
	return c.writeLimited(p)
}

// writeLimited writes p as the limits allow.
func (c *Conn) writeLimited(p []byte) (done int, err error) {
	gate := c.guests.gate
	l := c.join(c.naming.forWrite(len(p)))
	var grant int64
	for done < len(p) && err == nil {
		if grant = gate.take(l, int64(len(p)-done)); grant == 0 {
			if grant, err = c.guests.await(context.Background(), c, event{tokens: l.ready}); err != nil {
				err = c.fault("write", err)
				break
			}
		}
		var n int
		n, err = c.Conn.Write(p[done : done+int(grant)])
		done += n
		grant -= int64(n)
	}
	gate.rest(l, grant)
	c.guests.wrote(int64(done))
	if err != nil && c.guests.isCut() {
		err = c.fault("write", ErrEnded)
	}
	return done, err
}

// join begins a response, or a part of one.
func (c *Conn) join(flow Flow) *lane {
	if c.lane == nil {
		c.lane = newLane()
		c.client = clientOf(c.Conn)
	}
	if flow.Client == "" {
		flow.Client = c.client
	}
	c.guests.join(c.lane, flow)
	return c.lane
}

// fault returns an error as those of package net are.
func (c *Conn) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// ReadFrom implements io.ReaderFrom. Of a file, or a LimitedReader of one, the
// bytes do not pass through user memory.
func (c *Conn) ReadFrom(src io.Reader) (int64, error) {
	if n, handled, err := c.readFile(src); handled {
		return n, err
	}
	if r, ok := c.Conn.(io.ReaderFrom); ok && c.guests.gate == nil {
		return r.ReadFrom(src)
	}
	return io.Copy(struct{ io.Writer }{c}, src)
}

// readFile sends what is left of the file in src from its offset on, which it
// moves as a read would.
func (c *Conn) readFile(src io.Reader) (n int64, handled bool, err error) {
	limit, file := int64(-1), src
	limited, ok := src.(*io.LimitedReader)
	if ok {
		limit, file = max(limited.N, 0), limited.R
	}
	f, ok := file.(regular)
	if !ok || c.raw == nil {
		return 0, false, nil
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, false, nil // the copy will say
	}
	var off int64
	if !atOffset(raw, &off) {
		return 0, false, nil
	}
	out, err := c.sendFrom(context.Background(), raw, c.naming.forWrite(afterNaming+1), off, limit)
	if errors.Is(err, ErrEnded) && c.guests.gate == nil && out.Total() == 0 {
		return 0, false, nil // by itself, then
	}
	n = out.Total()
	if n > 0 {
		if _, e := f.Seek(off+n, io.SeekStart); err == nil {
			err = e
		}
		if limited != nil {
			limited.N -= n
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // it is up to the caller how much it wanted
	}
	if err != nil {
		err = c.fault("sendfile", err)
	}
	return n, true, err
}

// regular is *os.File, and what the library makes of one on the way here.
type regular interface {
	io.ReadSeeker
	syscall.Conn
	Stat() (os.FileInfo, error)
}

// atOffset asks for the offset of a descriptor and reports whether it is of a regular
// file.
func atOffset(raw syscall.RawConn, off *int64) (ok bool) {
	_ = raw.Control(func(fd uintptr) { // fails if it is closed
		var st unix.Stat_t
		if unix.Fstat(int(fd), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			return
		}
		var err error
		*off, err = unix.Seek(int(fd), 0, io.SeekCurrent)
		ok = err == nil
	})
	return ok
}

// send is Engine.Send to a connection of a Listener.
func (c *Conn) send(ctx context.Context, file *os.File, off, n int64) (outcome.Outcome, error) {
	if c.raw == nil {
		return outcome.Outcome{End: outcome.Aborted}, errors.ErrUnsupported
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return outcome.Outcome{End: outcome.Aborted}, err
	}
	stop := c.guests.interruptible(ctx, c.Conn)
	flow, named := flowFrom(ctx)
	if !named {
		flow = c.naming.forWrite(afterNaming + 1)
	}
	out, err := c.sendFrom(ctx, raw, flow, off, n)
	stop()
	if ctx.Err() != nil {
		c.restoreDeadline()
	}
	return out, err
}

// sendFrom sends a file.
func (c *Conn) sendFrom(ctx context.Context, file syscall.RawConn, flow Flow, off, n int64) (outcome.Outcome, error) {
	f := c.guests
	if err := f.enter(); err != nil {
		return outcome.Outcome{End: outcome.Aborted}, err
	}
	defer f.exit()
	c.writing.Lock()
	defer c.writing.Unlock()
	s := f.sender()
	s.ctx, s.raw, s.guest, s.off, s.left = ctx, c.raw, c, off, n
	if f.gate != nil {
		s.lane = c.join(flow)
	}
	return s.finish(s.withFile(file))
}

// SyscallConn implements syscall.Conn. What it returns is not what the library's
// own copying looks for, which would pass the engine by.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if c.raw == nil {
		return nil, errors.ErrUnsupported
	}
	return rawConn{c.raw}, nil
}

type rawConn struct{ syscall.RawConn }

// CloseWrite ends the sending half, if the connection underneath has one.
func (c *Conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// CloseRead ends the receiving half, if the connection underneath has one.
func (c *Conn) CloseRead() error {
	if r, ok := c.Conn.(interface{ CloseRead() error }); ok {
		return r.CloseRead()
	}
	return errors.ErrUnsupported
}

// Close implements net.Conn. Whoever writes gets net.ErrClosed.
func (c *Conn) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.changed()
	c.mu.Unlock()
	err := c.Conn.Close()
	if first {
		c.guests.forget(c)
	}
	return err
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetWriteDeadline implements net.Conn. It holds also while limits make a write
// wait.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeBy = t
	c.changed()
	if c.guests.isCut() && c.guests.gate != nil {
		return nil // it has passed for good
	}
	return c.Conn.SetWriteDeadline(t)
}

// restoreDeadline sets the deadline again that an interruption has replaced.
func (c *Conn) restoreDeadline() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.Conn.SetWriteDeadline(c.writeBy) // what is closed needs none
}

// interrupt ends the waits of those who write. The engine has ended.
func (c *Conn) interrupt() { _ = c.Conn.SetWriteDeadline(past) }

// changed wakes who waits. The caller holds mu.
func (c *Conn) changed() {
	if c.poke != nil {
		close(c.poke)
		c.poke = nil
	}
}

// waiting returns what tells of a change and of the end of the write deadline,
// for somebody who is going to wait. A nil connection has neither.
func (c *Conn) waiting() (poke <-chan struct{}, expiry <-chan time.Time, err error) {
	if c == nil {
		return nil, nil, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, nil, net.ErrClosed
	case c.writeBy.IsZero():
	case !time.Now().Before(c.writeBy):
		return nil, nil, os.ErrDeadlineExceeded
	default:
		expiry = time.After(time.Until(c.writeBy))
	}
	if c.poke == nil {
		c.poke = make(chan struct{})
	}
	return c.poke, expiry, nil
}
