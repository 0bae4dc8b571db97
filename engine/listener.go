package engine

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
)

// Listener returns a listener whose connections send through the engine: files
// that are copied to them (io.Copy, http.ServeContent, a body stream of fasthttp)
// without passing through user memory and without a thread that waits for the
// disk, and everything by the engine's limits.
//
// Nothing else changes: the connections belong to whoever accepts them, and
// deadlines, CloseWrite, SyscallConn and half-closed peers work as they do without. What is
// written by SyscallConn is not limited. TLS goes around it
// (tls.NewListener(e.Listener(ln), cfg)); its bytes are limited like others.
//
// When the engine is closed connections with limits fail with ErrEnded; without,
// they go on by themselves. Shut the server down first.
func (e *Engine) Listener(ln net.Listener) net.Listener {
	return &guestListener{Listener: ln, foreign: e.foreign}
}

type guestListener struct {
	net.Listener
	foreign *foreign
}

// Accept implements net.Listener.
func (l *guestListener) Accept() (net.Conn, error) {
	if l.foreign.shut {
		return nil, ErrNotForeign
	}
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := &guestConn{Conn: c, foreign: l.foreign}
	if sc, ok := c.(syscall.Conn); ok {
		g.raw, _ = sc.SyscallConn() // fails if it is closed already
	}
	l.foreign.adopt(g)
	return g, nil
}

func (f *foreign) adopt(c *guestConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns[c] = struct{}{}
	if f.closed {
		c.interrupt()
	}
}

func (f *foreign) disown(c *guestConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

// guestConn is a connection of a Listener.
type guestConn struct {
	net.Conn
	foreign *foreign
	raw     syscall.RawConn // nil: it has no descriptor

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
func (c *guestConn) NetConn() net.Conn { return c.Conn }

// Read implements net.Conn.
func (c *guestConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.foreign.gate != nil {
		c.naming.received()
	}
	return n, err
}

// Write implements net.Conn.
func (c *guestConn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.foreign.gate == nil {
		return c.Conn.Write(p)
	}
	if err := c.foreign.enter(); err != nil {
		return 0, c.fault("write", err)
	}
	defer c.foreign.leave()
	return c.writeLimited(p)
}

// writeLimited writes p as the limits allow.
func (c *guestConn) writeLimited(p []byte) (done int, err error) {
	gate := c.foreign.gate
	l := c.join(c.naming.forWrite(len(p)))
	var grant int64
	for done < len(p) && err == nil {
		if grant = gate.take(l, int64(len(p)-done)); grant == 0 {
			if grant, err = c.foreign.await(context.Background(), c, event{tokens: l.ready}); err != nil {
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
	c.foreign.wrote(int64(done))
	if err != nil && c.foreign.isCut() {
		err = c.fault("write", ErrEnded)
	}
	return done, err
}

// join begins a response, or a part of one.
func (c *guestConn) join(flow Flow) *lane {
	if c.lane == nil {
		c.lane = newLane()
		c.client = clientOf(c.Conn)
	}
	if flow.Client == "" {
		flow.Client = c.client
	}
	c.foreign.join(c.lane, flow)
	return c.lane
}

// fault returns an error as those of package net are.
func (c *guestConn) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// ReadFrom implements io.ReaderFrom. Of a file, or a LimitedReader of one, the
// bytes do not pass through user memory.
func (c *guestConn) ReadFrom(src io.Reader) (int64, error) {
	if n, handled, err := c.readFile(src); handled {
		return n, err
	}
	if r, ok := c.Conn.(io.ReaderFrom); ok && c.foreign.gate == nil {
		return r.ReadFrom(src)
	}
	return io.Copy(struct{ io.Writer }{c}, src)
}

// readFile sends what is left of the file in src from its offset on, which it
// moves as a read would.
func (c *guestConn) readFile(src io.Reader) (n int64, handled bool, err error) {
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
	if errors.Is(err, ErrEnded) && c.foreign.gate == nil && out.Total() == 0 {
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
func (c *guestConn) send(ctx context.Context, file *os.File, off, n int64) (Outcome, error) {
	if c.raw == nil {
		return Outcome{End: Aborted}, errors.ErrUnsupported
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return Outcome{End: Aborted}, err
	}
	stop := c.foreign.interruptible(ctx, c.Conn)
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
func (c *guestConn) sendFrom(ctx context.Context, file syscall.RawConn, flow Flow, off, n int64) (Outcome, error) {
	f := c.foreign
	if err := f.enter(); err != nil {
		return Outcome{End: Aborted}, err
	}
	defer f.leave()
	c.writing.Lock()
	defer c.writing.Unlock()
	s := f.sender()
	s.ctx, s.raw, s.deadline, s.guest, s.off, s.left = ctx, c.raw, c.Conn, c, off, n
	if f.gate != nil {
		s.lane = c.join(flow)
	}
	return s.finish(s.hold(file))
}

// SyscallConn implements syscall.Conn. What it returns is not what the library's
// own copying looks for, which would pass the engine by.
func (c *guestConn) SyscallConn() (syscall.RawConn, error) {
	if c.raw == nil {
		return nil, errors.ErrUnsupported
	}
	return guestRaw{c.raw}, nil
}

type guestRaw struct{ syscall.RawConn }

// CloseWrite ends the sending half, if the connection underneath has one.
func (c *guestConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// CloseRead ends the receiving half, if the connection underneath has one.
func (c *guestConn) CloseRead() error {
	if r, ok := c.Conn.(interface{ CloseRead() error }); ok {
		return r.CloseRead()
	}
	return errors.ErrUnsupported
}

// Close implements net.Conn. Whoever writes gets net.ErrClosed.
func (c *guestConn) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.changed()
	c.mu.Unlock()
	err := c.Conn.Close()
	if first {
		c.foreign.disown(c)
	}
	return err
}

// SetDeadline implements net.Conn.
func (c *guestConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetWriteDeadline implements net.Conn. It holds also while limits make a write
// wait.
func (c *guestConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeBy = t
	c.changed()
	if c.foreign.isCut() && c.foreign.gate != nil {
		return nil // it has passed for good
	}
	return c.Conn.SetWriteDeadline(t)
}

// restoreDeadline sets the deadline again that an interruption has replaced.
func (c *guestConn) restoreDeadline() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.Conn.SetWriteDeadline(c.writeBy) // what is closed needs none
}

// interrupt ends the waits of those who write. The engine has ended.
func (c *guestConn) interrupt() { _ = c.Conn.SetWriteDeadline(past) }

// changed wakes who waits. The caller holds mu.
func (c *guestConn) changed() {
	if c.poke != nil {
		close(c.poke)
		c.poke = nil
	}
}

// waiting returns what tells of a change and of the end of the write deadline,
// for somebody who is going to wait. A nil connection has neither.
func (c *guestConn) waiting() (poke <-chan struct{}, e expiry, err error) {
	if c == nil {
		return nil, expiry{}, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, expiry{}, net.ErrClosed
	case c.writeBy.IsZero():
	case !time.Now().Before(c.writeBy):
		return nil, expiry{}, os.ErrDeadlineExceeded
	default:
		e = expiry{time.NewTimer(time.Until(c.writeBy))}
	}
	if c.poke == nil {
		c.poke = make(chan struct{})
	}
	return c.poke, e, nil
}
