package engine

// input handles received bytes, which are valid in this turn only.
func (l *Loop) input(c *Conn, data []byte) {
	l.stats.BytesIn += uint64(len(data))
	switch c.state {
	case connLingering:
		if !l.draining {
			c.deadline = min(l.now+l.lingerTimeout, c.lingers)
		}
	case connReading:
		if len(c.in) == 0 {
			l.serve(c, data, 0)
			return
		}
		seen := 0
		if c.seen {
			seen = len(c.in)
		}
		l.buffers.append(&c.in, data)
		l.serve(c, c.in, seen)
	default:
		l.buffers.append(&c.in, data)
		if len(c.in) > maxUnread && !c.paused {
			c.paused = true
			l.driver.Pause(c.token)
		}
	}
}

// serve hands p, which is c.in or newer than it, to the session until it needs
// more, or a response takes its time.
func (l *Loop) serve(c *Conn, p []byte, seen int) {
	l.serving = c
	for len(p) > 0 && c.state == connReading {
		n := l.session.Receive(c, p, seen)
		p, seen = p[n:], 0
		if c.state == connSending && c.out.done {
			l.finish(c, len(p))
			continue
		}
		if n > 0 {
			c.seen = false
		} else if c.state == connReading {
			break
		}
	}
	l.serving = nil
	l.keep(c, p)
	switch {
	case c.state == connSending && !c.out.blocked && !c.out.waiting:
		l.wake(c)
	case c.state != connReading:
	case c.ended: // what is left will never be a request
		l.closeConn(c, false)
	case len(p) == 0:
		if !c.preface { // else the time for the first request goes on
			c.deadline = l.now + l.idleTimeout
		}
	case !c.seen: // the first bytes of a request
		c.seen = true
		if c.requests > 0 || c.deadline == 0 {
			c.deadline = l.now + l.headerTimeout
		}
	}
	c.preface = false
}

// keep stores what the session left of p.
func (l *Loop) keep(c *Conn, p []byte) {
	switch {
	case c.state == connClosing, c.state == connFree, c.state == connLingering:
	case len(p) == 0:
		l.buffers.put(&c.in)
	case len(c.in) == 0:
		l.buffers.append(&c.in, p)
	default: // p is the end of c.in
		c.in = c.in[:copy(c.in, p)]
	}
}

// inputPool pools the buffers of unconsumed input by powers of two, so that
// ten thousand clients that trickle a request hold little more than they sent.
type inputPool struct {
	free [inputClasses][][]byte
}

const (
	inputClasses  = 12
	smallestInput = 32  // bytes; the largest pooled is 64 KiB
	maxPooled     = 256 // buffers of a class
)

func inputClass(n int) int {
	k, size := 0, smallestInput
	for size < n {
		size *= 2
		k++
	}
	return k
}

// append adds data to *buf, which the pool owns.
func (p *inputPool) append(buf *[]byte, data []byte) {
	need := len(*buf) + len(data)
	if need > cap(*buf) {
		grown := p.get(need)
		grown = append(grown, *buf...)
		p.put(buf)
		*buf = grown
	}
	*buf = append(*buf, data...)
}

func (p *inputPool) get(n int) []byte {
	k := inputClass(n)
	if k < inputClasses {
		if f := p.free[k]; len(f) > 0 {
			b := f[len(f)-1]
			p.free[k] = f[:len(f)-1]
			return b
		}
	}
	return make([]byte, 0, smallestInput<<k)
}

// put takes *buf back and clears it.
func (p *inputPool) put(buf *[]byte) {
	b := *buf
	*buf = nil
	if cap(b) < smallestInput {
		return
	}
	k := inputClass(cap(b))
	if k < inputClasses && cap(b) == smallestInput<<k && len(p.free[k]) < maxPooled {
		p.free[k] = append(p.free[k], b[:0])
	}
}
