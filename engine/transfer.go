package engine

import (
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/mover"
)

const (
	// chunkBytes is what one attempt asks for. Larger calls make the others
	// wait longer and move bytes no faster; see ARCHITECTURE.md.
	chunkBytes = 1 << 20

	// pacedTurn and pacedChunk are the turn and the attempt of a connection that
	// is paced; see Loop.share.
	pacedTurn  = 512 << 10
	pacedChunk = 256 << 10

	// tailBytes of a file are read into memory, if they cannot be taken into a pipe,
	// before it is checked that the file is still the same, and sent after it: a
	// body of mixed versions never gets its last bytes.
	tailBytes = 1 << 10
)

// transfer is a response on its way. A whole one that was sent at once uses it
// only for its outcome.
type transfer struct {
	segs    []Segment // the first ones are shortened as they are sent
	copied  []byte    // memory that the session did not promise to keep
	outcome Outcome
	blocked bool  // a Ready event will come
	waiting bool  // for tokens: the tree of limits will name its flow
	done    bool  // outcome is final; the session is yet to be told
	told    bool  // the session was told; files wait for the driver
	small   bool  // all of it may be gathered into memory
	corks   bool  // it is sent in more pieces than its head and a range that was taken
	more    bool  // the kernel was told, with the last bytes, that more follows at once
	taken   bool  // what is left of the last file segment is in a pipe
	left    int64 // bytes that are to be sent
	grant   int64 // bytes that may be sent before the tree is asked again
	whose   whose // what the response is counted by
	lastSeg int   // index in segs of the last one whose file may change, -1: none
	speed   speed // while it is measured
	next    *transfer
}

// Respond starts the response to the request that Receive was given last, or
// that the connection was suspended for. Sent is called when it has ended,
// never before Respond has returned. It does nothing if the connection is
// being closed.
func (c *Conn) Respond(r *Response) {
	if c.state != connReading && c.state != connSuspended {
		return
	}
	l := c.loop
	c.state = connSending
	if c.requests++; c.requests > 1 {
		l.stats.Reused++
	}
	c.deadline = l.now + l.sendTimeout
	t := l.newTransfer()
	c.out = t
	t.outcome.Start = l.now
	if l.flows.tree != nil {
		l.identify(c, t, r)
	}
	if len(r.Body) == 0 {
		l.sendWhole(c, t, r.Head, &Segment{})
	} else if len(r.Body) == 1 && r.Body[0].inMemory() {
		l.sendWhole(c, t, r.Head, &r.Body[0])
	} else {
		t.hold(r)
	}
	if !t.blocked && !t.waiting && c != l.serving {
		l.wake(c)
	}
}

// sendWhole attempts the common case: everything is in memory and fits.
func (l *Loop) sendWhole(c *Conn, t *transfer, head []byte, body *Segment) {
	if c.flow != nil && !l.takeWhole(c, t, int64(len(head)+len(body.Mem))) {
		t.keepRest(head, body, 0)
		return
	}
	if c.corked {
		c.corked = false
		l.driver.Cork(c.token, false)
	}
	// Where FIN is the next thing to be sent (see closeConn) the two are one packet.
	s := l.driver.Send(c.token, head, body.Mem, c.closeNext)
	t.more = c.closeNext
	if s.Status == aio.OK && s.N == int64(len(head)+len(body.Mem)) {
		t.outcome.Bytes[s.Via] = s.N
		t.grant = 0
		l.end(c, Complete)
		return
	}
	t.keepRest(head, body, s.N)
	l.account(c, t, s)
}

// keepRest keeps what is left of head and body after n bytes were sent.
func (t *transfer) keepRest(head []byte, body *Segment, n int64) {
	t.left = n // which account subtracts
	if n < int64(len(head)) {
		t.copied = append(t.copied[:0], head[n:]...)
		t.segs = append(t.segs, Segment{Mem: t.copied})
		n = 0
	} else {
		n -= int64(len(head))
	}
	if n < int64(len(body.Mem)) {
		if body.File != nil {
			body.File.Hold()
		}
		t.segs = append(t.segs, Segment{Mem: body.Mem[n:], File: body.File})
	}
	for i := range t.segs {
		t.left += t.segs[i].left()
	}
}

