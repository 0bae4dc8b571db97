package loop

import (
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/outcome"
)

// A response of which no byte was sent, since it waits for tokens, its turn or room in the
// socket, is nothing that a client could take for a whole. If a file of it changes it is not
// ended: the session plans it anew, with the file as it is then.

const (
	// maxReplans is how often a response is planned anew. Who overwrites a file so often
	// meanwhile ends the response.
	maxReplans = 8

	// MaxRequest bounds Response.Request, in bytes: what a response holds of it until its end.
	// Heads of requests are most often below 1 KiB.
	MaxRequest = 4 << 10
)

// Replanned reports whether the response that is to be given is one more for the same request; see
// Replanner.
func Replanned(c *Conn) bool { return c.replans > 0 }

// waiter is a stream as far as that is concerned.
type waiter Stream

// mayReplan reports whether the response can be planned anew.
func (s *waiter) mayReplan() bool {
	return s.request != nil && s.outcome.Total() == 0 && !s.staged && s.phase <= awaitingTokens && s.phase != awaitingDisk &&
		s.conn.state == connSending && s.conn.replans < maxReplans
}

// uses reports whether bytes of a file are to be sent.
func (s *waiter) uses(f *openfile.File) bool {
	return s.rangesOf(f, func(*Segment) bool { return false }) < 0
}

// rangesOf calls each for what is yet to be sent of a file from where it lies, and returns how
// many bytes that is; negative: each has returned false.
func (s *waiter) rangesOf(f *openfile.File, each func(*Segment) bool) (n int64) {
	if p := &s.at; p.File == f && !p.inMemory() {
		n += p.N
		if !each(p) {
			return -1
		}
	}
	for i := s.parts.next; i < len(s.parts.list); i++ {
		p := &s.parts.list[i]
		if p.File != f || p.inMemory() {
			continue
		}
		n += p.N
		if !each(p) {
			return -1
		}
	}
	return n
}

// recheck has a response that has waited planned anew if files of it have changed, as far as
// that is known without waiting for a network.
func (s *waiter) recheck() {
	if !s.mayReplan() {
		return
	}
	for i := range s.parts.list {
		if p := &s.parts.list[i]; !p.inMemory() && !p.File.Remote() && !p.File.Unchanged(s.conn.loop.driver) {
			s.outdate()
			return
		}
	}
}

// changed ends a response of which a file has changed, or has it planned anew.
func (s *waiter) changed() {
	if s.mayReplan() {
		s.outdate()
		return
	}
	(*Stream)(s).end(outcome.FileChanged)
}

// outdate lets go of the files of a response that may be planned anew, which it is in its turn:
// if the socket is full, when there is room.
func (s *waiter) outdate() {
	stream := (*Stream)(s)
	stream.distrust()
	if s.flow != nil {
		stream.rest()
	}
	stream.release()
	s.parts.Close()
	s.stale = true
	if s.phase != awaitingRoom {
		stream.goOn()
	}
}

// again has the session plan a response anew.
func (s *waiter) again() {
	c := s.conn
	l := c.loop
	c.stream, c.state, c.deadline = nil, connSuspended, 0
	c.replans++
	l.stats.Replanned++
	l.Files.BeginRequest()
	l.session.(Replanner).Again(c, s.request)
	l.freeStream((*Stream)(s)) // not before: it has the memory of the request
}
