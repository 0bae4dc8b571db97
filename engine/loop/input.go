package loop

import (
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/internal/aio"
)

// maxRequests is how many requests of a connection are answered in one turn of the loop.
// The others of a client that pipelines wait for the next one, behind everybody else.
const maxRequests = 16

// input is what a connection has received and the session has not consumed.
type input struct {
	buf     []byte // of the loop's pools
	seen    bool   // the session has seen buf and found it too little
	preface bool   // what was consumed last was no part of a request
	paused  bool   // the driver was told to Pause
	ended   bool   // the peer has sent its FIN
	due     int64  // monotonic ns: until when what is awaited must be there; see Conn.Await. 0: nothing is
	queued  bool   // buf is for the next turn: see Loop.backlog
	turn    uint32 // in which a request was answered last,
	most    uint32 // and the number of requests that may have been by its end
}

// quota returns the number of requests up to which a connection, which has had so many, may
// go on in this turn.
func (l *Loop) quota(in *input, requests uint32) uint32 {
	if in.turn != l.turns {
		in.turn, in.most = l.turns, requests+l.perTurn
	}
	return in.most
}

// received handles input, the end of it, or a broken connection.
func (c *Conn) received(e *aio.Event) {
	switch {
	case c.state == connClosing:
	case len(e.Data) > 0 && c.sealed != nil:
		c.sealed.open(e.Data)
	case len(e.Data) > 0:
		c.input(e.Data)
	case e.Err != 0:
		c.loop.stats.Resets++
		c.broken(outcome.PeerGone, true)
	default:
		peerEnded(c)
	}
}

// peerEnded handles the end of the input. A peer that has sent its requests and FIN still gets
// the answers.
func peerEnded(c *Conn) {
	c.in.ended = true
	if c.state == connReading && !c.in.queued || c.state == connLingering || c.state == connDraining {
		c.close(false)
	}
}

// input handles received bytes, which are valid in this turn only.
func (c *Conn) input(data []byte) {
	l := c.loop
	l.stats.BytesIn += uint64(len(data))
	switch {
	case c.state == connDraining:
	case c.state == connLingering:
		if !l.draining {
			c.deadline = min(l.now+int64(l.cfg.LingerTimeout), c.until)
		}
	case c.state == connReading && !c.in.queued:
		if len(c.in.buf) == 0 {
			c.serve(data, 0)
			l.crowd.makeRoom(c)
			return
		}
		seen := 0
		if c.in.seen {
			seen = len(c.in.buf)
		}
		l.buffers.append(&c.in.buf, data)
		c.serve(c.in.buf, seen)
		l.crowd.makeRoom(c)
	default: // its turn comes later: until then the kernel keeps what follows
		l.buffers.append(&c.in.buf, data)
		if !c.in.paused {
			c.in.paused = true
			if c.carried == nil {
				l.driver.Pause(c.token)
			}
		}
		l.crowd.makeRoom(c)
	}
}

// resume goes on receiving where that was paused.
func (c *Conn) resume() {
	if c.in.paused {
		c.in.paused = false
		if c.carried != nil {
			c.carried.by.Resume()
			return
		}
		c.loop.driver.Resume(c.token)
	}
}

// serve hands p, which is the input or newer than it, to the session until it needs
// more, a response takes its time, or others are to have their turn.
func (c *Conn) serve(p []byte, seen int) {
	l, outer := c.loop, c.loop.serving // a Multiplexer's, if that feeds c
	l.serving = c
	most := l.quota(&c.in, c.requests)
	for len(p) > 0 && c.state == connReading && c.requests < most {
		l.Files.BeginRequest()
		n := c.trunk.receive(c, p, seen)
		p, seen = p[n:], 0
		if c.state == connSending && !c.stream.underWay() {
			c.finish(len(p))
			continue
		}
		if n > 0 {
			c.in.seen = false
		} else if c.state == connReading {
			break
		}
	}
	l.serving = outer
	c.keep(p)
	if c.state == connReading && len(p) > 0 && c.requests >= most {
		c.in.queued, c.deadline = true, 0
		l.backlog = append(l.backlog, c)
	} else {
		c.served(len(p))
	}
	c.in.preface = false
}

// runBacklog serves the connections whose requests were too many for an earlier turn. It may
// name one that is free, or used anew.
func (l *Loop) runBacklog() {
	l.resumed, l.backlog = l.backlog, l.resumed[:0]
	for i, c := range l.resumed {
		l.resumed[i] = nil
		if c.in.queued {
			c.in.queued = false
			c.serve(c.in.buf, 0)
		}
	}
}

// served sees to it that the connection goes on, of whose input so many bytes are left.
func (c *Conn) served(left int) {
	l := c.loop
	if c.state != connReading {
		if c.state == connSending {
			c.stream.wake()
		}
		return
	}
	c.resume()
	switch {
	case c.in.ended: // what is left will never be a request
		c.close(false)
	case c.trunk != nil: // its Multiplexer says what it waits for
	case c.in.due != 0:
		c.deadline = c.in.due
	case left == 0:
		if !c.in.preface { // else the time for the first request goes on
			c.deadline = l.now + int64(l.cfg.IdleTimeout)
		}
	case !c.in.seen: // the first bytes of a request
		c.in.seen = true
		if c.requests > 0 || c.deadline == 0 {
			c.deadline = l.now + int64(l.cfg.HeaderTimeout)
		}
	}
}

// keep stores what the session left of p.
func (c *Conn) keep(p []byte) {
	buffers := &c.loop.buffers
	switch {
	case c.state == connFree, c.state >= connLingering:
	case len(p) == 0:
		buffers.put(&c.in.buf)
	case len(c.in.buf) == 0:
		buffers.append(&c.in.buf, p)
	default: // p is the end of the input
		c.in.buf = c.in.buf[:copy(c.in.buf, p)]
	}
}
