package aiosim

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/fserve/fserve/internal/aio"
)

// The reference user: a small server on an aio.Driver that does everything
// right, unless a bug is planted. A request is a line; "GET name" is answered
// by the size in decimal, a newline and the file, "ECHO n" is followed by n bytes
// and answered by them. Everything else ends the connection.

const (
	idleTime  = int64(30e9) // a connection without progress is reset
	retryTime = int64(10e6) // until Accept is tried again
	maxTurn   = 64 << 10
	inMax     = 8 << 10 // received bytes that are kept before Pause
)

type refServer struct {
	w     *World
	ln    *Listener
	d     aio.Driver
	bug   bug
	mode  aio.Mode
	conns []*refConn // by slot; 0 is the listener's
	gens  []uint32
	free  []uint32
	open  int // slots that are not closed, with the listener's
	retry int64
	stop  bool
	files []*aio.File // to be closed when nothing names them any more
	bytes int64       // that attempts moved
	ends  int         // requests that were answered or given up
	spare []byte      // received bytes that are kept too long, by a bug
}

type refConn struct {
	tok     aio.Token
	fd      int32
	in      []byte
	head    []byte
	file    *aio.File
	opened  bool
	was     aio.FileStat
	off     int64
	end     int64
	busy    bool // a request is being answered
	blocked bool
	paused  bool
	eof     bool
	closing bool
	active  int64 // time of the last progress
}

func listenerToken() aio.Token { return aio.MakeToken(0, 1) }

// run serves until the world says stop.
func (r *refServer) run() {
	if r.start() {
		r.loop()
	}
	if r.d == nil || r.bug == leaksDriver {
		return
	}
	r.finish()
}

func (r *refServer) start() bool {
	d, err := r.w.NewDriver(aio.Config{Mode: r.mode, RecvBuffers: 4, RecvBufferSize: 1024})
	if err != nil {
		r.w.CloseFD(r.ln.FD)
		return false
	}
	r.d = d
	if r.bug == noBug {
		r.d = newAudit(r.w, d, 1024)
	}
	if r.bug == leaksListener {
		return false
	}
	if err := r.d.Listen(listenerToken(), int(r.ln.FD), false); err != nil {
		r.w.CloseFD(r.ln.FD)
		return false
	}
	r.conns, r.gens, r.open = make([]*refConn, 1, 8), make([]uint32, 1, 8), 1
	r.plantStart()
	return true
}

func (r *refServer) loop() {
	var events [64]aio.Event
	ev := events[:]
	if r.bug == noRoomForEvents {
		ev = nil
	}
	for r.open > 0 {
		n, err := r.d.Wait(ev, r.timeout())
		if err != nil {
			return
		}
		for i := range ev[:n] {
			r.handle(&ev[i])
		}
		r.housekeep()
	}
}

func (r *refServer) finish() {
	for _, c := range r.conns {
		if c != nil {
			r.endRequest(c)
		}
	}
	if err := r.d.Destroy(); err != nil {
		r.w.violate("destroy: %v", err)
	}
	for _, c := range r.conns {
		if c != nil && c.opened {
			r.w.CloseFile(c.file.FD)
		}
	}
	for _, f := range r.files {
		r.w.CloseFile(f.FD)
	}
	switch r.bug {
	case callAfterDestroy:
		r.d.Now()
	case wakeAfterDestroy:
		r.d.Wake()
	}
}

// timeout is the time until something is to be done without an event.
func (r *refServer) timeout() time.Duration {
	if r.bug == spins {
		return 0
	}
	if r.bug == endless {
		return time.Minute
	}
	next := int64(-1)
	soonest := func(at int64) {
		if next < 0 || at < next {
			next = at
		}
	}
	if r.retry > 0 {
		soonest(r.retry)
	}
	if len(r.files) > 0 {
		soonest(r.d.Now() + retryTime)
	}
	for _, c := range r.conns {
		if c != nil && !c.closing {
			soonest(c.active + idleTime)
		}
	}
	if next < 0 {
		return -1
	}
	return time.Duration(max(next-r.d.Now(), 0))
}

// housekeep does what is to be done without an event.
func (r *refServer) housekeep() {
	now := r.d.Now()
	files := r.files
	r.files = nil
	for _, f := range files {
		r.closeFile(f)
	}
	if r.retry > 0 && now >= r.retry {
		r.retry = 0
		if r.bug != forgetsAccept && !r.stop {
			r.d.Accept(listenerToken())
		}
	}
	for _, c := range r.conns {
		if c != nil && !c.closing && (now >= c.active+idleTime || r.stop) {
			r.close(c, true)
		}
	}
	if r.stop && r.bug != leaksSlot && r.bug != endless && r.gens[0] == 0 {
		r.gens[0] = 1
		r.retry = 0
		r.d.Close(listenerToken(), false)
	}
	if r.stop && r.bug == leaksSlot {
		r.open = 0
	}
}

