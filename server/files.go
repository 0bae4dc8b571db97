package server

import (
	"net/http"
	"syscall"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/httpfile"
)

// version is what the server keeps with one version of an open file.
type version struct {
	facts *httpfile.Facts
	extra []byte           // lines of the header rules; not nil if there are rules
	gone  [numCoding]int64 // monotonic ns: until when a sidecar is believed missing
	// hot is the head of the plain 200 answer followed by the body, in one
	// piece; nil if the body is not in memory or the head still changes.
	hot []byte
}

// file answers a request for a file: s.req is complete.
func (s *session) file(c *engine.Conn) {
	q := &s.req
	if q.Method != httpfile.MethodGet && q.Method != httpfile.MethodHead {
		s.plan.Decline(q, s.srv.policy)
		s.respondPlan(c, nil)
		return
	}
	if s.srv.root == nil || s.srv.policy.Hidden(q.Path) {
		s.failFile(c, syscall.ENOENT)
		return
	}
	s.lookup(c, s.candidate(0), 0)
}

// candidate returns the i-th path to try: for a directory its index files,
// else the path itself (i is 0 then). nil: there are no more.
func (s *session) candidate(i int) []byte {
	path := s.req.Path
	if path[len(path)-1] != '/' {
		return path
	}
	if i >= len(s.srv.cfg.Index) {
		return nil
	}
	s.nameBuf = append(append(s.nameBuf[:0], path...), s.srv.cfg.Index[i]...)
	return s.nameBuf
}

// lookup finds the i-th candidate in the cache or the file system.
func (s *session) lookup(c *engine.Conn, name []byte, i int) {
	if f := s.loop.Files.Get(name); f != nil {
		s.answer(c, f, name, i)
		return
	}
	key := string(name)
	f, e := s.loop.Files.Open(s.srv.root, key, key[1:])
	s.found(c, f, e, key, i)
}

// found goes on with what opening the i-th candidate gave.
func (s *session) found(c *engine.Conn, f *engine.File, e syscall.Errno, key string, i int) {
	path := s.req.Path
	dir := path[len(path)-1] == '/'
	switch {
	case e == 0:
		s.answer(c, f, []byte(key), i)
	case e == syscall.EAGAIN:
		s.openLater(c, key, i)
	case e == syscall.EISDIR && !dir:
		s.plan.RedirectDir(&s.req, s.srv.policy)
		s.respondPlan(c, nil)
	case dir && (e == syscall.ENOENT || e == syscall.EISDIR):
		if name := s.candidate(i + 1); name != nil {
			s.lookup(c, name, i+1)
			return
		}
		s.failDir(c)
	default:
		s.failFile(c, e)
	}
}

// failDir answers for a directory without an index: 403 if there is one, 404
// if there is not.
func (s *session) failDir(c *engine.Conn) {
	if s.srv.cfg.Listing {
		s.list(c)
		return
	}
	name := string(s.req.Path[1:])
	if name == "" {
		name = "."
	}
	// The slash at the end of name makes a file ENOTDIR: nothing is ever open.
	if o := s.srv.root.Open(name, false); o.Err != 0 {
		s.failFile(c, o.Err)
		return
	}
	s.failFile(c, syscall.EACCES)
}

func (s *session) failFile(c *engine.Conn, e syscall.Errno) {
	s.plan.Fail(httpfile.StatusOfErrno(e), &s.req, s.srv.policy)
	s.respondPlan(c, nil)
}

// answer sends an open file, or a sidecar of it. name is the path that it was
// found by, as the i-th candidate.
func (s *session) answer(c *engine.Conn, f *engine.File, name []byte, i int) {
	v := s.version(f, name, httpfile.Identity)
	if s.req.AcceptEncoding != nil && v.facts.Negotiable {
		s.negotiate(c, f, v, name, i)
		return
	}
	s.send(c, f, v)
}

// version returns what is kept with f, which is the file of a path, or its
// sidecar in a coding.
func (s *session) version(f *engine.File, path []byte, k httpfile.Coding) *version {
	if v, ok := f.Data.(*version); ok {
		return v
	}
	name := string(path)
	v := &version{facts: s.srv.policy.MakeFacts(httpfile.File{
		Path: name, Size: f.Size, MtimeNs: f.Mtime,
		Coding: k, Negotiable: s.srv.cfg.Precompressed && mayBeCoded(name),
	})}
	if s.srv.headers != nil {
		v.extra = s.srv.headers.lines(name)
	}
	f.Data = v
	return v
}

// send sends a representation.
func (s *session) send(c *engine.Conn, f *engine.File, v *version) {
	now := s.clock.unix(s.loop.Now())
	if f.Body != nil && s.req.Plain() && !s.req.HTTP10 && !c.Closing() && len(extraOf(c)) == 0 {
		if hot := s.hot(f, v, now); hot != nil {
			s.segs = append(s.segs[:0], engine.Segment{Mem: hot, File: f})
			s.respond(c, http.StatusOK, len(hot)-len(f.Body), nil, s.segs)
			return
		}
	}
	s.plan.Decide(&s.req, v.facts, now, s.entropy())
	s.plan.Extra = v.extra
	s.respondPlan(c, f)
}

// hot returns the rendered answer of a small file with the Date of now, or nil
// if it cannot be had: the head changes while the file is young, and it must
// not change while a transfer of it is under way.
func (s *session) hot(f *engine.File, v *version, now int64) []byte {
	at := httpfile.OKDateOffset
	if v.hot == nil {
		if now < v.facts.SettledAt() {
			return nil
		}
		s.out = v.facts.AppendOK(s.out[:0], s.clock.date[:], now, httpfile.ConnImplied)
		if len(v.extra) > 0 {
			s.out = append(append(s.out[:len(s.out)-len("\r\n")], v.extra...), "\r\n"...)
		}
		hot := f.Headed(len(s.out))
		if hot == nil {
			return nil
		}
		copy(hot, s.out)
		v.hot = hot
		return hot
	}
	if date := v.hot[at : at+httpfile.DateLen]; string(date) != string(s.clock.date[:]) {
		if f.InUse() {
			return nil
		}
		copy(date, s.clock.date[:])
	}
	return v.hot
}

// entropy is what the boundary of a multipart answer is made of. Only a
// request with Range can need it.
func (s *session) entropy() httpfile.Entropy {
	if s.req.Range == nil {
		return httpfile.Entropy{}
	}
	return httpfile.Entropy{s.rand.Uint64(), s.rand.Uint64()}
}
