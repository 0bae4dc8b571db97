package aiosim

import (
	"fmt"
	"syscall"
	"time"

	"github.com/fserve/fserve/internal/aio"
)

// audit is a driver that checks another one from the user's side: the
// simulation may be as unkind as the contract allows, and no more.
type audit struct {
	aio.Driver
	w     *World
	slots map[aio.Token]*audited
	size  int // RecvBufferSize
	now   int64
	bytes [aio.NumVia]uint64
}

type audited struct {
	listener bool
	live     bool // its stream goes on
	over     bool // its stream ended for good
	paused   bool
	blocked  bool
	closing  bool
}

func newAudit(w *World, d aio.Driver, size int) *audit {
	return &audit{Driver: d, w: w, slots: make(map[aio.Token]*audited), size: size}
}

// wrong reports a fault of the driver where Check shows it.
func (a *audit) wrong(format string, args ...any) {
	a.w.violate("audit: %s", fmt.Sprintf(format, args...))
}

func (a *audit) Listen(t aio.Token, fd int, shared bool) error {
	err := a.Driver.Listen(t, fd, shared)
	if err == nil {
		a.slots[t] = &audited{listener: true, live: true}
	}
	return err
}

func (a *audit) Accept(t aio.Token) {
	a.Driver.Accept(t)
	a.slots[t].live = true
}

func (a *audit) Open(t aio.Token, fd int) error {
	err := a.Driver.Open(t, fd)
	if err == nil {
		a.slots[t] = &audited{live: true}
	}
	return err
}

func (a *audit) Pause(t aio.Token) {
	a.Driver.Pause(t)
	a.slots[t].paused = true
}

func (a *audit) Resume(t aio.Token) {
	a.Driver.Resume(t)
	s := a.slots[t]
	s.paused, s.live = false, !s.over
}

func (a *audit) Close(t aio.Token, reset bool) {
	a.Driver.Close(t, reset)
	a.slots[t].closing = true
}

func (a *audit) Send(t aio.Token, head, body []byte, more bool) aio.Sent {
	r := a.Driver.Send(t, head, body, more)
	a.checkSent(t, r, int64(len(head)+len(body)))
	if r.Status == aio.EOF || r.Status == aio.BlockedDisk || r.Via != aio.ViaMemory {
		a.wrong("send from memory answered %+v", r)
	}
	return r
}

func (a *audit) SendFile(t aio.Token, f *aio.File, off, n int64, more bool) aio.Sent {
	r := a.Driver.SendFile(t, f, off, n, more)
	a.checkSent(t, r, n)
	if r.Status == aio.EOF && r.N == n {
		a.wrong("whole range sent, yet %+v", r)
	}
	return r
}

func (a *audit) checkSent(t aio.Token, r aio.Sent, n int64) {
	a.bytes[r.Via] += uint64(r.N)
	if a.Driver.Stats().Bytes != a.bytes {
		a.wrong("stats count bytes %v, attempts moved %v", a.Driver.Stats().Bytes, a.bytes)
	}
	if r.N < 0 || r.N > n || r.Status == aio.OK && n > 0 && r.N == 0 || (r.Err != 0) != (r.Status == aio.Failed) {
		a.wrong("attempt to move %d bytes answered %+v", n, r)
	}
	a.slots[t].blocked = r.Blocked()
}

func (a *audit) ReadAt(f *aio.File, p []byte, off int64) (int, syscall.Errno) {
	n, e := a.Driver.ReadAt(f, p, off)
	if n < 0 || n > len(p) || e != 0 && n != 0 {
		a.wrong("read of %d bytes answered %d, error %d", len(p), n, e)
	}
	return n, e
}

func (a *audit) Now() int64 {
	n := a.Driver.Now()
	if n < a.now {
		a.wrong("the clock went back by %d ns", a.now-n)
	}
	a.now = n
	return n
}

func (a *audit) Wait(ev []aio.Event, timeout time.Duration) (int, error) {
	from := a.w.Now()
	n, err := a.Driver.Wait(ev, timeout)
	if took := a.w.Now() - from; timeout >= 0 && took > int64(timeout)+lagMax+callCost {
		a.wrong("a wait of %v took %d ns", timeout, took)
	}
	for i := range ev[:n] {
		a.checkEvent(&ev[i])
	}
	return n, err
}

func (a *audit) checkEvent(e *aio.Event) {
	s := a.slots[e.Token]
	if s == nil || s.closing != (e.Op == aio.Closed) {
		a.wrong("event %+v of a slot in state %+v", e, s)
		return
	}
	ok := false
	switch e.Op {
	case aio.Accepted:
		ok = s.listener && s.live && e.More == (e.Err == 0) && (e.FD >= 0) == (e.Err == 0) && e.Data == nil
		s.live = e.More
	case aio.Received:
		ok = a.checkReceived(s, e)
	case aio.Ready:
		ok = s.blocked && !e.More
		s.blocked = false
	case aio.Closed:
		ok = !e.More && e.Err == 0
		delete(a.slots, e.Token)
	}
	if !ok {
		a.wrong("event %+v of a slot in state %+v", e, s)
	}
}

func (a *audit) checkReceived(s *audited, e *aio.Event) bool {
	ok := !s.listener && s.live && len(e.Data) <= a.size
	if e.Err != 0 || len(e.Data) == 0 {
		ok = ok && !e.More && len(e.Data) == 0
		s.over = true
	}
	ok = ok && (e.More || s.over || s.paused)
	s.live = e.More
	return ok
}

func (a *audit) Destroy() error {
	if p := a.Driver.Stats().PipesOpen; len(a.slots) == 0 && p != 0 {
		a.wrong("%d pipes are open without a slot", p)
	}
	return a.Driver.Destroy()
}
