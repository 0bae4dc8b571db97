package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/engine/peer"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/mover"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// retryEvery is how often a socket is tried for which the kernel had no memory.
	retryEvery = 5 * time.Millisecond
)

// Send sends n bytes of a file to a connection; see engine.Engine.Send.
func (g *Guests) Send(ctx context.Context, conn net.Conn, file *os.File, off, n int64) (outcome.Outcome, error) {
	out, err := outcome.Outcome{End: outcome.Aborted}, ctx.Err()
	if err != nil {
		return out, fmt.Errorf("engine: send: %w", context.Cause(ctx))
	}
	switch c := conn.(type) {
	case *Conn:
		out, err = c.send(ctx, file, off, n)
	case syscall.Conn:
		out, err = g.send(ctx, conn, c, file, off, n)
	default:
		out, err = g.write(ctx, conn, file, off, n)
	}
	if err != nil {
		err = fmt.Errorf("engine: send: %w", err)
	}
	return out, err
}

// send is Send to a connection that is not of a Listener.
func (g *Guests) send(ctx context.Context, conn net.Conn, socket syscall.Conn, file *os.File, off, n int64) (outcome.Outcome, error) {
	if err := g.enter(); err != nil {
		return outcome.Outcome{End: outcome.Aborted}, err
	}
	defer g.exit()
	raw, err := socket.SyscallConn()
	if err != nil {
		return outcome.Outcome{End: outcome.Aborted}, err
	}
	source, err := file.SyscallConn()
	if err != nil {
		return outcome.Outcome{End: outcome.Aborted}, err
	}
	s := g.sender()
	s.ctx, s.raw, s.off, s.left = ctx, raw, off, n
	if g.gate != nil {
		s.lane = newLane()
		flow, _ := flowFrom(ctx)
		if flow.Client == "" {
			flow.Client = clientOf(conn)
		}
		g.join(s.lane, flow)
	}
	defer g.interruptible(ctx, conn)()
	return s.finish(s.withFile(source))
}

// join begins a response in the tree.
func (g *Guests) join(l *lane, flow Flow) {
	g.gate.join(l, g.shaper.Class([]byte(flow.Path)), &flow)
}

// obstacle is why an attempt on the socket has come back.
type obstacle uint8

const (
	noObstacle obstacle = iota // its turn is over, or its tokens are used
	needsDisk                  //
	needsTime                  // memory is short
	atEnd                      // of the file
	broken                     // see sender.errno
)

// sender is one Send under way. They are pooled: a Mover has pipes and its State
// outlives attempts.
type sender struct {
	guests  *Guests
	mover   *mover.Mover
	stats   aio.Stats
	attempt func(fd uintptr) bool // attemptFD
	run     func(fd uintptr)      // runFD

	ctx   context.Context
	raw   syscall.RawConn
	guest *Conn // conn, if it is of a Listener
	lane  *lane // nil: not shaped

	off, left int64
	grant     int64 // bytes that may be sent before the gate is asked again
	file      aio.File
	move      mover.State
	source    *coldFile // nil: nothing had to be fetched
	read      *coldRead // under way
	why       obstacle
	errno     syscall.Errno
	unsent    int32 // bound for what the kernel holds, to be set; 0: none
	cork      corking
	out       outcome.Outcome
	err       error
}

// interruptible makes the end of ctx and of the engine wake who waits for the
// socket of c. The function that it returns ends that.
func (g *Guests) interruptible(ctx context.Context, c net.Conn) (stop func()) {
	w := &wait{c}
	g.watch(w)
	if ctx.Done() == nil {
		return func() { g.unwatch(w) }
	}
	fired := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		w.interrupt()
		close(fired)
	})
	return func() {
		g.unwatch(w)
		if !unhook() {
			<-fired // so that it does not happen later
		}
	}
}

// wait is somebody who may be waiting for a socket.
type wait struct{ conn net.Conn }

// interrupt ends the wait, and those that follow.
func (w *wait) interrupt() { _ = w.conn.SetWriteDeadline(past) } // what is closed needs none

// withFile runs s while the file cannot be closed.
func (s *sender) withFile(file syscall.RawConn) error {
	s.out = outcome.Outcome{Start: sys.Nanotime()}
	if file.Control(s.run) != nil {
		return os.ErrClosed // that is all that can be wrong with it
	}
	return s.err
}

