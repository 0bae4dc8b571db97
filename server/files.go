package server

import (
	"net/http"
	"syscall"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/httpfile"
)

// version is what the server keeps with one version of an open file.
type version struct {
	place *place
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
		s.plan.Decline(q, s.at.policy)
		s.respondPlan(c, nil)
		return
	}
	if s.at.astray {
		s.failWith(c, http.StatusMisdirectedRequest)
		return
	}
	if s.at.root == nil || s.at.policy.Hidden(q.Path) {
		s.failFile(c, syscall.ENOENT)
		return
	}
	s.lookup(c, s.candidate(0), 0)
}

// candidate returns the key of the i-th file to try: for a directory its index
// files, else the file of the path itself (i is 0 then). nil: there are no more.
func (s *session) candidate(i int) []byte {
	path, p := s.req.Path, s.at
	dir := path[len(path)-1] == '/'
	if !dir && p.key == "" {
		return path
	}
	if dir && i >= len(p.index) {
		return nil
	}
	s.nameBuf = append(append(s.nameBuf[:0], p.key...), path...)
	if dir {
		s.nameBuf = append(s.nameBuf, p.index[i]...)
	}
	return s.nameBuf
}

// lookup finds the i-th candidate in the cache or the file system.
func (s *session) lookup(c *engine.Conn, key []byte, i int) {
	if f := s.loop.Files.Get(key); f != nil {
		s.answer(c, f, key, i)
		return
	}
	k := string(key)
	f, e := s.loop.Files.Open(s.at.root, k, s.at.name(k))
	s.found(c, f, e, k, i)
}

// dirItself is the candidate that a directory is when it has no index.
const dirItself = -1

// found goes on with what opening the i-th candidate gave.
func (s *session) found(c *engine.Conn, f *engine.File, e syscall.Errno, key string, i int) {
	path := s.req.Path
	dir := path[len(path)-1] == '/'
	switch {
	case e == 0:
		s.answer(c, f, []byte(key), i)
	case e == syscall.EAGAIN:
		s.openLater(c, key, i)
	case i == dirItself:
		if e == syscall.EISDIR {
			e = syscall.EACCES
		}
		s.failFile(c, e)
	case e == syscall.EISDIR && !dir:
		s.plan.RedirectDir(&s.req, s.at.policy)
		s.respondPlan(c, nil)
	case dir && (e == syscall.ENOENT || e == syscall.EISDIR):
		if next := s.candidate(i + 1); next != nil {
			s.lookup(c, next, i+1)
			return
		}
		s.failDir(c)
	case e == syscall.ENOENT && s.sites.only == nil && s.leadsBelow():
		s.plan.RedirectDir(&s.req, s.at.policy)
		s.respondPlan(c, nil)
	default:
		s.failFile(c, e)
	}
}

// leadsBelow reports whether the path of the request is that of a location but for
// the slash at its end.
func (s *session) leadsBelow() bool {
	return s.at.site.host(&s.hostBuf, s.head.Host()).below(s.req.Path)
}

// failDir answers for a directory without an index: 403 if there is one, 404
// if there is not.
func (s *session) failDir(c *engine.Conn) {
	if s.at.listing {
		s.list(c)
		return
	}
	// The slash at the end makes a file ENOTDIR: nothing is ever open.
	key := s.at.key + string(s.req.Path)
	f, e := s.loop.Files.Open(s.at.root, key, s.at.name(key))
	s.found(c, f, e, key, dirItself)
}

func (s *session) failFile(c *engine.Conn, e syscall.Errno) {
	s.failWith(c, httpfile.StatusOfErrno(e))
}

// failWith answers with a status, and the connection goes on.
func (s *session) failWith(c *engine.Conn, status int) {
	s.plan.Fail(status, &s.req, s.at.policy)
	s.respondPlan(c, nil)
}

// answer sends an open file, or a sidecar of it. key is what it was found by, as
// the i-th candidate.
func (s *session) answer(c *engine.Conn, f *engine.File, key []byte, i int) {
	v := s.at.version(f, s.at.path(key), httpfile.Identity)
	if s.req.AcceptEncoding != nil && v.facts.Negotiable {
		s.negotiate(c, f, v, key, i)
		return
	}
	s.send(c, f, v)
}

// version returns what is kept with f, which is the file of a path, or its
// sidecar in a coding. What was made for another place (of an earlier
// configuration) is made anew.
func (p *place) version(f *engine.File, path []byte, k httpfile.Coding) *version {
	if v, ok := f.Data.(*version); ok && v.place == p {
		return v
	}
	name := string(path)
	v := &version{place: p, facts: p.policy.MakeFacts(httpfile.File{
		Path: name, Size: f.Size, MtimeNs: f.Mtime,
		Coding: k, Negotiable: p.precompressed && mayBeCoded(name),
	})}
	if p.headers != nil {
		v.extra = p.headers.lines(name)
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
// if it cannot be had: the head changes while the file is young, and it must not
// change while a transfer of it is under way, be it one that began before the
// version was made.
func (s *session) hot(f *engine.File, v *version, now int64) []byte {
	at := httpfile.OKDateOffset
	if v.hot == nil {
		if now < v.facts.SettledAt() || f.InUse() {
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
