package server

import (
	crand "crypto/rand"
	"math/rand/v2"
	"net/http"
	"net/netip"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/wire"
)

// session speaks HTTP/1.1 on one event loop. Its fields below are scratch
// memory of the request at hand: views of received bytes that are valid until
// Receive returns (or, for a request that had to wait, until its step ends).
type session struct {
	srv   *Server
	loop  *engine.Loop
	clock clock
	rand  *rand.ChaCha8
	log   *logBuffer // nil: no access log
	stats SessionStats
	sites *sites // see there who holds them

	responses responseCounts

	head      wire.Head
	at        *place // of the request at hand
	req       httpfile.Request
	plan      httpfile.Plan
	resp      engine.Response
	segs      []engine.Segment
	out       []byte // response head
	pathBuf   []byte
	nameBuf   []byte
	clientBuf []byte // whom a response is counted by
	sideBuf   []byte // keys of sidecars and error pages
	hostBuf   []byte // name of the host
	// refusing is set while a request that could not be read is answered.
	refusing bool
	listings int // under way
	parser   ctxParser
	free     *exchange
}

func (s *Server) newSession(l *engine.Loop) engine.Session {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	x := &session{
		srv: s, loop: l, sites: s.sites, at: s.sites.base.whole, rand: rand.NewChaCha8(seed),
		out: make([]byte, 0, 1024), pathBuf: make([]byte, 0, 1024), nameBuf: make([]byte, 0, 1024),
		segs: make([]engine.Segment, 0, 40),
	}
	x.responses.resize(&s.hostRows)
	s.sessions.add(l, x)
	if s.cfg.AccessLog != nil {
		x.log = s.cfg.AccessLog.newBuffer()
	}
	return x
}

// Receive implements engine.Session.
func (s *session) Receive(c *engine.Conn, p []byte, seen int) int {
	s.clock.at(s.loop.Now())
	if s.srv.proxied != nil && s.awaitsProxyHeader(c) {
		return s.proxyHeader(c, p)
	}
	if x, ok := c.Data.(*exchange); ok && x.wants != wantsNothing {
		return s.body(c, x, p)
	}
	n, r := s.head.Parse(p, seen, s.srv.cfg.RequestLimits)
	if n == 0 {
		if r == wire.OK {
			return 0
		}
		s.refuse(c, r)
		return len(p)
	}
	s.stats.Requests++
	s.request(c)
	return n
}

// request routes the request in s.head.
func (s *session) request(c *engine.Conn) {
	h := &s.head
	if !h.KeepAlive || s.loop.Draining() {
		c.CloseAfter(false)
	}
	s.readRequest()
	if h.Form == wire.AsteriskForm || h.Form == wire.AuthorityForm {
		s.locate(nil)
		s.plan.Decline(&s.req, s.at.policy)
		s.skipBody(c)
		s.respondPlan(c, nil)
		return
	}
	path, err := httpfile.NormalizePath(s.pathBuf, h.Path())
	if err != nil {
		s.locate(nil)
		s.plan.Fail(http.StatusBadRequest, &s.req, s.at.policy)
		s.skipBody(c)
		s.respondPlan(c, nil)
		return
	}
	s.req.Path = path
	s.locate(path)
	if s.at.access != nil && !s.at.access.Allows(s.client(c), s.onUnix(c)) {
		s.skipBody(c)
		s.failWith(c, http.StatusForbidden)
		return
	}
	if len(s.srv.routes) > 0 {
		if r := s.srv.route(path); r != nil {
			s.handle(c, r)
			return
		}
	}
	if h.HasBody() {
		s.skipBody(c)
	}
	s.file(c)
}

// locate finds the place of the request in s.head, for a normalised path; nil:
// that of its host.
func (s *session) locate(path []byte) {
	if s.sites.only != nil {
		s.goTo(s.sites.only)
		return
	}
	s.goTo(s.sites.find(&s.hostBuf, s.head.Host(), path))
}

// goTo makes p the place of the request at hand.
func (s *session) goTo(p *place) {
	s.at = p
	s.req.AcceptEncoding = nil
	if p.precompressed {
		s.req.AcceptEncoding = s.head.Get(wire.AcceptEncoding)
	}
}

// readRequest fills s.req from s.head, all but the path and what depends on the
// place.
func (s *session) readRequest() {
	h, q := &s.head, &s.req
	*q = httpfile.Request{
		Method: httpfile.ParseMethod(h.Method()), HTTP10: h.Minor == 0,
		Query: h.Query(),
	}
	if h.Unconditional() {
		return
	}
	q.IfMatch, q.IfNoneMatch = h.Get(wire.IfMatch), h.Get(wire.IfNoneMatch)
	q.IfModifiedSince = single(h, wire.IfModifiedSince)
	q.IfUnmodifiedSince = single(h, wire.IfUnmodifiedSince)
	q.IfRange = single(h, wire.IfRange)
	q.Range = single(h, wire.Range)
}

func single(h *wire.Head, f wire.Field) []byte { return httpfile.Single(h.Get(f), h.Repeated(f)) }

// refuse answers a request that cannot be understood, and closes: where the
// next one would begin is not known.
func (s *session) refuse(c *engine.Conn, r wire.Reason) {
	s.stats.Refused[r]++
	s.at = s.sites.base.whole // whose it is may not have been read
	s.fail(c, r.Status())
}