// hold keeps a response that involves files, before anything is sent.
func (t *transfer) hold(r *Response) {
	if len(r.Head) > 0 {
		t.copied = append(t.copied[:0], r.Head...)
		t.segs = append(t.segs, Segment{Mem: t.copied})
	}
	for _, s := range r.Body {
		if s.left() <= 0 {
			continue
		}
		if s.File != nil {
			s.File.Hold()
		}
		if !s.inMemory() {
			t.corks = t.lastSeg >= 0 || s.N > aio.TakeMax
			t.lastSeg = len(t.segs)
		}
		t.segs = append(t.segs, s)
	}
	t.small = t.lastSeg >= 0
	for i := range t.segs {
		s := &t.segs[i]
		t.left += s.left()
		t.small = t.small && (s.inMemory() || s.N <= gatherPart)
	}
	t.small = t.small && t.left <= gatherBytes
}

// pump sends what the connection's transfer may send in this turn.
func (l *Loop) pump(c *Conn) {
	t := c.out
	if t.small && l.gather(c, t) {
		return
	}
	if t.corks != c.corked {
		c.corked = t.corks
		l.driver.Cork(c.token, t.corks)
	}
	budget, chunk := l.share(c)
	for i := range t.segs {
		s := &t.segs[i]
		for s.left() > 0 {
			if budget <= 0 {
				l.joinLate(c, t)
				l.enlarge(c, t)
				l.wake(c)
				return
			}
			most := min(budget, chunk)
			if c.flow != nil {
				if t.grant <= 0 && !l.take(c, t) {
					return
				}
				most = min(most, t.grant)
			}
			sent := l.attempt(c, t, i, most)
			budget -= sent.N
			if !l.account(c, t, sent) {
				return
			}
		}
		if s.File != nil {
			if t.alone(i) && !s.File.Unchanged(l.driver) {
				l.end(c, FileChanged)
				return
			}
			s.File.Release()
			s.File = nil
		}
	}
	if c.corked && !c.closeNext { // or FIN lets go what is held back
		l.driver.Push(c.token)
	}
	l.end(c, Complete)
}

// alone reports whether segment i is of a file that may change and is not the
// one that is checked before the last bytes of the response.
func (t *transfer) alone(i int) bool {
	s := &t.segs[i]
	return i < t.lastSeg && !s.inMemory() && s.File != t.segs[t.lastSeg].File
}

// enlarge gives a paced connection a larger send buffer, once, if its peer is fast,
// nothing limits it, and there is as much to come.
func (l *Loop) enlarge(c *Conn, t *transfer) {
	if c.buffered || c.lowat || !c.paced || t.left < mover.FastAfter {
		return
	}
	moved := t.outcome.Total()
	if moved < mover.FastAfter {
		return
	}
	c.buffered = true // or found slow
	if mover.IsFast(moved, l.now-t.outcome.Start) && mover.MayBuffer() {
		l.sendBuffer(c.fd, mover.FastBuffer)
	}
}

// share returns how many bytes a transfer may send before others get their turn, and
// how many one call is asked for. Fewer and larger calls are cheaper, except where
// what they send is paced: then the timers cost more the more is queued.
func (l *Loop) share(c *Conn) (budget, chunk int64) {
	if c.paced {
		return min(l.turnBudget, pacedTurn), pacedChunk
	}
	return l.turnBudget, chunkBytes
}

func (s *Segment) left() int64 {
	if s.inMemory() {
		return int64(len(s.Mem))
	}
	return s.N
}

// attempt makes one attempt for segment i, for at most as many bytes, and
// shortens the segment by it. Memory goes at once: it is bounded by who made it.
//
// The end of the last file segment, or all of a short one, is taken first, then the
// file is checked, then what was taken is sent, in the same turn: a body of mixed
// versions is never complete. Where it cannot be taken, sendTail does the same by
// copying.
func (l *Loop) attempt(c *Conn, t *transfer, i int, most int64) aio.Sent {
	s := &t.segs[i]
	more := i+1 < len(t.segs) || c.closeNext
	if s.inMemory() {
		mem := s.Mem
		if c.flow != nil && most < int64(len(mem)) {
			mem, more = mem[:most], false
		}
		sent := l.driver.Send(c.token, mem, nil, more)
		t.said(more, sent.N)
		s.Mem = s.Mem[min(sent.N, int64(len(s.Mem))):]
		return sent
	}
	n := min(s.N, most)
	switch {
	case i != t.lastSeg:
	case t.taken, n == s.N && n <= aio.TakeMax && l.driver.Take(c.token, s.File.Lent(), s.Off, n):
		t.taken = true
		if !s.File.Unchanged(l.driver) { // again after a wait: it may have been long
			return aio.Sent{Status: aio.EOF}
		}
	case s.N <= tailBytes:
		return l.sendTail(c, s, n, more)
	default:
		n, more = min(n, s.N-tailBytes), true
		if !c.corked {
			t.corks, c.corked = true, true
			l.driver.Cork(c.token, true)
		}
	}
	sent := l.driver.SendFile(c.token, s.File.Lent(), s.Off, n, more)
	t.said(more, sent.N)
	s.Off += sent.N
	s.N -= sent.N
	return sent
}

