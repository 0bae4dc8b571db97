package loop

import (
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/internal/aio"
)

// maxUnread is how much input a connection may have waiting while a
// response is sent, in bytes, before the loop stops reading from it.
const maxUnread = 64 << 10

// input is what a connection has received and the session has not consumed.
type input struct {
	buf     []byte // of the loop's pools
	seen    bool   // the session has seen buf and found it too little
	preface bool   // what was consumed last was no part of a request
	paused  bool   // the driver was told to Pause
	ended   bool   // the peer has sent its FIN
}

// received handles input, the end of it, or a broken connection.
func (c *Conn) received(e *aio.Event) {
	switch {
	case c.state == connClosing:
	case len(e.Data) > 0:
		c.input(e.Data)
	case e.Err != 0:
		c.loop.stats.Resets++
		c.broken(outcome.PeerGone, true)
	default:
		c.in.ended = true
		// A peer that has sent its requests and FIN still gets the answers.
		if c.state == connReading || c.state == connLingering {
			c.close(false)
		}
	}
}

// input handles received bytes, which are valid in this turn only.
func (c *Conn) input(data []byte) {
	l := c.loop
	l.stats.BytesIn += uint64(len(data))
	switch c.state {
	case connLingering:
		if !l.draining {
			c.deadline = min(l.now+int64(l.cfg.LingerTimeout), c.until)
		}
	case connReading:
		if len(c.in.buf) == 0 {
			c.serve(data, 0)
			return
		}
		seen := 0
		if c.in.seen {
			seen = len(c.in.buf)
		}
		l.buffers.append(&c.in.buf, data)
		c.serve(c.in.buf, seen)
	default:
		l.buffers.append(&c.in.buf, data)
		if len(c.in.buf) > maxUnread && !c.in.paused {
			c.in.paused = true
			l.driver.Pause(c.token)
		}
	}
}

// resume goes on receiving where that was paused.
func (c *Conn) resume() {
	if c.in.paused {
		c.in.paused = false
		c.loop.driver.Resume(c.token)
	}
}

// serve hands p, which is the input or newer than it, to the session until it needs
// more, or a response takes its time.
func (c *Conn) serve(p []byte, seen int) {
	l := c.loop
	l.serving = c
	for len(p) > 0 && c.state == connReading {
		l.Files.BeginRequest()
		n := l.session.Receive(c, p, seen)
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
	l.serving = nil
	c.keep(p)
	c.served(len(p))
	c.in.preface = false
}

// served sees to it that the connection goes on, of whose input so many bytes are left.
func (c *Conn) served(left int) {
	l := c.loop
	switch {
	case c.state == connSending:
		c.stream.wake()
	case c.state != connReading:
	case c.in.ended: // what is left will never be a request
		c.close(false)
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
	case c.state == connClosing, c.state == connFree, c.state == connLingering:
	case len(p) == 0:
		buffers.put(&c.in.buf)
	case len(c.in.buf) == 0:
		buffers.append(&c.in.buf, p)
	default: // p is the end of the input
		c.in.buf = c.in.buf[:copy(c.in.buf, p)]
	}
}
