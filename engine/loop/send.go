package loop

import (
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/mover"
)

const (
	// chunkBytes is what one attempt asks for. Larger calls make the others
	// wait longer and move bytes no faster; see docs/decisions/call-size.md.
	chunkBytes = 1 << 20

	// pacedTurn and pacedChunk are the turn and the attempt of a connection that
	// is paced; see line.share.
	pacedTurn  = 512 << 10
	pacedChunk = 256 << 10

	// tailBytes of a file are read into memory, if they cannot be staged in a pipe,
	// before it is checked that the file is still the same, and sent after it: a
	// body of mixed versions never gets its last bytes.
	tailBytes = 1 << 10
)

// sendWhole attempts the common case: everything is in memory and fits.
func (s *Stream) sendWhole(head []byte, body *Segment) {
	c, all := s.conn, int64(len(head)+len(body.Mem))
	if s.flow != nil && !s.takeWhole(all) {
		s.sendRest(head, body, 0)
		return
	}
	c.cork(false)
	// Where FIN is the next thing to be sent (see Conn.close) the two are one packet.
	sent := send(c, head, body.Mem, c.Closing())
	c.told(c.Closing(), sent.N)
	if sent.Status == aio.OK && sent.N == all && !c.sealed.owesEnd() {
		s.outcome.Bytes[sent.Via] = sent.N
		s.grant = 0
		if s.meter != nil {
			s.meter.Spend(sent.N)
		}
		s.end(outcome.Complete)
		return
	}
	s.sendRest(head, body, sent.N)
	s.account(sent)
}

// sendRest keeps what is left after n bytes of a whole response were sent, which are yet to
// be accounted for.
func (s *Stream) sendRest(head []byte, body *Segment, n int64) {
	s.parts.keepRest(head, body, n)
	s.body, s.left = &s.parts, sum(s.parts.left, n)
}

// pump sends what the stream may send in this turn.
func (s *Stream) pump() {
	c := s.conn
	if c.sealed != nil && !s.account(c.sealed.flush()) {
		return
	}
	if s.small && s.gather() {
		return
	}
	c.cork(s.corks)
	budget, chunk := c.line.share(c.loop.cfg.TurnBudget)
	switch {
	case c.sealed != nil:
		budget = min(budget, sealedTurn)
	case c.carried != nil:
		budget = min(budget, carriedTurn)
	}
	for {
		if budget <= 0 && (s.at.left() > 0 || !s.last) {
			s.yield()
			return
		}
		if s.at.left() == 0 && !s.pull(budget) {
			return
		}
		most := min(budget, chunk)
		if s.flow != nil {
			if s.grant <= 0 && !s.take() {
				return
			}
			most = min(most, s.grant)
		}
		sent := s.attempt(most)
		budget -= sent.N
		if !s.account(sent) {
			return
		}
	}
}

// pull gets the next segment, and reports whether there is one.
func (s *Stream) pull(budget int64) bool {
	if f := s.at.File; f != nil && !s.at.inMemory() && s.conn.sealed == nil && s.conn.carried == nil {
		(*lender)(s.conn).lend(f)
	}
	s.release()
	if s.last {
		if s.conn.sealed.owesEnd() && !s.account(s.conn.sealed.sayEnd()) {
			return false
		}
		s.conn.endsResponse()
		s.end(outcome.Complete)
		return false
	}
	segment, status := s.body.Next(budget)
	switch empty := segment.left() <= 0; {
	case status == Later:
		s.awaitBody()
		return false
	case status == Failed, status == More && empty:
		s.end(outcome.FileFailed)
		return false
	case status == Last && empty:
		s.last = true
		return s.pull(budget)
	}
	if segment.File != nil {
		segment.File.Retain()
	}
	s.at, s.last, s.staged = segment, status == Last, false
	return true
}

// release lets go of the segment that was sent.
func (s *Stream) release() {
	if f := s.at.File; f != nil {
		f.Release()
	}
	s.at = Segment{}
}

// awaitBody waits for Conn.Pull, however long that takes: the peer is not to blame.
func (s *Stream) awaitBody() {
	s.refund()
	s.phase = awaitingBody
	s.conn.deadline = 0
	s.conn.letGo()
}

// yield lets others have their turn.
func (s *Stream) yield() {
	s.joinLate()
	s.enlarge()
	s.wake()
}