// said notes what the kernel was told with n bytes that it took.
func (t *transfer) said(more bool, n int64) {
	if n > 0 {
		t.more = more
	}
}

// sendTail sends n of the last bytes of the last file segment: all, unless a
// limit allows for less. They are read first, then the file is checked, then they
// are sent: if it has changed, the peer never gets them.
func (l *Loop) sendTail(c *Conn, s *Segment, n int64, more bool) aio.Sent {
	if c.flow == nil {
		n = s.N // whatever is left of the turn's budget
	}
	more = more || n < s.N
	tail := l.tail[:n]
	if n, e := l.driver.ReadAt(s.File.Lent(), tail, s.Off); e != 0 || n < len(tail) {
		tail = nil // not in memory, or this file system cannot tell
	}
	if !s.File.Unchanged(l.driver) {
		return aio.Sent{Status: aio.EOF}
	}
	var sent aio.Sent
	if tail != nil {
		sent = l.driver.Send(c.token, tail, nil, more)
	} else {
		sent = l.driver.SendFile(c.token, s.File.Lent(), s.Off, n, more)
	}
	c.out.said(more, sent.N)
	s.Off += sent.N
	s.N -= sent.N
	return sent
}

// account notes an attempt and reports whether the transfer goes on at once.
func (l *Loop) account(c *Conn, t *transfer, s aio.Sent) bool {
	if s.N > 0 {
		if t.outcome.Total() == 0 {
			t.outcome.First = l.now - t.outcome.Start
		}
		t.outcome.Bytes[s.Via] += s.N
		c.deadline = l.now + l.sendTimeout
	}
	t.left -= s.N
	t.grant -= s.N
	if s.Status == aio.OK {
		return true
	}
	l.refund(c, t)
	switch s.Status {
	case aio.BlockedSocket:
		t.blocked = true
		if (c.corked || t.more) && c.lowat {
			// What is held back counts as unsent. With a segment as large as
			// loopback's it alone is more than a socket that is writable may have:
			// nothing would come until cork gives up, after 200 ms.
			l.driver.Push(c.token)
		}
		l.joinLate(c, t)
	case aio.BlockedDisk:
		t.blocked = true
		c.deadline = 0 // the peer is not to blame
	case aio.EOF:
		l.end(c, FileChanged)
	default:
		l.end(c, outcome.OfErrno(s.Err))
	}
	return false
}

// end notes how the response ended. The session is told later, from the
// loop's own level, so that its methods never call each other.
func (l *Loop) end(c *Conn, why End) {
	t := c.out
	t.outcome.End = why
	t.outcome.Duration = l.now - t.outcome.Start
	t.done = true
	if c.flow != nil {
		l.rest(c, t)
	}
	if why == FileChanged || why == FileFailed {
		t.distrustFiles()
	}
}

// distrustFiles makes the cache ask about the files that are left before it
// gives them to anybody else.
func (t *transfer) distrustFiles() {
	for i := range t.segs {
		if f := t.segs[i].File; f != nil {
			f.Distrust()
		}
	}
}

func (l *Loop) newTransfer() *transfer {
	l.stats.Sending++
	t := l.freeTransfers
	if t == nil {
		return &transfer{lastSeg: -1}
	}
	l.freeTransfers, t.next = t.next, nil
	return t
}

// freeTransfer lets go of the files that are left and pools t.
func (l *Loop) freeTransfer(t *transfer) {
	l.stats.Sending--
	for i := range t.segs {
		if f := t.segs[i].File; f != nil {
			f.Release()
		}
	}
	clear(t.segs)
	if cap(t.copied) > 64<<10 {
		t.copied = nil
	}
	*t = transfer{
		segs: t.segs[:0], copied: t.copied[:0], whose: whose{client: t.whose.client[:0]},
		lastSeg: -1, next: l.freeTransfers,
	}
	l.freeTransfers = t
}
