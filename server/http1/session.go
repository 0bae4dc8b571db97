// Package http1 speaks HTTP/1.1 on the connections of an engine: received bytes become
// requests (package wire), requests become plans (package resolve), and plans become
// responses of memory and file ranges, which the engine sends. Handlers of fasthttp
// answer the paths of their routes.
package http1

import (
	crand "crypto/rand"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/listing"
	"github.com/fserve/fserve/server/record"
	"github.com/fserve/fserve/server/resolve"
	"github.com/fserve/fserve/server/site"
	"github.com/fserve/fserve/server/wire"
)

// Config is what the sessions of a server share. It is not changed while they run.
type Config struct {
	Routes    Routes
	Trust     admit.Trust
	Heads     wire.Limits
	MaxBody   int64  // of bodies that handlers get, in bytes
	MaxDrain  int64  // how much of an unwanted body is read, in bytes
	Proxied   []bool // by listener: a connection begins with a PROXY header; nil: none does
	Listings  *listing.Gate
	Log       *slog.Logger
	AccessLog *record.AccessLog // nil: none
	Rows      *record.Rows      // of the hosts of every Set
}

// Session speaks HTTP/1.1 on one event loop. Its fields are scratch memory of the
// request at hand: views of received bytes that are valid until Receive returns (or,
// for a request that was away, until its step ends). All methods are for the loop's
// goroutine.
type Session struct {
	cfg   *Config
	loop  *engine.Loop
	set   *site.Set // held by the server until all loops have another
	rec   *record.Recorder
	clock clock
	rand  *rand.ChaCha8
	pool  pool

	head   wire.Head
	answer resolve.Answer
	files  [resolve.NumKind]*engine.File // that were opened for it
	known  []opened                      // by a detour, for this step
	// refusing is set while a request that could not be read is answered.
	refusing bool

	resp   engine.Response
	segs   []engine.Segment
	out    []byte // response head
	client []byte // whom a response is counted by
	path   []byte // of a handler's request, encoded
	parser ctxParser
}

// NewSession returns the session of a loop.
func (c *Config) NewSession(l *engine.Loop, set *site.Set) *Session {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	s := &Session{
		cfg: c, loop: l, set: set, rec: record.NewRecorder(c.AccessLog, c.Rows), rand: rand.NewChaCha8(seed),
		out: make([]byte, 0, 1024), path: make([]byte, 0, 1024), segs: make([]engine.Segment, 0, 40),
	}
	s.answer.Place = set.Default()
	return s
}

// Recorder returns what counts the responses.
func (s *Session) Recorder() *record.Recorder { return s.rec }

// Enter makes the session use another Set. What was rendered for files under others is
// dropped, and so are the files of roots that there are not any more.
func (s *Session) Enter(set *site.Set) {
	s.set = set
	s.rec.Resize(s.cfg.Rows)
	s.loop.Files.SetHeadroom(Headroom(set))
	s.loop.Files.Prune(func(key string, f *engine.File) bool {
		f.Data = nil
		return set.HasKey(key)
	})
}

// Receive implements engine.Session.
func (s *Session) Receive(c *engine.Conn, p []byte, seen int) int {
	s.clock.at(s.loop.Now())
	if s.cfg.Proxied != nil && s.awaitsProxyHeader(c) {
		return s.proxyHeader(c, p)
	}
	if x, ok := c.Data.(*exchange); ok && x.body.wants != wantsNothing {
		return s.receiveBody(c, x, p)
	}
	n, r := s.head.Parse(p, seen, s.cfg.Heads)
	if n == 0 {
		if r == wire.OK {
			return 0
		}
		s.refuse(c, r)
		return len(p)
	}
	s.rec.Stats.Requests++
	s.request(c)
	return n
}

// request answers the request in s.head, or has a route answer it.
func (s *Session) request(c *engine.Conn) {
	if !s.head.KeepAlive || s.loop.Draining() {
		c.CloseAfter(false)
	}
	s.begin()
	a := &s.answer
	step := a.Start(s.head.Path())
	if step == resolve.Identify {
		step = a.Admit(s.clientOf(c), s.onUnix(c))
	}
	if step == resolve.Route {
		if r := s.cfg.Routes.find(a.Request.Path); r != nil {
			s.handle(c, r)
			return
		}
		step = a.File()
	}
	s.skipBody(c)
	s.drive(c, step)
}