// finish ends the use of s and returns how it went.
func (s *sender) finish(err error) (outcome.Outcome, error) {
	if s.lane != nil {
		s.out.Held = s.guests.gate.rest(s.lane, s.grant)
	}
	s.out.Duration = sys.Nanotime() - s.out.Start
	s.out.End = endOf(err)
	out, f := s.out, s.guests
	*s = sender{guests: f, mover: s.mover, stats: s.stats, attempt: s.attempt, run: s.run, move: mover.State{Epoch: s.move.Epoch}}
	f.done(s, err != nil)
	return out, err
}

// endOf classifies the error of a Send.
func endOf(err error) outcome.End {
	var e syscall.Errno
	switch {
	case err == nil:
		return outcome.Complete
	case errors.Is(err, io.ErrUnexpectedEOF):
		return outcome.FileChanged
	case errors.Is(err, os.ErrDeadlineExceeded):
		return outcome.TimedOut
	case errors.As(err, &e):
		return outcome.OfErrno(e)
	}
	return outcome.Aborted
}

// runFD sends from the descriptor of a file, which stays open meanwhile.
func (s *sender) runFD(fd uintptr) {
	if s.err = s.open(int32(fd)); s.err == nil {
		s.err = s.sendAll()
	}
	s.closeFile()
}

// open looks at the file.
func (s *sender) open(fd int32) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(fd), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return ErrNotRegular
	case s.off < 0:
		return os.NewSyscallError("offset", syscall.EINVAL)
	case s.left < 0:
		s.left = max(st.Size-s.off, 0)
	}
	// The kernel is told not to read ahead only when something has to be fetched:
	// that would hold for the caller's own reading, too.
	s.file = aio.File{FD: fd, Size: st.Size, Advised: true}
	return nil
}

// ErrNotRegular is returned by Send for what is no regular file.
var ErrNotRegular = errors.New("not a regular file")

// closeFile ends what the Send holds of the file.
func (s *sender) closeFile() {
	s.mover.Reset(&s.move)
	if s.cork.on { // a deadline has passed, or the connection is closed
		_ = s.raw.Control(func(fd uintptr) { s.cork.uncork(int32(fd)) })
	}
	s.read = nil // abandoned by Reset
	if s.source != nil {
		s.source.release()
		_ = sys.Fadvise(s.file.FD, unix.FADV_NORMAL)
	}
}

// sendAll sends what is left.
func (s *sender) sendAll() error {
	for s.left > 0 {
		if s.lane != nil && s.grant <= 0 {
			if err := s.take(); err != nil {
				return err
			}
		}
		if err := s.raw.Write(s.attempt); err != nil {
			return s.reason(err)
		}
		if err := s.overcome(); err != nil {
			return err
		}
	}
	return nil
}

// reason returns why a wait for the socket has ended.
func (s *sender) reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // "raw-write" means nothing to the caller
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	if s.guests.isCut() {
		return ErrEnded
	}
	return err
}

// overcome deals with what has ended an attempt.
func (s *sender) overcome() error {
	switch s.why {
	case noObstacle:
		if s.left > 0 && s.lane == nil {
			runtime.Gosched()
		}
	case needsDisk:
		return s.awaitDisk()
	case needsTime:
		_, err := s.guests.await(s.ctx, s.guest, event{timer: time.After(retryEvery)})
		return err
	case atEnd:
		return io.ErrUnexpectedEOF
	case broken:
		return s.errno
	}
	return nil
}

// attemptFD sends what can be sent without waiting for anything. It reports
// false to be called again when the socket takes more.
func (s *sender) attemptFD(fd uintptr) bool {
	s.why = noObstacle
	if s.unsent > 0 {
		_ = sys.SetNotsentLowat(int32(fd), s.unsent) // a Unix socket has none
		s.unsent = 0
	}
	s.mover.Now = sys.Nanotime()
	turn := s.left
	if s.lane != nil {
		turn = min(turn, s.grant)
	}
	if turn >= corkAfter {
		s.cork.ask(int32(fd))
		s.cork.cork(int32(fd))
	}
	if s.lane == nil {
		turn = s.cork.turn()
	}
	done := s.turn(int32(fd), turn)
	if s.lane != nil || !done || s.why != noObstacle || s.left == 0 {
		s.cork.uncork(int32(fd))
	}
	return done
}

