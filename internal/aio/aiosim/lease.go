package aiosim

import (
	"syscall"
)

// Leases is what package lease is outside of the simulation: one holder of read leases,
// told of breaks some time after they happen, outside of calls of the driver.
type Leases struct {
	w *World
	// Tell is called inside Wait with the descriptor of a lease that was broken.
	Tell func(fd int32)
	// Refuse is the probability that a lease is refused for good (EACCES).
	Refuse float64
}

// writer is somebody who opens a file to write, and then does.
type writer struct {
	lasts int64 // ns, from the open to the close
	write func()
}

// Take implements openfile.Leases.
func (l *Leases) Take(fd int32) syscall.Errno {
	f := l.file(fd)
	switch {
	case f == nil:
		return syscall.EBADF
	case f.writers > 0:
		return syscall.EAGAIN
	case l.w.roll(l.Refuse):
		return syscall.EACCES
	}
	l.w.note(kLease, 0, int64(fd), 1, 0, 0)
	f.leases = append(f.leases, fd)
	return 0
}

// Held implements openfile.Leases.
func (l *Leases) Held(fd int32) bool {
	f := l.file(fd)
	return f != nil && f.hasLease(fd) && len(f.waiting) == 0
}

// Give implements openfile.Leases.
func (l *Leases) Give(fd int32) {
	l.w.note(kLease, 0, int64(fd), 0, 0, 0)
	if f := l.file(fd); f != nil {
		f.giveLease(fd)
	}
}

func (l *Leases) file(fd int32) *File {
	if d := l.w.fd(fd); d != nil {
		return d.file
	}
	return nil
}

func (f *File) hasLease(fd int32) bool {
	for _, g := range f.leases {
		if g == fd {
			return true
		}
	}
	return false
}

// giveLease ends a lease. When it was the last one those go on who wait to write.
func (f *File) giveLease(fd int32) {
	if !f.hasLease(fd) {
		return
	}
	kept := f.leases[:0]
	for _, g := range f.leases {
		if g != fd {
			kept = append(kept, g)
		}
	}
	f.leases = kept
	if len(kept) > 0 {
		return
	}
	for _, w := range f.waiting {
		f.begin(w)
	}
	f.waiting = nil
}

// Writers returns how many have the file open to write, or wait to.
func (f *File) Writers() int { return f.writers }

// OpenForWriting lets somebody open the file to write, who is held while there are leases
// on it, does write once, and closes it some time later.
func (f *File) OpenForWriting(write func()) {
	w := writer{f.w.below(lateMax), write}
	f.writers++
	if len(f.leases) == 0 {
		f.begin(w)
		return
	}
	f.waiting = append(f.waiting, w)
	f.opened = append(f.opened, f.w.now)
	for _, fd := range f.leases {
		f.w.after(f.w.below(lateMax)/20, timer{kind: tFunc, fn: func() { f.w.leases.Tell(fd) }})
	}
}

func (f *File) begin(w writer) {
	if n := len(f.opened); n > 0 {
		f.w.longestHeld = max(f.w.longestHeld, f.w.now-f.opened[0])
		f.opened = f.opened[1:]
	}
	w.write()
	f.w.after(w.lasts, timer{kind: tFunc, fn: func() { f.writers-- }})
}

// Overwrite is Modify, but for the mtime, which somebody has put back.
func (f *File) Overwrite() {
	f.w.note(kModify, 0, 1, 0, 0, 0)
	v := f.Version()
	v.Content, v.SinceNs = f.w.newContent(), f.w.now
	f.versions = append(f.versions, v)
}

// LendPages makes what is sent without copying change with its file until the client has
// read it, and returns what keeps that from happening.
func (w *World) LendPages() *Leases {
	w.leases = &Leases{w: w}
	return w.leases
}

// LongestHeld returns how long a writer was held at most, in ns.
func (w *World) LongestHeld() int64 { return w.longestHeld }

// Unsent returns how many bytes of a connection its client has not read.
func (w *World) Unsent(fd int32) int64 {
	if d := w.fd(fd); d != nil && d.conn != nil {
		return d.conn.conn.queued
	}
	return 0
}

// Sever resets a connection at once. What the network has is still on its way.
func (w *World) Sever(fd int32) {
	d := w.fd(fd)
	if d == nil || d.conn == nil {
		w.violate("sever of descriptor %d, which is no connection", fd)
		return
	}
	c := d.conn
	n := &c.conn
	w.note(kSever, 0, int64(fd), n.queued, 0, 0)
	if n.broken || n.rstSent {
		return
	}
	c.dropQueue(w.below(n.queued - n.held + 1))
	n.rstSent = true
	n.broken = true
	n.out, n.arrived = n.out[:0], 0
	n.flying = n.queued > 0
	w.after(c.delay(), timer{kind: tFunc, fn: func() {
		n.flying = false
		n.capture()
	}})
	c.startRead()
	c.settle()
}

// InFlight reports whether the network has bytes of a severed connection.
func (w *World) InFlight(fd int32) bool {
	d := w.fd(fd)
	return d != nil && d.conn != nil && d.conn.conn.flying
}

// capture copies what lies in the queue.
func (n *conn) capture() {
	for i := n.head; i < len(n.chunks); i++ {
		n.chunks[i] = n.chunks[i].captured()
	}
}

// captured returns what a chunk is now.
func (c chunk) captured() chunk {
	if c.lent != nil {
		c.content, c.lent = c.lent.Version().Content, nil
	}
	return c
}
