// Package server is fserve's HTTP/1.1 origin: it turns requests into responses
// made of memory and file ranges, which the engine sends.
//
// Requests for files are read by package wire, decided by package httpfile and
// answered on the event loop. Other routes are fasthttp handlers.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/wire"
)

// Config configures a Server. Only Root (or Hosts or Routes) and Listen are needed.
type Config struct {
	// Site answers the requests that no Host is for.
	Site
	// Locations are parts of the Site that are answered otherwise.
	Locations []Location
	// Hosts are found by the name that a request is for.
	Hosts []Host

	// Routes are handlers by path prefix, of all hosts; the longest prefix wins over
	// shorter ones and over files.
	Routes []Route

	// Listen are TCP addresses, host:port, or Unix sockets, unix:/path.
	Listen []string
	// TLS adds listeners that speak TLS.
	TLS TLS
	// ProxyProtocol are those of the addresses above, written as there, whose
	// connections must begin with a PROXY header (version 1 or 2).
	ProxyProtocol []string
	// Trust says which proxies are believed about the client: the fields of
	// requests, and if anybody is trusted the PROXY headers.
	Trust Trust

	// Limits bound request heads. Default: 16 KiB, a target of 8 KiB, 100 fields.
	Limits wire.Limits
	// MaxBody bounds the bodies that handlers get, in bytes. Default 4 MiB.
	MaxBody int64
	// MaxDrain is how much of an unwanted body is read so that the connection
	// can be kept, in bytes. Default 64 KiB.
	MaxDrain int64

	// AccessLog gets a line for each response; nil: none.
	AccessLog *AccessLog
	// Log is for what an operator should know. Default: slog.Default.
	Log *slog.Logger

	// Engine has the rest: loops, driver, timeouts, caches. Its Listeners and
	// NewSession are set by the Server. Inherit may have addresses of TLS.Listen,
	// too; they are the Server's from the call of New on.
	Engine engine.Config
}

// Route is a handler for the paths that begin with Prefix.
type Route struct {
	Prefix string
	// Handler answers. Unless Blocking is set it runs on an event loop and must
	// not block: everything else waits meanwhile. It may call ServeFile. The
	// RequestCtx must not be kept. A body stream is read to its end, into
	// memory, before the response begins; Hijack does nothing.
	Handler fasthttp.RequestHandler
	// Blocking runs the handler on a goroutine.
	Blocking bool
}

// Server is a running origin. Its methods are safe for concurrent use.
type Server struct {
	cfg    Config
	engine *engine.Engine
	routes []Route   // longest prefix first
	tls    *tlsFront // nil: no TLS listeners
	// proxied tells by index of Config.Listen who expects a PROXY header; nil: nobody.
	proxied  []bool
	sessions sessionSet

	listings listingSlots

	roots     rootSet
	swapping  sync.Mutex // guards what follows
	sites     *sites     // nil: closed
	nextSpace uint64     // see compiler.space
	hostRows  hostRows
}

// headroom is the memory before a small file's body for its rendered head, in
// bytes. Heads are about 250 bytes; longer ones are sent from elsewhere.
const headroom = 512

// New opens the root, binds the listeners and serves.
func New(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg}
	if err := s.prepare(); err != nil {
		cfg.Engine.Inherit.Close()
		return nil, err
	}
	e := cfg.Engine
	var forTLS engine.Sockets
	forTLS, e.Inherit = listen.Divide(e.Inherit, cfg.TLS.Listen)
	e.Listeners = cfg.Listen
	e.BodyHeadroom = headroom + s.sites.room
	e.NewSession = s.newSession
	var err error
	if s.engine, err = engine.New(e); err != nil {
		forTLS.Close()
		s.closeSites()
		return nil, err
	}
	if err := s.startTLS(forTLS); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if !e.Paused {
		s.tls.begin()
	}
	return s, nil
}

// ErrConfig is wrapped by errors of New that are faults of the Config.
var ErrConfig = errors.New("bad configuration")

func (s *Server) prepare() (err error) {
	c := &s.cfg
	if c.MaxBody == 0 {
		c.MaxBody = 4 << 20
	}
	if c.MaxDrain == 0 {
		c.MaxDrain = 64 << 10
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Limits = c.Limits.WithDefaults()
	for _, r := range c.Routes {
		if !strings.HasPrefix(r.Prefix, "/") || r.Handler == nil {
			return fmt.Errorf("%w: route %q needs a handler and a prefix that begins with /", ErrConfig, r.Prefix)
		}
	}
	if err := s.prepareProxied(); err != nil {
		return err
	}
	s.routes = append(s.routes, c.Routes...)
	sort.SliceStable(s.routes, func(i, j int) bool { return len(s.routes[i].Prefix) > len(s.routes[j].Prefix) })
	if !c.hasContent() {
		return errNoContent
	}
	s.listings = make(listingSlots, maxListings)
	s.sites, err = s.compile(c, nil)
	return err
}

// errNoContent is of a Config that nothing could be answered with.
var errNoContent = fmt.Errorf("%w: neither a root nor a route", ErrConfig)

func (c *Config) hasContent() bool { return c.Root != "" || len(c.Hosts)+len(c.Routes) > 0 }

// Addrs returns the bound addresses, in the order of Config.Listen.
func (s *Server) Addrs() []net.Addr { return s.engine.Addrs() }

// TLSAddrs returns the bound addresses, in the order of Config.TLS.Listen.
func (s *Server) TLSAddrs() []net.Addr { return s.tls.addrs() }

// Engine returns the engine, for its counters and its driver's name.
func (s *Server) Engine() *engine.Engine { return s.engine }

// Done is closed when the server has ended, by Shutdown, Close or a failure.
func (s *Server) Done() <-chan struct{} { return s.engine.Done() }

// Shutdown stops accepting and lets running responses finish until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.tls.stopAccepting()
	err := s.engine.Shutdown(ctx)
	err = errors.Join(err, s.tls.wait(ctx))
	s.closeSites()
	return err
}

// Close cuts everything off.
func (s *Server) Close() error {
	s.tls.stopAccepting()
	err := s.engine.Close() // cuts what is behind the TLS connections
	s.tls.cut()
	s.closeSites()
	return err
}

// route returns the handler for a normalised path; nil: it is a file's.
func (s *Server) route(path []byte) *Route {
	for i := range s.routes {
		if p := s.routes[i].Prefix; len(path) >= len(p) && string(path[:len(p)]) == p {
			return &s.routes[i]
		}
	}
	return nil
}

// clock keeps the Date of a loop, right to the second, and the time of day.
type clock struct {
	date [httpfile.DateLen]byte
	next int64 // monotonic ns: when the second changes
	base int64 // Unix ns minus monotonic ns
}

// at brings the clock to the monotonic instant now.
func (k *clock) at(now int64) {
	if now < k.next {
		return
	}
	wall := time.Now().UnixNano()
	k.base = wall - now
	k.next = now + int64(time.Second) - wall%int64(time.Second)
	httpfile.AppendDate(k.date[:0], wall/int64(time.Second))
}

func (k *clock) unix(now int64) int64 { return now + k.base }
