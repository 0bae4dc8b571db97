package fallback

import (
	"syscall"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

// Send sends head and body in one call. A short send of a non-blocking stream
// socket means that its buffer is full (epoll(7)): the edge will come.
func (d *Driver) Send(t aio.Token, head, body []byte, more bool) aio.Sent {
	sl, e := d.idle(t)
	if e != 0 {
		return aio.Sent{Status: aio.Failed, Err: e}
	}
	total := len(head) + len(body)
	if total == 0 {
		return aio.Sent{}
	}
	n, e := sys.Send2(sl.fd, head, body, more)
	d.stats.Bytes[aio.ViaMemory] += uint64(n)
	s := aio.Sent{N: int64(n)}
	switch {
	case e == syscall.EAGAIN, e == 0 && n < total:
		s.Status = aio.BlockedSocket
	case e != 0:
		d.stats.CountError(e)
		s.Status, s.Err = aio.Failed, e
	}
	return sl.answered(s)
}

// SendFile sends a range of a file the best way that mode and file allow.
func (d *Driver) SendFile(t aio.Token, f *aio.File, off, n int64, more bool) aio.Sent {
	sl, e := d.idle(t)
	if e != 0 {
		return aio.Sent{Status: aio.Failed, Err: e}
	}
	s, fetch := d.mover.Send(sl.fd, &sl.move, f, off, n, more)
	if !fetch.Empty() {
		d.fetch(t, sl, f, fetch)
	}
	return sl.answered(s)
}

// Take takes a range of a file into a pipe.
func (d *Driver) Take(t aio.Token, f *aio.File, off, n int64) bool {
	sl, e := d.idle(t)
	return e == 0 && d.mover.Take(&sl.move, f, off, n)
}

// idle returns the slot of a token if an attempt may be made on it now.
func (d *Driver) idle(t aio.Token) (*slot, syscall.Errno) {
	sl := d.lookup(t)
	switch {
	case sl == nil:
		return nil, syscall.EBADF
	case sl.flags&(waitSocket|waitDisk|ready) != 0:
		return nil, syscall.EALREADY
	}
	return sl, 0
}

// answered notes what an answer means for the slot.
func (sl *slot) answered(s aio.Sent) aio.Sent {
	switch {
	case s.Status == aio.BlockedSocket:
		sl.flags |= waitSocket
	case s.Status == aio.BlockedDisk:
		sl.flags |= waitDisk
	case aio.ToldOnce(s.Err):
		sl.err = uint16(s.Err)
	}
	return s
}

// Cork sets or clears TCP_CORK.
func (d *Driver) Cork(t aio.Token, on bool) {
	if sl := d.lookup(t); sl != nil {
		_ = sys.SetCork(sl.fd, on) // not TCP: nothing to do
	}
}

// Push sends what a corked socket holds back.
func (d *Driver) Push(t aio.Token) {
	if sl := d.lookup(t); sl != nil {
		_ = sys.Push(sl.fd) // as above
	}
}
