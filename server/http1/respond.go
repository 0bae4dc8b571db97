package http1

import (
	"net"
	"net/http"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/peer"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/record"
	"github.com/fserve/fserve/server/resolve"
	"github.com/fserve/fserve/server/wire"
)

// sendHot sends the rendered answer to a plain request for a small file, if it can be
// had.
func (s *Session) sendHot(c *loop.Conn) bool {
	a := &s.answer
	f := s.files[a.Chosen]
	if f == nil || f.Content() == nil || !a.Request.Plain() || a.Request.HTTP10 || c.Closing() || len(a.Fields) > 0 || a.Secure() != nil ||
		s.caller != nil && s.caller.FileName != nil {
		return false
	}
	hot := f.Data.(*version).rendered(f, s)
	if hot == nil {
		return false
	}
	s.segs = append(s.segs[:0], loop.Segment{Mem: hot, File: f})
	s.respond(c, http.StatusOK, len(hot)-int(f.Size), nil)
	return true
}

// sendPlan sends what the plan of the answer says.
func (s *Session) sendPlan(c *loop.Conn) {
	a := &s.answer
	p, f := &a.Plan, s.files[a.Chosen]
	var content []byte
	if f != nil {
		content = f.Content()
	} else if a.Chosen == resolve.Made {
		content = a.Body.Bytes()
		if p.Status == httpfile.StatusOK {
			s.rec.Stats.Compressed++
		}
	}
	if s.caller != nil && s.caller.FileName != nil {
		p.SaveAs(string(s.caller.FileName))
	}
	s.out = p.AppendHead(s.out[:0], s.clock.date[:], a.Request.Conn(!c.Closing()))
	s.segs = s.segs[:0]
	for _, g := range p.Segments() {
		switch {
		case g.Kind == httpfile.SegmentMemory:
			s.segs = append(s.segs, loop.Segment{Mem: g.Mem})
		case content != nil: // a few small sends cost less by memory than by file
			s.segs = append(s.segs, loop.Segment{Mem: content[g.Off : g.Off+g.N], File: f})
		default:
			s.segs = append(s.segs, loop.Segment{File: f, Off: g.Off, N: g.N})
		}
	}
	if p.Parts > 1 {
		s.exchangeOf(c).keepParts(s.segs, p.Segments())
	}
	s.respond(c, p.Status, len(s.out), s.out)
}

// entropy is what the boundary of a multipart answer is made of. Only a
// request with Range can need it.
func (s *Session) entropy() httpfile.Entropy {
	if s.answer.Request.Range == nil {
		return httpfile.Entropy{}
	}
	return httpfile.Entropy{s.rand.Uint64(), s.rand.Uint64()}
}

// respond sends a response with the body in s.segs, and begins its record. headLen is
// the length of the response head, wherever it is.
func (s *Session) respond(c *loop.Conn, status, headLen int, head []byte) {
	if !loop.Replanned(c) { // else it was counted by what it was to be
		s.rec.Count(s.answer.Place.Row, status)
		if s.caller != nil {
			s.caller.Count()
		}
	}
	if log := &s.answer.Place.Logging; s.rec.Wants(log, status) {
		s.record(c, log.Log, status, headLen)
	}
	if p := s.answer.Place; p.Release != nil && !p.Chooses() {
		s.rec.CountVersion(&recordOf(s, c).record, p.Release.State, p.At, status)
	}
	s.resp.Head, s.resp.Body, s.resp.Request = head, s.segs, nil
	if status < http.StatusBadRequest { // what has led to an error is not judged twice
		s.resp.Request = s.head.Raw()
	}
	if s.loop.Shaped() {
		s.shape(c)
	}
	(*entry)(s).count(c)
	c.Respond(&s.resp)
}

// recordOf returns the connection's exchange, for a record: one with nothing else if it has none.
func recordOf(s *Session, c *loop.Conn) *exchange {
	x, ok := c.Data.(*exchange)
	if !ok {
		x = s.exchangeOf(c)
		x.plain = true
	}
	return x
}

// record keeps what the access log needs of the request at hand.
func (s *Session) record(c *loop.Conn, log *record.AccessLog, status, headLen int) {
	x := recordOf(s, c)
	var user []byte
	if s.answer.Place.Users != nil && s.credentials.Read(s.head.Get(wire.Authorization)) {
		user = s.credentials.User
		defer s.credentials.Forget()
	}
	tier := ""
	if s.caller != nil {
		if tier = s.caller.Tier(); user == nil {
			user = s.caller.User
		}
	}
	release := ""
	if p := s.answer.Place; p.Version.Name != "" {
		release = p.Release.Name
	}
	s.rec.Begin(&x.record, log, &record.Request{
		Release: release, Version: s.answer.Place.Version.Name,
		Head: &s.head, Client: s.clientOf(c), User: user, Tier: tier, Secret: s.set.Methods().Token(s.head.Query()), Peer: c.RemoteAddr(), Unix: c.OnUnix(),
		Encrypted: c.Adopted() != nil, HTTP2: ByHTTP2(c), Status: status, HeadLen: headLen, Port: s.cfg.portOf(c),
	})
}

// ByHTTP2 reports whether a connection is a stream of HTTP/2 to its client.
func ByHTTP2(c *loop.Conn) bool {
	_, ok := c.Adopted().(interface{ HTTP2() uint64 })
	return ok
}

// portOf returns the port of the listener that has accepted a connection; 0: it has none.
func (c *Config) portOf(conn *loop.Conn) uint16 {
	if a, ok := conn.Adopted().(interface{ LocalAddr() net.Addr }); ok {
		if tcp, ok := a.LocalAddr().(*net.TCPAddr); ok {
			return uint16(tcp.Port)
		}
		return 0
	}
	if ports := c.Ports.Load(); ports != nil && conn.Listener() >= 0 && conn.Listener() < len(*ports) {
		return (*ports)[conn.Listener()]
	}
	return 0
}

// shape says whose the response in s.resp is: of which client and path class.
func (s *Session) shape(c *loop.Conn) {
	r := &s.resp
	path := s.answer.Request.Path
	if class := s.answer.Place.Class; class != nil {
		path = class
	}
	r.Class = s.loop.Limits().Class(path)
	r.Client, r.Limit, r.ClientLimit, r.Group = nil, shape.Limit{}, nil, ""
	if s.cfg.Trust.Any() {
		s.whose = peer.AppendClient(s.whose[:0], s.clientOf(c), c.OnUnix())
		r.Client = s.whose
	}
	if who := s.caller; who != nil {
		if len(who.User) > 0 {
			r.Client = who.User
		}
		r.ClientLimit, r.Group = who.Limit(), who.Tier()
	}
	x, ok := c.Data.(*exchange)
	if !ok || x.call.route == nil || x.call.ctx == nil || x.call.timedOut() != nil {
		return
	}
	if id, ok := x.call.ctx.UserValue(clientKey{}).(string); ok {
		r.Client = append(s.whose[:0], id...)
	}
	if l, ok := x.call.ctx.UserValue(limitKey{}).(shape.Limit); ok {
		r.Limit = l
	}
}
