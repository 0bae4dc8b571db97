// Package http1 speaks HTTP/1.1 on the connections of an engine: received bytes become
// requests (package wire), requests become plans (package resolve), and plans become
// responses of memory and file ranges, which the engine sends. Handlers of fasthttp
// answer the paths of their routes.
package http1

import (
	crand "crypto/rand"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/internal/free"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/auth"
	"github.com/fserve/fserve/server/breaker"
	"github.com/fserve/fserve/server/compress"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/listing"
	"github.com/fserve/fserve/server/quota"
	"github.com/fserve/fserve/server/record"
	"github.com/fserve/fserve/server/release"
	"github.com/fserve/fserve/server/resolve"
	"github.com/fserve/fserve/server/site"
	"github.com/fserve/fserve/server/wire"
)

// Config is what the sessions of a server share. It is not changed while they run.
type Config struct {
	Routes Routes
	Trust  admit.Trust
	// Admission bounds what clients ask for.
	Admission *admit.Control
	// Quotas count what users have had.
	Quotas *quota.Book
	// Breaker refuses requests of a server that has too much to do.
	Breaker *breaker.Breaker
	Heads   wire.Limits
	MaxBody int64 // of bodies that handlers get, in bytes
	// BodyTimeout is how long a body may take to arrive, beyond a second for each 8 KiB.
	BodyTimeout time.Duration
	MaxDrain    int64         // how much of an unwanted body is read, in bytes
	Patience    time.Duration // for files to be opened and listings to be made; then 503
	Proxied     []bool        // by listener: a connection begins with a PROXY header; nil: none does
	Plain       int           // listeners that do not speak TLS: to a Set they come first
	Listings    *listing.Cache
	Forms       *compress.Cache
	Log         *slog.Logger
	Faults      *record.Faults
	Rows        *record.Rows              // of the hosts of every Set
	Ports       *atomic.Pointer[[]uint16] // of the listeners, once they are bound
	Passwords   *auth.Checker
}

// Session speaks HTTP/1.1 on one event loop. Its fields are scratch memory of the
// request at hand: views of received bytes that are valid until Receive returns (or,
// for a request that was away, until its step ends). All methods are for the loop's
// goroutine.
type Session struct {
	cfg   *Config
	loop  *loop.Loop
	set   *site.Set // retained by the server until all loops have another
	rec   *record.Recorder
	clock clock
	rand  *rand.ChaCha8
	pool  free.List[exchange] // those that are not in use

	credentials auth.Credentials // of the request at hand, until its verdict is found
	users       *auth.Users      // that it is one of, or not
	verdicts    auth.Verdicts
	caller      *auth.Caller    // of the request at hand; nil: nobody was asked for
	own         auth.Caller     // memory of caller
	asked       auth.Asked      // for it
	asks        release.Request // likewise
	ask         admit.Ask       // for it
	charged     bool            // the rate of its client has counted it
	borne       bool            // the breaker has let it in
	tiered      bool            // who proves nothing may be of a tier, too

	head   wire.Head
	client client // of the request in head
	answer resolve.Answer
	files  [resolve.NumKind]*openfile.File // that were opened for it
	known  []opened                        // by a detour, for this step
	landed *compressing                    // by a detour, for this step; nil: none
	queued map[*queueing]struct{}          // requests that wait for their turn
	// refusing is set while a request that could not be read is answered.
	refusing bool

	resp     loop.Response
	segs     []loop.Segment
	out      []byte // response head
	whose    []byte // whom a response is counted by
	standing []byte // lines that tell a client how it stands
	named    []byte // what accounts of quotas are called
	path     []byte // of a handler's request, encoded
	parser   ctxParser
}

// NewSession returns the session of a loop.
func (c *Config) NewSession(l *loop.Loop, set *site.Set) *Session {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	s := &Session{
		cfg: c, loop: l, set: set, rec: record.NewRecorder(c.Rows), rand: rand.NewChaCha8(seed),
		queued: make(map[*queueing]struct{}), out: make([]byte, 0, 1024), path: make([]byte, 0, 1024), segs: make([]loop.Segment, 0, 40),
	}
	s.tiered = set.Methods().Tiered()
	s.answer.Place = set.Default(nowhere)
	return s
}

// Recorder returns what counts the responses.
func (s *Session) Recorder() *record.Recorder { return s.rec }

// headroom is the memory before a small file's body for its rendered head, in
// bytes. Heads are about 250 bytes; longer ones are sent from elsewhere.
const headroom = 512

// Headroom returns the engine.Config.BodyHeadroom for the responses of a Set, in bytes.
func Headroom(set *site.Set) int { return headroom + set.Room() }

// Enter makes the session use another Set. What was rendered for files under others is
// dropped, and so are the files of roots that there are not any more.
func (s *Session) Enter(set *site.Set) {
	s.set, s.tiered = set, set.Methods().Tiered()
	s.rec.Resize(s.cfg.Rows)
	s.loop.Files.SetHeadroom(Headroom(set))
	s.loop.Files.Prune(func(key string, f *openfile.File) bool {
		f.Data = nil
		return set.HasKey(key)
	})
}

// begin begins the answer to the request in s.head.
func (s *Session) begin(c *loop.Conn) {
	h, q := &s.head, &s.answer.Request
	*q = httpfile.Request{
		Method: httpfile.ParseMethod(h.Method()), HTTP10: h.Minor == 0,
		Query: h.Query(), AcceptEncoding: h.Get(wire.AcceptEncoding), Accept: h.Get(wire.Accept),
	}
	s.answer.Encrypted, s.answer.At = c.Adopted() != nil, s.cfg.listener(s.set, c)
	if !h.Unconditional() {
		q.IfMatch, q.IfNoneMatch = h.Get(wire.IfMatch), h.Get(wire.IfNoneMatch)
		q.IfModifiedSince = single(h, wire.IfModifiedSince)
		q.IfUnmodifiedSince = single(h, wire.IfUnmodifiedSince)
		q.IfRange = single(h, wire.IfRange)
		q.Range = single(h, wire.Range)
	}
	s.answer.Begin(s.set, h.Host(), s.loop.Now())
}

// nowhere is the listener of which nothing is known.
const nowhere = -1

// listener returns that of a connection for a Set.
func (c *Config) listener(set *site.Set, conn *loop.Conn) int {
	if !set.Bound() {
		return nowhere
	}
	if l, ok := conn.Adopted().(interface{ Listener() int }); ok {
		return c.Plain + l.Listener()
	}
	return conn.Listener()
}

func single(h *wire.Head, f wire.Field) []byte { return httpfile.Single(h.Get(f), h.Repeated(f)) }

// client is the address of a request's client, which is found once.
type client struct {
	addr  netip.Addr
	found bool
}

// parse reads a head into s.head.
func (s *Session) parse(p []byte, seen int) (n int, r wire.Reason) {
	s.client.found, s.caller, s.charged, s.borne = false, nil, false, false
	return s.head.Parse(p, seen, s.cfg.Heads)
}

// clientOf returns the address of the client of the request in s.head.
func (s *Session) clientOf(c *loop.Conn) netip.Addr {
	t := &s.cfg.Trust
	peer := c.RemoteAddr().Addr()
	if !t.Any() {
		return peer
	}
	if !s.client.found {
		s.client = client{t.Client(peer, c.OnUnix(), s.head.Get(wire.Forwarded), s.head.Get(wire.XForwardedFor), single(&s.head, wire.XRealIP)), true}
	}
	return s.client.addr
}

// opened is what opening a file has given.
type opened struct {
	key  string
	file *openfile.File
	err  syscall.Errno
}