// fail answers the request in s.head, as far as it was read, with a status and
// closes.
func (s *session) fail(c *engine.Conn, status int) {
	s.req = httpfile.Request{Method: httpfile.MethodGet}
	if string(s.head.Method()) == http.MethodHead {
		s.req.Method = httpfile.MethodHead
	}
	s.plan.Fail(status, &s.req, s.at.policy)
	c.CloseAfter(true)
	s.refusing = true
	s.respondPlan(c, nil)
	s.refusing = false
}

// Timeout implements engine.Session: the request did not arrive in time.
func (s *session) Timeout(c *engine.Conn) {
	if s.awaitsProxyHeader(c) {
		return // there is nobody to answer
	}
	s.clock.at(s.loop.Now())
	s.head = wire.Head{}
	s.at = s.sites.base.whole
	if x, ok := c.Data.(*exchange); ok && x.wants == wantsHandler {
		s.resume(x, nil) // it is the body that is late
	}
	s.fail(c, http.StatusRequestTimeout)
}

// Sent implements engine.Session.
func (s *session) Sent(c *engine.Conn, o *engine.Outcome) {
	x, ok := c.Data.(*exchange)
	if o.End == engine.FileChanged || o.End == engine.FileFailed {
		s.reportBroken(c, o)
	}
	if !ok {
		s.stats.measure(o, 0)
		return
	}
	s.stats.measure(o, o.Start-x.began)
	if x.logged {
		s.clock.at(s.loop.Now())
		s.log.finish(x, o, s.clock.unix(s.loop.Now()))
		x.logged = false
	}
	switch {
	case x.plain:
		s.putPlain(c, x)
	case x.wants == wantsNothing:
		s.put(c, x)
	}
}

// reportBroken logs a file that could not be sent whole, once for each response.
func (s *session) reportBroken(c *engine.Conn, o *engine.Outcome) {
	s.srv.cfg.Log.Warn("response cut off", "reason", o.End.String(),
		"client", c.RemoteAddr().String(), "bytes", o.Total())
}

// Closed implements engine.Session.
func (s *session) Closed(c *engine.Conn) {
	if x, ok := c.Data.(*exchange); ok {
		if x.running {
			x.conn = nil // the task puts it back
			c.Data = nil
			return
		}
		s.put(c, x)
	}
}

// respondPlan sends what s.plan says, with f as the file of its segments. A
// failure gets the page of the configuration.
func (s *session) respondPlan(c *engine.Conn, f *engine.File) {
	if s.plan.Status >= http.StatusBadRequest && s.at.pages != nil {
		page, later := s.page(c)
		if later {
			return
		}
		f = page // a planned failure sends nothing of f
	}
	s.sendPlan(c, f)
}

// sendPlan is respondPlan when the plan has its page.
func (s *session) sendPlan(c *engine.Conn, f *engine.File) {
	p := &s.plan
	p.Extra = s.extra(c, p.Extra)
	conn := s.req.Conn(!c.Closing())
	s.out = p.AppendHead(s.out[:0], s.clock.date[:], conn)
	s.segs = s.segs[:0]
	for _, g := range p.Segments() {
		if g.Kind == httpfile.SegmentMemory {
			s.segs = append(s.segs, engine.Segment{Mem: g.Mem})
		} else {
			s.segs = append(s.segs, engine.Segment{File: f, Off: g.Off, N: g.N})
		}
	}
	s.fromBody(f)
	if p.Parts > 1 {
		s.keepParts(c, p.Segments())
	}
	s.respond(c, p.Status, len(s.out), s.out, s.segs)
}

// keepParts moves the part headers of a multipart answer, which s.segs still
// has in the plan's memory, to memory of the connection's own: the plan is used
// again before they are sent.
func (s *session) keepParts(c *engine.Conn, plan []httpfile.Segment) {
	x := s.take(c)
	x.parts = x.parts[:0]
	for _, g := range plan {
		x.parts = append(x.parts, g.Mem...)
	}
	rest := x.parts
	for i, g := range plan {
		if g.Kind == httpfile.SegmentMemory {
			s.segs[i].Mem, rest = rest[:len(g.Mem):len(g.Mem)], rest[len(g.Mem):]
		}
	}
}

// respond sends a response and starts its line in the access log. headLen is
// the length of the response head, wherever it is.
func (s *session) respond(c *engine.Conn, status, headLen int, head []byte, body []engine.Segment) {
	s.responses[s.at.row][status/100]++
	if s.log != nil {
		s.startLog(c, status, headLen)
	}
	s.resp.Head, s.resp.Body = head, body
	if s.loop.Shaped() {
		s.shape(c)
	}
	c.Respond(&s.resp)
}

// fromBody replaces file segments by the file's bytes in memory, if they are
// there: a few small sends cost less by memory than by file.
func (s *session) fromBody(f *engine.File) {
	if f == nil || f.Body == nil {
		return
	}
	for i := range s.segs {
		if g := &s.segs[i]; g.File != nil {
			g.Mem = f.Body[g.Off : g.Off+g.N]
		}
	}
}

// client returns the address of the client of the request in s.head.
func (s *session) client(c *engine.Conn) netip.Addr {
	t := &s.srv.cfg.Trust
	peer := c.RemoteAddr().Addr()
	if !t.Any() {
		return peer
	}
	return t.Client(peer, s.onUnix(c), s.head.Get(wire.Forwarded), s.head.Get(wire.XForwardedFor))
}

// onUnix reports whether a connection was accepted by a Unix socket.
func (s *session) onUnix(c *engine.Conn) bool {
	i := c.Listener()
	return i >= 0 && s.loop.Addr(i).Network() == "unix"
}
