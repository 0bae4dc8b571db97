package loop

import (
	"math"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/internal/free"
)

// What is sent of a file without copying are the file's own pages: they lie in the socket
// until the peer has acknowledged them, and change with the file. Of a leased file a
// connection remembers that (lent), and when somebody comes to write, who is held by the
// kernel meanwhile, the loop recalls the file: connections that have bytes of it on the way
// get a moment to end in peace. Then they are severed, which drops what lies in their
// sockets; when the network has let go of it too, the lease is given up and the writer
// goes on. Responses of which nothing was sent are planned anew; see replan.go. What is sent
// by copying goes on from memory.

const (
	// recallGrace is how long connections may go on, in ns: enough for a file of some
	// 100 KB in a data centre, and not felt by who deploys.
	recallGrace = int64(1000e3)

	// graceBytes is how much of a response may be left to be sent for it to have the grace, in bytes:
	// more takes longer on most networks, and what is sent meanwhile holds the writer the longer.
	graceBytes = int64(1 << 20)

	// recallEvery is how often it is looked whether a recall has come to its end, and
	// recallTime how long one may last, in ns: a queue of the network that holds packets for
	// longer holds the writer no longer. On a machine that has too much to do, packets wait for
	// their turn for tens of ms.
	recallEvery = int64(250e3)
	recallTime  = int64(250e6)

	// maxTaken bounds what is read of a file into memory for one response, and maxTakenAll for
	// all of them in one recall, in bytes: the latter takes about 2 ms.
	maxTaken    = int64(256 << 10)
	maxTakenAll = int64(8 << 20)

	// maxFreeLent is how many lents are kept for later.
	maxFreeLent = 1024
)

// lent is a file whose pages lie in the socket of a connection: no byte after end.
type lent struct {
	file *openfile.File
	end  int64 // in bytes that the socket took, ever
	next *lent // lent before
}

// recalls is what is under way.
type recalls struct {
	files   []recall
	severed []severed
	at      int64 // when to look again
	free    free.List[lent]
}

// recall is a file for which a writer waits. It is retained.
type recall struct {
	file         *openfile.File
	grace, until int64 // monotonic ns
	taken        int64 // bytes that were read into memory
}

// severed is a connection that the driver is yet to close: when the network holds nothing of
// it any more, or at the time until.
type severed struct {
	conn  *Conn
	until int64 // monotonic ns
}

// lender is a connection as far as that is concerned.
type lender Conn

// lend remembers that what the socket took last were pages of a file.
func (c *lender) lend(f *openfile.File) {
	if !f.Lends() {
		return
	}
	if c.lent != nil && c.lent.file == f {
		c.lent.end = c.taken
		return
	}
	n := c.loop.recalls.free.Get()
	f.Retain()
	*n = lent{f, c.taken, c.lent}
	c.lent = n
}

// settle lets go of the files of which the peer has everything.
func (c *lender) settle() {
	if c.lent == nil {
		return
	}
	acknowledged := c.taken - c.loop.kernel.unsent((*Conn)(c))
	at := &c.lent
	for *at != nil && (*at).end > acknowledged {
		at = &(*at).next
	}
	c.loop.recalls.put(*at)
	*at = nil
}

// sweep is for a connection that lends, from time to time.
func (c *lender) sweep() {
	if c.state == connDraining {
		(*Conn)(c).close(false) // if the peer has everything
	} else if c.state != connClosing {
		c.settle()
	}
}

// put lets go of the files of a list.
func (r *recalls) put(list *lent) {
	for n := list; n != nil; {
		next := n.next
		n.file.Release()
		*n = lent{}
		r.free.Put(n, maxFreeLent)
		n = next
	}
}

// uses reports whether bytes of a file may be on the way to the peer, or are to be sent.
func (c *lender) uses(f *openfile.File) bool {
	for n := c.lent; n != nil; n = n.next {
		if n.file == f {
			return true
		}
	}
	return c.stream != nil && (*waiter)(c.stream).uses(f)
}

// mayEnd reports whether what is under way of a file may end within the grace.
func (c *lender) mayEnd(f *openfile.File) bool {
	return c.stream == nil || c.stream.left <= graceBytes || !(*waiter)(c.stream).uses(f)
}