func (r *refServer) handle(e *aio.Event) {
	switch e.Op {
	case aio.Accepted:
		r.accepted(e)
		return
	case aio.Closed:
		r.closed(e.Token)
		return
	}
	c := r.conns[e.Token.Slot()]
	if c == nil || c.tok != e.Token || c.closing {
		return // told in the same batch as what made us close it
	}
	c.active = r.d.Now()
	if e.Op == aio.Ready {
		c.blocked = false
		if e.Err != 0 {
			r.close(c, true)
			return
		}
		r.serve(c)
		return
	}
	r.received(c, e)
}

func (r *refServer) accepted(e *aio.Event) {
	if e.Err != 0 {
		r.retry = r.d.Now() + retryTime
		return
	}
	if r.stop || r.open > 64 {
		if r.bug != leaksAccepted {
			r.w.CloseFD(e.FD)
		}
		return
	}
	n := uint32(len(r.conns))
	if len(r.free) > 0 {
		n = r.free[len(r.free)-1]
		r.free = r.free[:len(r.free)-1]
	} else {
		r.conns, r.gens = append(r.conns, nil), append(r.gens, 0)
	}
	if r.bug != sameGeneration {
		r.gens[n]++
	}
	c := &refConn{tok: aio.MakeToken(n, r.gens[n]), fd: e.FD, active: r.d.Now()}
	if r.plantOpen(c, e.FD) {
		return
	}
	if err := r.d.Open(c.tok, int(e.FD)); err != nil {
		r.free = append(r.free, n)
		if r.bug != leaksAccepted {
			r.w.CloseFD(e.FD)
		}
		return
	}
	r.conns[n] = c
	r.open++
	if r.bug == oldGeneration && r.gens[n] > 1 {
		r.d.Pause(aio.MakeToken(n, r.gens[n]-1))
	}
}

func (r *refServer) closed(t aio.Token) {
	r.open--
	if t == listenerToken() {
		return
	}
	n := t.Slot()
	c := r.conns[n]
	if c.opened && r.bug != leaksFile {
		r.closeFile(c.file)
	}
	r.conns[n] = nil
	if r.bug != reusesSlot {
		r.free = append(r.free, n)
	}
	if r.bug == callAfterClosed {
		r.d.Pause(t)
	}
}

func (r *refServer) received(c *refConn, e *aio.Event) {
	switch {
	case e.Err != 0:
		r.close(c, false)
		return
	case len(e.Data) == 0:
		c.eof = true
	default:
		r.keep(c, e.Data)
	}
	if len(c.in) > inMax && !c.paused {
		c.paused = true
		r.d.Pause(c.tok)
	}
	r.serve(c)
}

func (r *refServer) keep(c *refConn, p []byte) {
	switch r.bug {
	case staleSend, writesReceived:
		r.spare = p
	}
	c.in = append(c.in, p...)
}

// close ends the use of a slot. A file stays open until Closed, since an
// attempt on it may be blocked.
func (r *refServer) close(c *refConn, reset bool) {
	if c.closing {
		return
	}
	c.closing = true
	r.endRequest(c)
	r.d.Close(c.tok, reset)
	switch {
	case r.bug == doubleClose:
		r.d.Close(c.tok, reset)
	case r.bug == closesFileEarly && c.opened && c.blocked:
		c.opened = false
		r.w.CloseFile(c.file.FD)
	case r.bug == reusesSlot:
		r.free = append(r.free, c.tok.Slot())
	}
}

func (r *refServer) endRequest(c *refConn) {
	if c.busy {
		c.busy = false
		r.ends++
	}
}

// serve goes on with the answer, then with the next request.
func (r *refServer) serve(c *refConn) {
	for !c.blocked && !c.closing {
		switch {
		case len(c.head) > 0:
			r.sendHead(c)
		case c.opened:
			r.sendBody(c)
		case !r.nextRequest(c):
			return
		}
	}
}