// turn is attemptFD for up to so many bytes.
func (s *sender) turn(sock int32, budget int64) bool {
	for budget > 0 {
		sent := s.move1(sock, min(s.left, budget))
		budget -= sent.N
		switch sent.Status {
		case aio.OK:
			if s.left == 0 {
				return true
			}
		case aio.BlockedSocket:
			s.giveBack() // the peer may be slow, and others are not to wait for it
			return false
		case aio.BlockedDisk:
			s.why = needsDisk
			return true
		case aio.BlockedMemory:
			s.giveBack()
			s.why = needsTime
			return true
		case aio.EOF:
			s.why = atEnd
			return true
		default:
			s.why, s.errno = broken, sent.Err
			return true
		}
	}
	return true
}

// move1 makes one attempt for n bytes, and starts the fetch that it asks for.
func (s *sender) move1(sock int32, n int64) aio.Sent {
	_ = s.fetched(false) // a read-ahead that failed is met by the attempt that gets there
	if s.guest != nil && s.left > mover.FastAfter {
		s.guest.enlarge(s, sock)
	}
	sent, fetch := s.mover.Send(sock, &s.move, &s.file, s.off, n, n < s.left)
	if sent.N > 0 {
		if s.out.Total() == 0 {
			s.out.First = s.mover.Now - s.out.Start
		}
		s.out.Bytes[sent.Via] += sent.N
	}
	s.off += sent.N
	s.left -= sent.N
	s.grant -= sent.N
	if !fetch.Empty() {
		if e := s.fetch(fetch); e != nil {
			return aio.Sent{Status: aio.Failed, Via: sent.Via, Err: sys.ErrnoOf(e)}
		}
	}
	return sent
}

// enlarge gives the connection a larger send buffer, once, if its peer is fast and
// nothing has limited it.
func (c *Conn) enlarge(s *sender, sock int32) {
	moved := s.out.Total()
	if c.buffered || c.lowat || moved < mover.FastAfter {
		return
	}
	c.buffered = true // or found slow
	if !mover.IsFast(moved, s.mover.Now-s.out.Start) || !mover.MayBuffer() {
		return
	}
	_ = unix.SetsockoptInt(int(sock), unix.SOL_SOCKET, unix.SO_SNDBUF, mover.FastBuffer) // as it was, then
}

// take takes tokens, and waits for them if need be.
func (s *sender) take() error {
	if s.grant = s.guests.gate.take(s.lane, s.left); s.grant > 0 {
		return nil
	}
	n, err := s.guests.await(s.ctx, s.guest, event{tokens: s.lane.ready})
	s.grant = n
	if s.guest != nil && !s.guest.lowat {
		s.guest.lowat = true
		s.unsent = int32(max(2*n, mover.MinUnsent))
	}
	return err
}

// fetch has a range read in.
func (s *sender) fetch(r mover.Range) error {
	if s.source == nil {
		source, err := openCold(&s.file)
		if err != nil {
			return err
		}
		s.source = source
		_ = sys.Fadvise(s.file.FD, unix.FADV_RANDOM) // only advice
	}
	s.read = s.guests.read(&s.move, s.source, r)
	return nil
}

// fetched tells the Mover of a fetch that has ended, and returns the error if
// it is waited for.
func (s *sender) fetched(awaited bool) error {
	if s.read == nil {
		return nil
	}
	if !awaited {
		select {
		case <-s.read.done:
		default:
			return nil
		}
	}
	e := s.read.Err
	s.read = nil
	s.mover.Now = sys.Nanotime()
	if e = s.mover.Fetched(&s.move, e); e != 0 && awaited {
		return os.NewSyscallError("read", e)
	}
	return nil
}

// awaitDisk waits for the fetch under way.
func (s *sender) awaitDisk() error {
	s.giveBack()
	if _, err := s.guests.await(s.ctx, s.guest, event{done: s.read.done}); err != nil {
		return err
	}
	return s.fetched(true)
}

// giveBack returns tokens that cannot be used now: others are not to wait for them.
func (s *sender) giveBack() {
	if s.lane != nil && s.grant > 0 {
		s.guests.gate.refund(s.lane, s.grant)
		s.grant = 0
	}
}

// clientOf returns what the peer of a connection is counted by.
func clientOf(c net.Conn) string {
	a := c.RemoteAddr()
	_, unix := a.(*net.UnixAddr)
	return string(peer.AppendClient(nil, peer.Of(a), unix))
}
