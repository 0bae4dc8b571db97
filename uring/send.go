package uring

import (
	"syscall"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

// Send implements aio.Driver.
func (d *Driver) Send(t aio.Token, head, body []byte, more bool) aio.Sent {
	s, e := d.unblocked(t)
	if e != 0 {
		return aio.Sent{Status: aio.Failed, Err: e}
	}
	want := len(head) + len(body)
	if want == 0 {
		return aio.Sent{}
	}
	n, e := sys.Send2(s.fd, head, body, more)
	d.stats.Bytes[aio.ViaMemory] += uint64(n)
	switch {
	case e == 0 && n == want:
		return aio.Sent{N: int64(n)}
	case e == 0, e == syscall.EAGAIN:
		d.blockOnSocket(t, s)
		return aio.Sent{N: int64(n), Status: aio.BlockedSocket}
	}
	d.stats.CountError(e)
	s.failed(e)
	return aio.Sent{Status: aio.Failed, Err: e}
}

// failed notes the error of an attempt if it is one that the socket will not
// tell again.
func (s *slot) failed(e syscall.Errno) {
	if aio.ToldOnce(e) {
		s.err = uint16(e)
	}
}

// SendFile implements aio.Driver.
func (d *Driver) SendFile(t aio.Token, f *aio.File, off, n int64, more bool) aio.Sent {
	s, e := d.unblocked(t)
	if e != 0 {
		return aio.Sent{Status: aio.Failed, Err: e}
	}
	sent, fetch := d.mover.Send(s.fd, &s.move, f, off, n, more)
	if !fetch.Empty() && !d.fetch(t, s, f, fetch) {
		_ = d.mover.Fetched(&s.move, 0) // the ring takes nothing: send, and wait for the disk if it must be
		if sent.Status == aio.BlockedDisk {
			return d.SendFile(t, f, off, n, more)
		}
	}
	switch sent.Status {
	case aio.BlockedSocket:
		d.blockOnSocket(t, s)
	case aio.BlockedDisk:
		s.flags |= blockedDisk
	case aio.Failed:
		s.failed(sent.Err)
	}
	return sent
}

// unblocked returns the slot of a token if an attempt may be made on it now.
func (d *Driver) unblocked(t aio.Token) (*slot, syscall.Errno) {
	s := d.slot(t)
	switch {
	case s == nil:
		return nil, syscall.EBADF
	case s.is(blockedSocket | blockedDisk):
		return nil, syscall.EALREADY
	}
	return s, 0
}

func (d *Driver) blockOnSocket(t aio.Token, s *slot) {
	s.flags |= blockedSocket
	d.settle(t, s)
}

// Cork implements aio.Driver.
func (d *Driver) Cork(t aio.Token, on bool) {
	if s := d.slot(t); s != nil {
		sys.SetCork(s.fd, on)
	}
}

// Push implements aio.Driver.
func (d *Driver) Push(t aio.Token) {
	if s := d.slot(t); s != nil {
		sys.Push(s.fd)
	}
}

// Take implements aio.Driver.
func (d *Driver) Take(t aio.Token, f *aio.File, off, n int64) bool {
	s, e := d.unblocked(t)
	return e == 0 && d.mover.Take(&s.move, f, off, n)
}

// ReadAt implements aio.Driver.
func (d *Driver) ReadAt(f *aio.File, p []byte, off int64) (int, syscall.Errno) {
	return d.mover.ReadAt(f, p, off)
}

// Stat implements aio.Driver.
func (d *Driver) Stat(f *aio.File) (aio.FileStat, syscall.Errno) {
	size, mtime, e := sys.Fstat(f.FD)
	return aio.FileStat{Size: size, MtimeNs: mtime}, e
}
