package http1

import (
	"net/http"
	"syscall"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/record"
	"github.com/fserve/fserve/server/resolve"
	"github.com/fserve/fserve/server/site"
)

// headroom is the memory before a small file's body for its rendered head, in
// bytes. Heads are about 250 bytes; longer ones are sent from elsewhere.
const headroom = 512

// Headroom returns the engine.Config.BodyHeadroom for the responses of a Set, in bytes.
func Headroom(set *site.Set) int { return headroom + set.Room() }

// drive takes the answer at hand from a step to its end, or to where it has to wait.
func (s *Session) drive(c *engine.Conn, step resolve.Step) {
	for {
		switch step {
		case resolve.Open:
			f, e := s.open(&s.answer.Want)
			if e == syscall.EAGAIN && !s.refusing { // else there would be nothing to go on with
				s.openLater(c)
				return
			}
			step = s.opened(f, e)
		case resolve.List:
			if s.listLater(c) {
				return
			}
			step = s.answer.Fail(http.StatusServiceUnavailable)
		case resolve.Send:
			if s.sendHot(c) {
				return
			}
			step = s.answer.Decide(s.clock.unix(s.loop.Now()), s.entropy())
		default:
			s.sendPlan(c)
			return
		}
	}
}

// open finds a file in the cache or the file system; EAGAIN: the disk would have to be
// waited for.
func (s *Session) open(w *resolve.Want) (*engine.File, syscall.Errno) {
	for i := range s.known {
		if o := &s.known[i]; o.key == string(w.Key) {
			return o.file, o.err
		}
	}
	if f := s.loop.Files.Get(w.Key); f != nil {
		return f, 0
	}
	key := string(w.Key)
	return s.loop.Files.Open(w.Place.Root, key, w.Name(key))
}

// opened tells the answer what opening the file gave that it wants. What is kept with
// the file and was made for another place (of an earlier configuration) is made anew.
func (s *Session) opened(f *engine.File, e syscall.Errno) resolve.Step {
	w := &s.answer.Want
	if e != 0 {
		return s.answer.Opened(nil, e)
	}
	v, ok := f.Data.(*version)
	if !ok || v.Place != w.Place {
		v = &version{Version: w.Version(f.Size, f.Mtime)}
		f.Data = v
	}
	s.files[w.Kind] = f
	return s.answer.Opened(&v.Version, 0)
}

// sendHot sends the rendered answer to a plain request for a small file, if it can be
// had.
func (s *Session) sendHot(c *engine.Conn) bool {
	a := &s.answer
	f := s.files[a.Chosen]
	if f.Body == nil || !a.Request.Plain() || a.Request.HTTP10 || c.Closing() || len(a.Fields) > 0 {
		return false
	}
	hot := f.Data.(*version).rendered(f, s)
	if hot == nil {
		return false
	}
	s.segs = append(s.segs[:0], engine.Segment{Mem: hot, File: f})
	s.respond(c, http.StatusOK, len(hot)-len(f.Body), nil)
	return true
}

// entropy is what the boundary of a multipart answer is made of. Only a
// request with Range can need it.
func (s *Session) entropy() httpfile.Entropy {
	if s.answer.Request.Range == nil {
		return httpfile.Entropy{}
	}
	return httpfile.Entropy{s.rand.Uint64(), s.rand.Uint64()}
}

// sendPlan sends what the plan of the answer says.
func (s *Session) sendPlan(c *engine.Conn) {
	a := &s.answer
	p, f := &a.Plan, s.files[a.Chosen]
	s.out = p.AppendHead(s.out[:0], s.clock.date[:], a.Request.Conn(!c.Closing()))
	s.segs = s.segs[:0]
	for _, g := range p.Segments() {
		switch {
		case g.Kind == httpfile.SegmentMemory:
			s.segs = append(s.segs, engine.Segment{Mem: g.Mem})
		case f.Body != nil: // a few small sends cost less by memory than by file
			s.segs = append(s.segs, engine.Segment{Mem: f.Body[g.Off : g.Off+g.N], File: f})
		default:
			s.segs = append(s.segs, engine.Segment{File: f, Off: g.Off, N: g.N})
		}
	}
	if p.Parts > 1 {
		s.take(c).keepParts(s.segs, p.Segments())
	}
	s.respond(c, p.Status, len(s.out), s.out)
}

// respond sends a response with the body in s.segs, and begins its record. headLen is
// the length of the response head, wherever it is.
func (s *Session) respond(c *engine.Conn, status, headLen int, head []byte) {
	s.rec.Count(s.answer.Place.Row, status)
	if s.rec.Logs() {
		s.record(c, status, headLen)
	}
	s.resp.Head, s.resp.Body = head, s.segs
	if s.loop.Shaped() {
		s.shape(c)
	}
	c.Respond(&s.resp)
}

// record keeps what the access log needs of the request at hand.
func (s *Session) record(c *engine.Conn, status, headLen int) {
	x, ok := c.Data.(*exchange)
	if !ok {
		x = s.take(c)
		x.plain = true
	}
	s.rec.Begin(&x.record, &record.Request{
		Head: &s.head, Client: s.clientOf(c), Peer: c.RemoteAddr(), Unix: s.onUnix(c),
		Encrypted: c.Adopted() != nil, Status: status, HeadLen: headLen,
	})
}