// attempt makes one attempt for what was pulled, for at most as many bytes, and
// shortens it by them. Memory goes at once: it is bounded by who made it.
//
// The end of a range of a file, or all of a short one, is staged first (taken into a pipe), then the
// file is checked, then what was staged is sent, in the same turn: a body of mixed
// versions is never complete. Where it cannot be staged, sendTail does the same by
// copying.
func (s *Stream) attempt(most int64) aio.Sent {
	c, at := s.conn, &s.at
	d := c.loop.driver
	more := !s.last || c.Closing()
	if at.inMemory() {
		mem := at.Mem
		if s.flow != nil && most < int64(len(mem)) {
			mem, more = mem[:most], false
		}
		return s.sent(send(c, mem, nil, more), more)
	}
	if at.File.Remote() || s.read != nil {
		return s.sendRemote(most, more)
	}
	if c.carried != nil {
		return s.sendCarried(most, more)
	}
	if c.sealed.seals() {
		return s.sealRange(most, more)
	}
	n := min(at.N, most)
	switch {
	case at.trusted, at.File.Leased():
	case s.staged, n == at.N && n <= aio.StageMax && d.Stage(c.token, at.File.Lent(), at.Off, n):
		s.staged = true
		if !at.File.Unchanged(d) { // again after a wait: it may have been long
			return aio.Sent{Status: aio.EOF}
		}
	case at.N <= tailBytes:
		return s.sendTail(n, more)
	default:
		n, more = min(n, at.N-tailBytes), true
		s.corks = true
		c.cork(true)
	}
	return s.sent(d.SendFile(c.token, at.File.Lent(), at.Off, n, more), more)
}

// sendTail sends n of the last bytes of a range: all, unless a
// limit allows for less. They are read first, then the file is checked, then they
// are sent: if it has changed, the peer never gets them.
func (s *Stream) sendTail(n int64, more bool) aio.Sent {
	c, at := s.conn, &s.at
	d := c.loop.driver
	if s.flow == nil {
		n = at.N // whatever is left of the turn's budget
	}
	more = more || n < at.N
	tail := c.loop.tail[:n]
	k, e := d.ReadAt(at.File.Lent(), tail, at.Off)
	if !at.File.Unchanged(d) {
		return aio.Sent{Status: aio.EOF}
	}
	if e != 0 || k < len(tail) { // not in memory, or this file system cannot tell
		return s.sent(d.SendFile(c.token, at.File.Lent(), at.Off, n, more), more)
	}
	return s.sent(d.Send(c.token, tail, nil, more), more)
}

// sent notes what an attempt for the segment at hand has moved.
func (s *Stream) sent(n aio.Sent, more bool) aio.Sent {
	s.conn.told(more, n.N)
	s.at.skip(n.N)
	return n
}

// account notes an attempt and reports whether the stream goes on at once.
func (s *Stream) account(n aio.Sent) bool {
	c := s.conn
	if n.N > 0 {
		if s.outcome.Total() == 0 {
			s.outcome.First = c.loop.now - s.outcome.Start
		}
		s.outcome.Bytes[n.Via] += n.N
		c.deadline = c.loop.now + int64(c.loop.cfg.SendTimeout)
	}
	s.left -= n.N
	s.grant -= n.N
	if s.meter != nil && n.N > 0 && !s.spend(n.N) {
		return false
	}
	if n.Status == aio.OK {
		return true
	}
	s.refund()
	switch n.Status {
	case aio.BlockedSocket:
		s.phase = awaitingRoom
		c.waitsForRoom()
		s.joinLate()
	case aio.BlockedDisk, aio.BlockedMemory:
		s.phase = awaitingDisk
		c.deadline = 0 // the peer is not to blame
	case aio.EOF:
		(*waiter)(s).changed()
	default:
		s.end(outcome.OfErrno(c.sealed.errorOf(n.Err)))
	}
	return false
}

// spend tells the meter what was sent, and reports whether the stream goes on.
func (s *Stream) spend(n int64) bool {
	slow, ok := s.meter.Spend(n)
	switch {
	case s.left <= 0 && (s.last || s.body == Body(&s.parts)): // it is all there
	case !ok:
		s.end(outcome.Aborted)
		return false
	case slow != nil && s.conn.loop.flows.tree != nil:
		s.joinLate()
		s.flow.SetClientLimit(s.conn.loop.flows.tree, slow)
	}
	return true
}

// share returns how many bytes a stream may send before others get their turn, and
// how many one call is asked for. Fewer and larger calls are cheaper, except where
// what they send is paced: then the timers cost more the more is queued.
func (n line) share(turn int64) (budget, chunk int64) {
	if n.paced {
		return min(turn, pacedTurn), pacedChunk
	}
	return turn, chunkBytes
}

// enlarge gives a paced connection a larger send buffer, once, if its peer is fast,
// nothing limits it, and there is as much to come.
func (s *Stream) enlarge() {
	c := s.conn
	if c.line.buffered || c.back.lowat || !c.line.paced || s.left < mover.FastAfter {
		return
	}
	moved := s.outcome.Total()
	if moved < mover.FastAfter {
		return
	}
	c.line.buffered = true // or found slow
	if mover.IsFast(moved, c.loop.now-s.outcome.Start) && mover.MayBuffer() {
		c.loop.kernel.sendBuffer(c.fd, mover.FastBuffer)
	}
}
