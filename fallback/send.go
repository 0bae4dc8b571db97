package fallback

import (
	"math"
	"syscall"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

// maxSend bounds what one call of the kernel is asked for (its own limit is
// 2 GiB less a page).
const maxSend = 1 << 30

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
	if e == 0 && n < total {
		e = syscall.EAGAIN
	}
	return d.answer(sl, moved{n: int64(n), err: e})
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

// moved is what one way of sending has achieved.
type moved struct {
	n       int64
	via     aio.Via
	err     syscall.Errno // why it stopped; EAGAIN: the socket is full
	eof     bool          // the file ended
	refused bool          // this way is not offered for this file; nothing of it was sent
}

// answer accounts for what was moved and blocks the slot if the socket was full.
func (d *Driver) answer(sl *slot, m moved) aio.Sent {
	d.stats.Bytes[m.via] += uint64(m.n)
	s := aio.Sent{N: m.n, Via: m.via}
	switch {
	case m.err == syscall.EAGAIN:
		d.count(m.err)
		sl.flags |= waitSocket
		s.Status = aio.BlockedSocket
	case m.err != 0:
		d.count(m.err)
		if ofSocket(m.err) {
			sl.err = uint16(m.err)
		}
		s.Status, s.Err = aio.Failed, m.err
	case m.eof:
		s.Status = aio.EOF
	}
	return s
}

// ofSocket reports whether an error is one that breaks a connection and that
// the kernel reports once, to whichever call comes first.
func ofSocket(e syscall.Errno) bool {
	switch e {
	case syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH:
		return true
	}
	return false
}

// SendFile sends a range of a file the best way that mode and file allow.
func (d *Driver) SendFile(t aio.Token, f *aio.File, off, n int64, more bool) aio.Sent {
	sl, e := d.idle(t)
	switch {
	case e != 0:
		return aio.Sent{Status: aio.Failed, Err: e}
	case n < 0 || off < 0 || off > math.MaxInt64-n:
		return aio.Sent{Status: aio.Failed, Err: syscall.EINVAL}
	case n == 0:
		return aio.Sent{Via: d.way(f)}
	}
	n = min(n, maxSend)
	if sl.pipe != 0 {
		if p := &d.pipes.table[sl.pipe-1]; p.holds(f, off) {
			k := min(n, int64(p.n))
			m := d.drain(sl, p, k, more || n > k)
			d.returnPipe(sl)
			return d.answer(sl, m)
		}
		d.dropPipe(sl)
	}
	k := d.admit(t.Slot(), sl, f, off, n)
	if k == 0 {
		return aio.Sent{Status: aio.BlockedDisk, Via: d.way(f)}
	}
	s := d.sendResident(sl, f, off, k, more || n > k)
	if s.Status == aio.OK || s.Status == aio.BlockedSocket {
		d.readAhead(t.Slot(), sl, off+s.N)
	}
	return s
}

// sendResident sends a range that is in memory, stepping down to the next way
// when the file system refuses one.
func (d *Driver) sendResident(sl *slot, f *aio.File, off, n int64, more bool) aio.Sent {
	for {
		via := d.way(f)
		var m moved
		switch via {
		case aio.ViaSendfile:
			m = d.bySendfile(sl, f, off, n)
		case aio.ViaSplice:
			m = d.bySplice(sl, f, off, n, more)
		default:
			m = d.byCopy(sl, f, off, n, more)
		}
		if !m.refused {
			return d.answer(sl, m)
		}
		d.dropPipe(sl)
		d.count(m.err)
		d.stats.StepsDown[via]++
		f.Refused |= 1 << via
	}
}

// ways lists for each mode what is tried, best first. Copy is never refused.
var ways = [...][]aio.Via{
	aio.Auto:     {aio.ViaSendfile, aio.ViaSplice},
	aio.Sendfile: {aio.ViaSendfile},
	aio.Splice:   {aio.ViaSplice},
	aio.Copy:     nil,
}

// way returns the best way that the file has not refused.
func (d *Driver) way(f *aio.File) aio.Via {
	for _, via := range ways[d.cfg.Mode] {
		if f.Refused&(1<<via) == 0 {
			return via
		}
	}
	return aio.ViaCopy
}

// bySendfile sends by sendfile(2). A short count tells nothing: it may be the
// socket, the end of the file or the kernel's convenience, so the call is
// repeated, for one page to make a refusal cheap.
func (d *Driver) bySendfile(sl *slot, f *aio.File, off, n int64) (m moved) {
	m.via = aio.ViaSendfile
	for ask := n; m.n < n; ask = min(n-m.n, pageSize) {
		k, e := sys.Sendfile(sl.fd, f.FD, off+m.n, int(ask))
		switch {
		case e != 0:
			m.err = e
			m.refused = m.n == 0 && aio.Classify(e) == aio.Unsupported
			return m
		case k == 0:
			m.eof = true
			return m
		}
		m.n += int64(k)
	}
	return m
}

// bySplice sends through a pipe.
//
// The slot has no pipe on entry; on return it has one only if bytes are left
// in it, because the socket is full or broken.
func (d *Driver) bySplice(sl *slot, f *aio.File, off, n int64, more bool) (m moved) {
	i, err := d.pipes.get(&d.stats)
	if err != nil {
		// Out of descriptors, most likely: memory will do this once.
		d.stats.StepsDown[aio.ViaSplice]++
		return d.byCopy(sl, f, off, n, more)
	}
	m.via = aio.ViaSplice
	sl.pipe = i + 1
	defer d.returnPipe(sl)
	p := &d.pipes.table[i]
	for m.n < n {
		k, e := sys.SpliceFromFile(p.w, f.FD, off+m.n, int(min(n-m.n, int64(p.size))))
		switch {
		case e != 0:
			m.err = ofFile(e)
			m.refused = m.n == 0 && aio.Classify(e) == aio.Unsupported
			return m
		case k == 0:
			m.eof = true
			return m
		}
		p.n, p.off, p.file, p.fd = k, off+m.n, f, f.FD
		out := d.drain(sl, p, int64(k), more || m.n+int64(k) < n)
		m.n += out.n
		if out.err != 0 {
			m.err = out.err
			m.refused = m.n == 0 && aio.Classify(out.err) == aio.Unsupported
			return m
		}
	}
	return m
}

// drain moves n bytes, which are in the pipe, to the socket.
func (d *Driver) drain(sl *slot, p *pipe, n int64, more bool) (m moved) {
	m.via = aio.ViaSplice
	for m.n < n {
		k, e := sys.SpliceToSocket(sl.fd, p.r, int(n-m.n), more)
		switch {
		case e != 0:
			m.err = e
			return m
		case k == 0:
			m.err = syscall.EIO // the pipe is not empty: this cannot be
			return m
		}
		m.n += int64(k)
		p.n -= k
		p.off += int64(k)
	}
	return m
}

// ofFile returns the error of a read. EAGAIN, which no regular file should give,
// would be taken for a full socket, and the edge for that would never come.
func ofFile(e syscall.Errno) syscall.Errno {
	if e == syscall.EAGAIN {
		return syscall.EIO
	}
	return e
}

// returnPipe gives the slot's pipe back if it is empty.
func (d *Driver) returnPipe(sl *slot) {
	if sl.pipe != 0 && d.pipes.table[sl.pipe-1].n == 0 {
		d.dropPipe(sl)
	}
}

// copySize is how much Copy reads at a time: what the core's own cache holds.
const copySize = 128 << 10

// byCopy sends through memory. What was read and not sent is read again.
func (d *Driver) byCopy(sl *slot, f *aio.File, off, n int64, more bool) (m moved) {
	if d.scratch == nil {
		d.scratch = make([]byte, copySize)
	}
	m.via = aio.ViaCopy
	for m.n < n {
		k, e := sys.Pread(f.FD, d.scratch[:min(n-m.n, copySize)], off+m.n)
		switch {
		case e != 0:
			m.err = ofFile(e)
			return m
		case k == 0:
			m.eof = true
			return m
		}
		sent, e := sys.Send(sl.fd, d.scratch[:k], more || m.n+int64(k) < n)
		m.n += int64(sent)
		switch {
		case e != 0:
			m.err = e
			return m
		case sent < k:
			m.err = syscall.EAGAIN
			return m
		}
	}
	return m
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
