package aiosim

import (
	"syscall"

	"github.com/fserve/fserve/internal/aio"
)

func (d *driver) ReadAt(f *aio.File, p []byte, off int64) (int, syscall.Errno) {
	d.enter(kReadAt)
	defer d.exit()
	file := d.fileOf(kReadAt, f, off, 0)
	if file == nil {
		return 0, syscall.EBADF
	}
	n, e := d.readAt(file, p, off)
	d.stats.Enters++
	d.elapse(int64(n))
	d.w.noteErr(kReadAt, 0, e, int64(f.FD), off, int64(len(p)), int64(n))
	return n, e
}

func (d *driver) readAt(file *File, p []byte, off int64) (int, syscall.Errno) {
	w := d.w
	if w.fails(kReadAt, w.cfg.Faults.FileError) {
		return 0, w.pick(syscall.EIO, syscall.EAGAIN)
	}
	n := max(min(int64(len(p)), file.Size()-off), 0)
	if n == 0 {
		return 0, 0
	}
	hot, sound := clear(file.cold, off, n), clear(file.bad, off, n)
	switch {
	case hot == 0, w.roll(w.cfg.Faults.ReadAgain):
		return 0, syscall.EAGAIN
	case sound == 0:
		return 0, syscall.EIO
	}
	n = min(hot, sound)
	if w.roll(w.cfg.Faults.ReadShort) {
		n = w.upTo(n)
	}
	c := file.chunk(off, n, true)
	c.fill(p[:n])
	return int(n), 0
}

// ReadFile reads what SendFile would send, socket aside.
func (d *driver) ReadFile(t aio.Token, f *aio.File, p []byte, off int64) aio.Sent {
	d.enter(kReadFile)
	defer d.exit()
	s := d.attempt(kReadFile, t)
	if s == nil {
		return badAttempt()
	}
	n := int64(len(p))
	file := d.fileOf(kReadFile, f, off, n)
	if file == nil {
		return badAttempt()
	}
	r := d.tryRead(s, file, p, off)
	r.Via = aio.ViaCopy
	s.stalls++
	switch {
	case r.N > 0:
		s.stalls = 0
	case r.Status == aio.Failed:
		d.stats.CountError(r.Err)
	case r.Status == aio.BlockedDisk:
		s.blocked, s.blockedFD = r.Status, f.FD
		d.startFetch(s)
	}
	if d.w.roll(d.w.cfg.Faults.Pin) {
		d.pin(f)
	}
	d.stats.Enters++
	d.elapse(r.N)
	d.w.noteErr(kReadFile, t, r.Err, off, n, r.N, int64(r.Status))
	return r
}

func (d *driver) tryRead(s *slot, file *File, p []byte, off int64) aio.Sent {
	w := d.w
	d.setAhead(s, ahead{})
	if w.fails(kReadFile, w.cfg.Faults.FileError) {
		return aio.Sent{Status: aio.Failed, Err: syscall.EIO}
	}
	n, end := d.reach(s, file, off, int64(len(p)))
	if n == 0 && len(p) > 0 {
		return d.stop(s, file, off, 0, end)
	}
	if n > 1 && w.roll(w.cfg.Faults.ReadShort) {
		n = w.upTo(n)
	}
	c := file.chunk(off, n, true)
	c.fill(p[:n])
	return aio.Sent{N: n}
}

// Pread is pread(2) of a file of OpenFile, as another goroutine calls it: it waits for the disk. It
// counts as a fallible call.
func (w *World) Pread(fd int32, p []byte, off int64) (int, syscall.Errno) {
	d := w.fd(fd)
	if d == nil || d.file == nil {
		return 0, syscall.EBADF
	}
	if w.fails(kReadAt, w.cfg.Faults.FileError) {
		return 0, syscall.EIO
	}
	n := max(min(int64(len(p)), d.file.Size()-off), 0)
	sound := clear(d.file.bad, off, n)
	if n > 0 && sound == 0 {
		return 0, syscall.EIO
	}
	if n = sound; n > 0 && w.roll(w.cfg.Faults.ReadShort) {
		n = w.upTo(n)
	}
	c := d.file.chunk(off, n, true)
	c.fill(p[:n])
	w.note(kReadAt, 0, int64(fd), off, int64(len(p)), n)
	return int(n), 0
}

// Fstat is fstat(2) of a file of OpenFile, called so. It counts as a fallible call.
func (w *World) Fstat(fd int32) (aio.FileStat, syscall.Errno) {
	d := w.fd(fd)
	if d == nil || d.file == nil {
		return aio.FileStat{}, syscall.EBADF
	}
	if w.fails(kStat, w.cfg.Faults.StatError) {
		return aio.FileStat{}, syscall.EIO
	}
	return d.file.stat(), 0
}