// take reads what is left of a file in a response into memory, from where it goes on: none of
// the file's pages are on the way, and the file is as it was as long as its writer is held. It
// reports false if that cannot be, or would be too much or wait for the disk.
func (c *lender) take(f *recall) bool {
	s := (*waiter)(c.stream)
	if s == nil || c.state != connSending || s.staged || f.file.Lends() && c.carried == nil && !c.sealed.seals() {
		return false
	}
	n := s.rangesOf(f.file, func(*Segment) bool { return true })
	if n > maxTaken || f.taken+n > maxTakenAll {
		return false
	}
	f.taken += n
	d := c.loop.driver
	return s.rangesOf(f.file, func(p *Segment) bool {
		mem := make([]byte, p.N)
		k, e := d.ReadAt(f.file.Lent(), mem, p.Off)
		if e != 0 || k < len(mem) {
			return false
		}
		p.Mem = mem
		return true
	}) >= 0
}

// lends reports whether pages of a file that somebody may come to write may be in the socket.
func (c *lender) lends() bool {
	return c.lent != nil || c.stream != nil && c.stream.at.File != nil && c.stream.at.File.Lends()
}

// drain keeps a connection, whose last response was sent, until the peer has all of it.
func (c *lender) drain() {
	if c.state == connDraining {
		return
	}
	l := c.loop
	lingers := c.state == connLingering
	c.state = connDraining
	c.deadline = l.now + int64(l.cfg.SendTimeout)
	c.until = math.MaxInt64
	l.buffers.put(&c.in.buf)
	(*Conn)(c).resume()
	if !lingers {
		(*Conn)(c).fin()
	}
}

// stillDrains reports whether the peer of a connection that drains has taken anything
// since it was asked last. It has more time then.
func (c *lender) stillDrains() bool {
	n := c.loop.kernel.unsent((*Conn)(c))
	if n >= c.until {
		return false
	}
	c.until, c.deadline = n, c.loop.now+int64(c.loop.cfg.SendTimeout)
	return true
}

// recall begins to end all use of a file, of which the lease is broken.
func (l *Loop) recall(f *openfile.File) {
	l.recalls.files = append(l.recalls.files, recall{f, l.now + recallGrace, l.now + recallTime, 0})
	l.recalls.at = l.now
}

// busy reports whether there is anything under way. A loop that was late may have given up
// the last lease in the turn in which it severed a connection.
func (r *recalls) busy() bool { return len(r.files)+len(r.severed) > 0 }

// run goes on with what is under way.
func (r *recalls) run(l *Loop) {
	if !r.busy() || l.now < r.at {
		return
	}
	r.at = l.now + recallEvery
	r.closeSevered(l)
	files := r.files[:0]
	for _, f := range r.files {
		waits := r.await(l, &f)
		if waits && l.now < f.until {
			files = append(files, f)
			continue
		}
		l.Files.GiveUp(f.file)
	}
	clear(r.files[len(files):])
	r.files = files
}

// await reports whether connections still use a file, and severs them if its grace is over.
func (r *recalls) await(l *Loop, f *recall) (waits bool) {
	waits = len(r.severed) > 0
	l.each(func(c *Conn) {
		lender := (*lender)(c)
		lender.sweep()
		if s := (*waiter)(c.stream); s != nil && s.uses(f.file) && s.mayReplan() {
			s.outdate()
		}
		if !lender.uses(f.file) {
			return
		}
		if l.now >= f.grace && lender.take(f) {
			return
		}
		waits = true
		if c.state == connClosing || l.now < f.grace && lender.mayEnd(f.file) {
			return
		}
		l.stats.Recalled++
		if c.carried != nil {
			c.broken(outcome.FileChanged, true)
			return
		}
		l.kernel.sever(c.fd)
		c.severed = true
		r.severed = append(r.severed, severed{c, f.until})
		c.broken(outcome.FileChanged, true)
	})
	return waits
}

// closeSevered closes the connections of which the network holds nothing any more.
func (r *recalls) closeSevered(l *Loop) {
	kept := r.severed[:0]
	for _, s := range r.severed {
		if l.now < s.until && l.kernel.inFlight(s.conn.fd) {
			kept = append(kept, s)
			continue
		}
		l.driver.Close(s.conn.token, true)
	}
	clear(r.severed[len(kept):])
	r.severed = kept
}

// close ends everything, before the driver is destroyed.
func (r *recalls) close(l *Loop) {
	for _, s := range r.severed {
		l.driver.Close(s.conn.token, true)
	}
	for _, f := range r.files {
		l.Files.GiveUp(f.file)
	}
	*r = recalls{}
}