// begin begins the answer to the request in s.head.
func (s *Session) begin() {
	h, q := &s.head, &s.answer.Request
	*q = httpfile.Request{
		Method: httpfile.ParseMethod(h.Method()), HTTP10: h.Minor == 0,
		Query: h.Query(), AcceptEncoding: h.Get(wire.AcceptEncoding),
	}
	if !h.Unconditional() {
		q.IfMatch, q.IfNoneMatch = h.Get(wire.IfMatch), h.Get(wire.IfNoneMatch)
		q.IfModifiedSince = single(h, wire.IfModifiedSince)
		q.IfUnmodifiedSince = single(h, wire.IfUnmodifiedSince)
		q.IfRange = single(h, wire.IfRange)
		q.Range = single(h, wire.Range)
	}
	s.answer.Begin(s.set, h.Host(), s.loop.Now())
}

func single(h *wire.Head, f wire.Field) []byte { return httpfile.Single(h.Get(f), h.Repeated(f)) }

// refuse answers a request that cannot be understood, and closes: where the
// next one would begin is not known.
func (s *Session) refuse(c *engine.Conn, r wire.Reason) {
	s.rec.Stats.Refused[r]++
	s.answer.Place = s.set.Default() // whose it is may not have been read
	s.fail(c, r.Status())
}

// fail answers the request in s.head, as far as it was read, with a status and
// closes.
func (s *Session) fail(c *engine.Conn, status int) {
	method := httpfile.MethodGet
	if string(s.head.Method()) == http.MethodHead {
		method = httpfile.MethodHead
	}
	c.CloseAfter(true)
	s.refusing = true
	s.drive(c, s.answer.Refuse(status, method))
	s.refusing = false
}

// Timeout implements engine.Session: the request did not arrive in time.
func (s *Session) Timeout(c *engine.Conn) {
	if s.awaitsProxyHeader(c) {
		return // there is nobody to answer
	}
	s.clock.at(s.loop.Now())
	s.head = wire.Head{}
	s.answer.Place = s.set.Default()
	if x, ok := c.Data.(*exchange); ok && x.body.wants == wantsHandler {
		s.resume(x) // it is the body that is late
	}
	s.fail(c, http.StatusRequestTimeout)
}

// Sent implements engine.Session.
func (s *Session) Sent(c *engine.Conn, o *engine.Outcome) {
	if o.End == engine.FileChanged || o.End == engine.FileFailed {
		s.cfg.Log.Warn("response cut off", "reason", o.End.String(), // once for each response
			"client", c.RemoteAddr().String(), "bytes", o.Total())
	}
	x, ok := c.Data.(*exchange)
	if !ok {
		s.rec.End(nil, o, 0)
		return
	}
	s.clock.at(s.loop.Now())
	s.rec.End(&x.record, o, s.clock.unix(s.loop.Now()))
	if x.plain {
		s.pool.putPlain(c, x)
	} else if x.body.wants == wantsNothing {
		s.pool.put(c, x)
	}
}

// Closed implements engine.Session.
func (s *Session) Closed(c *engine.Conn) {
	x, ok := c.Data.(*exchange)
	switch {
	case !ok:
	case x.away():
		x.conn = nil // the detour pools it
		c.Data = nil
	default:
		s.pool.put(c, x)
	}
}

// clientOf returns the address of the client of the request in s.head.
func (s *Session) clientOf(c *engine.Conn) netip.Addr {
	t := &s.cfg.Trust
	peer := c.RemoteAddr().Addr()
	if !t.Any() {
		return peer
	}
	return t.Client(peer, s.onUnix(c), s.head.Get(wire.Forwarded), s.head.Get(wire.XForwardedFor))
}

// onUnix reports whether a connection was accepted by a Unix socket.
func (s *Session) onUnix(c *engine.Conn) bool {
	i := c.Listener()
	return i >= 0 && s.loop.Addr(i).Network() == "unix"
}
