package loop

import (
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/outcome"
)

// gather sends a response of small parts at once from memory: a short range, or
// a multipart answer of short ranges. Its files are looked at after they were
// read and before anything is sent, so that the peer never gets a part of a
// changed file. It reports false if the response must be sent in parts: it is
// not in the page cache, or there are tokens for some of it only.
func (s *Stream) gather() bool {
	c := s.conn
	if s.flow != nil && s.grant < s.left {
		if s.grant <= 0 && !s.take() {
			return true
		}
		if s.grant < s.left {
			s.small = false
			return false
		}
	}
	p, changed := s.readParts()
	if changed {
		(*waiter)(s).changed()
		return true
	}
	if p == nil {
		s.small = false
		return false
	}
	c.cork(false)
	sent := send(c, p, nil, c.Closing())
	c.told(c.Closing(), sent.N)
	s.parts.skip(sent.N)
	switch {
	case !s.account(sent):
	case s.left > 0: // a driver may send less than it could
		s.wake()
	case c.sealed.owesEnd():
		s.small = false
		s.wake()
	default:
		s.end(outcome.Complete)
	}
	return true
}

// readParts returns all that is left of the response, nil if some of it is not in memory.
func (s *Stream) readParts() (p []byte, changed bool) {
	l := s.conn.loop
	if l.gathered == nil {
		l.gathered = make([]byte, gatherBytes)
	}
	p = l.gathered[:0]
	list := s.parts.list
	for i := range list {
		g := &list[i]
		if g.inMemory() {
			p = append(p, g.Mem...)
			continue
		}
		if g.File.Remote() {
			return nil, false
		}
		at := len(p)
		p = p[:at+int(g.N)]
		if n, e := l.driver.ReadAt(g.File.Lent(), p[at:], g.Off); e != 0 || int64(n) < g.N {
			return nil, false
		}
	}
	var asked *openfile.File
	for i := range list {
		if f := list[i].File; f != nil && f != asked && !list[i].inMemory() {
			if !f.Unchanged(l.driver) {
				return nil, true
			}
			asked = f
		}
	}
	return p, false
}

// skip takes n bytes that were sent off the front.
func (p *parts) skip(n int64) {
	for p.left -= n; n > 0; {
		s := &p.list[p.next]
		k := min(n, s.left())
		s.skip(k)
		if n -= k; s.left() == 0 {
			p.next++
		}
	}
}