// nextRequest starts with the next request, or ends the connection if none
// will come. It returns false if there is nothing to do for now.
func (r *refServer) nextRequest(c *refConn) bool {
	r.endRequest(c)
	line, rest, found := bytes.Cut(c.in, []byte("\n"))
	if !found {
		r.wantMore(c)
		return false
	}
	var n int
	var name string
	if _, err := fmt.Sscanf(string(line), "ECHO %d", &n); err == nil && n > 0 {
		if len(rest) < n {
			r.wantMore(c)
			return false
		}
		c.busy = true
		c.head = append([]byte(nil), rest[:n]...)
		c.in = rest[n:]
		r.d.Cork(c.tok, false)
		return true
	}
	if _, err := fmt.Sscanf(string(line), "GET %s", &name); err != nil || !r.openFile(c, name) {
		r.close(c, true)
		return false
	}
	c.busy = true
	c.in = rest
	return true
}

func (r *refServer) wantMore(c *refConn) {
	if c.eof {
		r.d.CloseWrite(c.tok)
		if r.bug == sendAfterCloseWrite {
			r.d.Send(c.tok, []byte("x"), nil, false)
		}
		r.close(c, false)
		return
	}
	if c.paused {
		c.paused = false
		r.d.Resume(c.tok)
	}
}

func (r *refServer) openFile(c *refConn, name string) bool {
	fd, e := r.w.OpenFile(name)
	if e != 0 {
		return false
	}
	c.file = &aio.File{FD: fd}
	st, e := r.d.Stat(c.file)
	if e != 0 {
		r.w.CloseFile(fd)
		return false
	}
	c.opened, c.was, c.off, c.end = true, st, 0, st.Size
	r.d.Cork(c.tok, true)
	c.head = fmt.Appendf(nil, "%d\n", st.Size)
	if st.Size > 0 && st.Size < 100 { // small files go with the head
		var p [100]byte
		if n, e := r.d.ReadAt(c.file, p[:st.Size], 0); e == 0 {
			c.head = append(c.head, p[:n]...)
			c.off = int64(n)
		}
	}
	return true
}

func (r *refServer) sendHead(c *refConn) {
	p := c.head
	if r.bug == staleSend && r.spare != nil && c.active%7 == 0 {
		p = r.spare
	}
	s := r.d.Send(c.tok, p, nil, c.opened && c.off < c.end)
	r.account(c, s)
	c.head = c.head[min(int(s.N), len(c.head)):]
	if s.Status == aio.Failed {
		r.close(c, true)
	}
	r.plantBlocked(c)
}

func (r *refServer) sendBody(c *refConn) {
	if c.off == c.end {
		r.endBody(c)
		return
	}
	st, e := r.d.Stat(c.file)
	if r.bug != ignoresChange && r.bug != ignoresEOF && (e != 0 || st != c.was) {
		r.close(c, true)
		return
	}
	if r.plantFile(c) {
		return
	}
	n := min(c.end-c.off, maxTurn)
	s := r.d.SendFile(c.tok, c.file, c.off, n, c.off+n < c.end)
	r.account(c, s)
	c.off += s.N
	if r.bug == skipsAhead && s.Blocked() {
		c.off++
	}
	if s.Status == aio.EOF && r.bug == ignoresEOF {
		filler := r.d.Send(c.tok, make([]byte, c.end-c.off), nil, false)
		c.off += filler.N
		c.blocked = filler.Blocked()
		return
	}
	if s.Status == aio.EOF || s.Status == aio.Failed {
		r.close(c, true)
	}
	r.plantBlocked(c)
}

func (r *refServer) endBody(c *refConn) {
	if r.bug == sendsMore {
		r.account(c, r.d.Send(c.tok, []byte("more"), nil, false))
	}
	if r.bug != forgetsPush {
		r.d.Push(c.tok)
	}
	if n := r.w.fd(c.fd).conn.Held(); n > 0 {
		r.w.violate("%d bytes of a whole response are held back", n)
	}
	c.opened = false
	if r.bug != leaksFile {
		r.closeFile(c.file)
	}
}

// closeFile closes a file, now or when the driver does not name it any more.
func (r *refServer) closeFile(f *aio.File) {
	if f.Pins > 0 && r.bug != closesPinned {
		r.files = append(r.files, f)
		return
	}
	r.w.CloseFile(f.FD)
}

func (r *refServer) account(c *refConn, s aio.Sent) {
	r.bytes += s.N
	c.blocked = s.Blocked()
	if s.N > 0 {
		c.active = r.d.Now()
	}
}

// echo returns a request with its n bytes, and the answer.
func echo(n int) (req, answer []byte) {
	answer = []byte(strings.Repeat("0123456789abcdef", n/16+1))[:n]
	return append(fmt.Appendf(nil, "ECHO %d\n", n), answer...), answer
}
