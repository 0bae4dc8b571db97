package loop

import (
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/engine/shape"
)

// phase says what a stream is doing.
//
//	     pull, Ready, tokens
//	   +---------------------+
//	   v                     |
//	sending ---> awaitingRoom, awaitingDisk, awaitingTokens, awaitingBody
//	   |                     |
//	   +-----> ended <-------+
//	             |
//	           told
type phase uint8

const (
	sending        phase = iota // there is something to do in its turn of the run queue
	awaitingRoom                // in the socket: Ready follows
	awaitingDisk                // the next bytes: Ready follows
	awaitingTokens              // the tree of limits names its flow when they are there
	awaitingBody                // it has answered Later: Conn.Pull follows
	ended                       // the outcome is final; the session is yet to be told
	told                        // and was: what is left waits for the driver
)

// Stream is a response on its way. One that was sent whole at once uses it only for its
// outcome.
type Stream struct {
	conn  *Conn // nil: it is free
	phase phase

	body   Body // what is to be pulled
	parts  parts
	at     Segment     // what was pulled and is not yet sent; a reference to its file is held
	last   bool        // nothing follows it
	staged bool        // what is left of it is in a pipe
	small  bool        // all that is left is in parts, and may be gathered into memory
	read   *remoteRead // of a remote file; nil: nothing
	corks  bool        // it is sent in more pieces than its head and a range that was staged

	request []byte // see Response.Request; in memory of parts. nil: it cannot be planned anew
	stale   bool   // that is to be done when its turn comes

	meter   Meter // nil: nobody counts
	outcome outcome.Outcome
	left    int64 // bytes that are to be sent, as far as is known
	speed   speed // while it is measured

	flow  *shape.Flow // nil: it is not in the tree of limits
	grant int64       // bytes that may be sent before the tree is asked again
	whose whose       // what the response is counted by

	queued bool // in the loop's run queue
}

// underWay reports whether the outcome is not yet final.
func (s *Stream) underWay() bool { return s.phase < ended }

// begin starts a response.
func (s *Stream) begin(r *Response) {
	c := s.conn
	s.outcome.Start, s.meter = c.loop.now, r.Meter
	if c.loop.flows.tree != nil {
		s.identify(r)
	}
	switch {
	case r.Source != nil:
		s.corks, s.body = true, r.Source
		s.parts.copyOf(r.Head)
		s.left = sum(s.parts.left, r.Source.Left())
		if len(r.Head) > 0 {
			s.at = s.parts.list[0]
		}
	case len(r.Body) == 0:
		s.sendWhole(r.Head, &Segment{})
	case len(r.Body) == 1 && r.Body[0].inMemory():
		s.sendWhole(r.Head, &r.Body[0])
	default:
		ranges, corked := s.parts.keep(r.Head, r.Body)
		s.body, s.left, s.corks = &s.parts, s.parts.left, corked
		s.small = ranges > 0 && s.parts.small()
		if ranges > 0 && len(r.Request) <= MaxRequest {
			s.request = s.parts.keepRequest(r.Request)
		}
	}
	if c != c.loop.serving {
		s.wake()
	}
}

// wake puts a stream that has something to do into the run queue.
func (s *Stream) wake() {
	if (s.phase == sending || s.phase == ended) && !s.queued {
		s.queued = true
		s.conn.loop.runq = append(s.conn.loop.runq, s)
	}
}

// goOn ends a wait: the stream gets its turn.
func (s *Stream) goOn() {
	if s.underWay() {
		s.phase = sending
	}
	s.conn.deadline = s.conn.loop.now + int64(s.conn.loop.cfg.SendTimeout)
	s.wake()
}

// advance moves the stream on as far as it goes in this turn. The run queue may still name
// one that is free, or used anew.
func (s *Stream) advance() {
	c := s.conn
	if c == nil || c.state != connSending {
		return
	}
	switch {
	case s.stale && s.underWay():
		(*waiter)(s).again()
		return
	case s.phase == sending:
		s.pump()
	}
	if s.underWay() {
		return
	}
	c.finish(len(c.in.buf))
	if c.state == connReading && len(c.in.buf) > 0 {
		c.serve(c.in.buf, 0)
	}
}

// end notes how the response ended. The session is told later, from the
// loop's own level, so that its methods never call each other.
func (s *Stream) end(why outcome.End) {
	if s.flow != nil {
		s.rest()
	}
	s.outcome.End = why
	s.outcome.Duration = s.conn.loop.now - s.outcome.Start
	s.phase = ended
	if why == outcome.FileChanged || why == outcome.FileFailed {
		s.distrust()
	}
}

// distrust makes the cache ask about the files of the response before it gives them to
// anybody else.
func (s *Stream) distrust() {
	s.parts.distrust()
	if f := s.at.File; f != nil {
		f.Distrust()
	}
}

// tell tells the session how the response ended, once.
func (s *Stream) tell() {
	if s.phase == told {
		return
	}
	s.phase = told
	l := s.conn.loop
	l.stats.Responses++
	l.stats.Ends[s.outcome.End]++
	l.session.Sent(s.conn, &s.outcome)
}

func (l *Loop) newStream(c *Conn) *Stream {
	l.stats.Sending++
	s := l.streams.Get()
	s.conn = c
	return s
}

// freeStream lets go of what is left and pools s.
func (l *Loop) freeStream(s *Stream) {
	l.stats.Sending--
	s.release()
	if s.body != nil && s.body != Body(&s.parts) {
		s.body.Close()
	}
	s.parts.Close()
	s.endRead()
	*s = Stream{parts: s.parts, whose: whose{client: s.whose.client[:0]}, queued: s.queued}
	l.streams = append(l.streams, s)
}
