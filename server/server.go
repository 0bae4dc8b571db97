// Package server is fserve's HTTP/1.1 origin: it turns requests into responses
// made of memory and file ranges, which the engine sends.
//
// Requests for files are read by package wire, decided by package httpfile and
// answered on the event loop. Other routes are fasthttp handlers.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/auth"
	"github.com/fserve/fserve/server/compress"
	"github.com/fserve/fserve/server/http1"
	"github.com/fserve/fserve/server/listing"
	"github.com/fserve/fserve/server/quota"
	"github.com/fserve/fserve/server/record"
	"github.com/fserve/fserve/server/site"
	"github.com/fserve/fserve/server/tls"
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

	// Routes are handlers by path prefix, each another, of all hosts; the longest prefix wins over
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

	// Admission bounds what each client, and all, may ask for at a time.
	Admission Admission
	// Breaker says when the server has too much to do. It then answers requests of the lowest tiers
	// 503, see package breaker; what is under way goes on.
	Breaker Breaker
	// Identity says how requests prove who asks, where Site.Require wants it.
	Identity Identity

	// Releases are the versions of what is served that Site.Release names.
	Releases map[string]Release
	// ReleaseFile is where is kept how far the releases are. Empty: they begin anew with the process.
	ReleaseFile string
	// OnRelease is told what happens to a release, by its name; nil: nobody is. It must not wait.
	OnRelease func(name string, c *ReleaseChange)

	// QuotaDir is where is kept what users with quotas have had (Tier.Quota), which each process
	// that serves adds to. Empty: it is forgotten with the process.
	QuotaDir string

	// RequestLimits bound request heads. Default: 16 KiB, a target of 8 KiB, 100 fields.
	RequestLimits wire.Limits
	// MaxBody bounds the bodies that handlers get, in bytes. Default 4 MiB.
	MaxBody int64
	// MaxDrain is how much of an unwanted body is read so that the connection
	// can be kept, in bytes. Default 64 KiB.
	MaxDrain int64
	// BodyTimeout is how long the body of a request may take to arrive, and a second more
	// for each 8 KiB of it. Default 30 s.
	BodyTimeout time.Duration

	// OpenTimeout is how long a request waits for its files to be opened, or its listing to
	// be made, while a file system does not answer or another process keeps the file from
	// being opened. Then it gets 503. Default 30 s.
	OpenTimeout time.Duration

	// CompressCache bounds the memory for what is compressed for clients (Site.Files.Compress), in
	// bytes. Default 64 MiB.
	CompressCache int64

	// AccessLog gets a line for each response that is of no Site with an access log of its
	// own; nil: none.
	AccessLog *AccessLog
	// AccessLogs opens those of the Sites. It must not be closed before the Server has ended.
	// Required if there are any.
	AccessLogs *AccessLogs
	// Log is for what an operator should know. Default: slog.Default.
	Log *slog.Logger

	// Engine has the rest: loops, driver, timeouts, caches. Its Listeners, NewSession, CountClient,
	// Refusal, OnShortage and BodyHeadroom are set by the Server, so they must be zero. Inherit may
	// have addresses of TLS.Listen, too; they are the Server's from the call of New on.
	Engine engine.Config
}

// Server is a running origin. Its methods are safe for concurrent use.
type Server struct {
	cfg      Config
	engine   *engine.Engine
	http     http1.Config
	tls      *tls.Front // nil: no TLS listeners
	sessions sessionSet
	load     BreakerControl
	quotas   quotaKeeper
	releases releaseKeeper
	ports    atomic.Pointer[[]uint16] // of the listeners; nil: they are not bound yet

	swapping sync.Mutex // guards what follows
	set      *site.Set  // nil: closed
	compiler site.Compiler
	rows     record.Rows
}

// New opens the root, binds the listeners and serves.
func New(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg}
	s.releases.log, s.releases.file, s.releases.changed = cmp.Or(cfg.Log, slog.Default()), cfg.ReleaseFile, cfg.OnRelease
	s.releases.load()
	if err := s.prepare(); err != nil {
		cfg.Engine.Inherit.Close()
		return nil, err
	}
	e := cfg.Engine
	var forTLS engine.Sockets
	forTLS, e.Inherit = listen.Divide(e.Inherit, cfg.TLS.Listen)
	e.Listeners = cfg.Listen
	e.BodyHeadroom = http1.Headroom(s.set)
	e.NewSession = s.newSession
	s.bound(&e)
	var err error
	if s.engine, err = engine.New(e); err != nil {
		forTLS.Close()
		s.closeSet()
		return nil, err
	}
	s.ports.Store(portsOf(s.engine.Addrs()))
	if err := s.startTLS(forTLS); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.load.log, s.load.lag = s.cfg.Log, s.engine.Turning
	s.load.watch(&cfg.Breaker, s.set.Methods().Ranks())
	s.keepQuotas(&cfg)
	s.keepReleases()
	if !e.Paused {
		s.tls.Begin()
	}
	return s, nil
}

// portsOf returns the ports of TCP addresses; 0 for others.
func portsOf(addrs []net.Addr) *[]uint16 {
	ports := make([]uint16, len(addrs))
	for i, a := range addrs {
		if tcp, ok := a.(*net.TCPAddr); ok {
			ports[i] = uint16(tcp.Port)
		}
	}
	return &ports
}

// ErrConfig is wrapped by errors of New that are faults of the Config.
var ErrConfig = errors.New("bad configuration")

// prepare checks the Config, all but what is to be bound, and opens the roots.
func (s *Server) prepare() error {
	c := &s.cfg
	if err := c.check(); err != nil {
		return err
	}
	c.setDefaults()
	s.http = http1.Config{
		Routes: slices.Clone(c.Routes), Trust: c.Trust, Admission: new(admit.Control), Breaker: &s.load.Breaker, Quotas: new(quota.Book), Heads: c.RequestLimits, MaxBody: c.MaxBody, MaxDrain: c.MaxDrain, BodyTimeout: c.BodyTimeout,
		Proxied: c.proxied(), Plain: len(c.Listen), Listings: listing.NewCache(c.Log), Forms: compress.NewCache(c.CompressCache, c.Log), Log: c.Log,
		Faults: record.NewFaults(c.Log),
		Rows:   &s.rows, Ports: &s.ports, Passwords: new(auth.Checker), Patience: cmp.Or(c.OpenTimeout, 30*time.Second),
	}
	slices.SortStableFunc(s.http.Routes, func(a, b Route) int { return cmp.Compare(len(b.Prefix), len(a.Prefix)) })
	s.http.Admission.Set(c.admission())
	s.compiler.Log, s.compiler.AccessLog, s.compiler.Logs, s.compiler.Listeners = c.Log, c.AccessLog, c.AccessLogs, c.listeners()
	var err error
	if s.set, err = s.compile(c); err == nil {
		s.releases.use(s.compiler.Releases, sys.Nanotime())
	}
	return err
}

// defaultCompressCache is the default of Config.CompressCache.
const defaultCompressCache = 64 << 20

func (c *Config) setDefaults() {
	c.MaxBody = cmp.Or(c.MaxBody, 4<<20)
	c.MaxDrain = cmp.Or(c.MaxDrain, 64<<10)
	c.CompressCache = cmp.Or(c.CompressCache, defaultCompressCache)
	c.BodyTimeout = cmp.Or(c.BodyTimeout, 30*time.Second)
	c.Log = cmp.Or(c.Log, slog.Default())
	c.RequestLimits = c.RequestLimits.WithDefaults()
}

// admission returns the bounds of clients with those of users.
func (c *Config) admission() admit.Policy {
	p := c.Admission
	p.Claims, p.Users = len(c.Identity.Links.Keys) > 0, make(map[string]admit.Rate)
	for name, t := range c.Identity.Tiers {
		p.Claims = p.Claims || t.Connections > 0
		if t.Requests != (admit.Rate{}) {
			p.Users[name] = t.Requests
		}
	}
	for _, i := range c.Identity.Issuers {
		p.Claims = p.Claims || i.Connections != ""
	}
	return p
}

// proxied tells by index of Listen who expects a PROXY header; nil: nobody.
func (c *Config) proxied() (expected []bool) {
	for _, addr := range c.Listen {
		expected = append(expected, slices.Contains(c.ProxyProtocol, addr))
	}
	if !slices.Contains(expected, true) {
		return nil
	}
	return expected
}

// listeners returns the listeners in the order of http1.Config.Plain.
func (c *Config) listeners() (list []site.Listener) {
	for _, addr := range c.Listen {
		list = append(list, site.Listener{Addr: addr})
	}
	for _, addr := range c.TLS.Listen {
		list = append(list, site.Listener{Addr: addr, TLS: true})
	}
	return list
}

// compile returns the Set of what a Config says about files, retained once.
func (s *Server) compile(c *Config) (*site.Set, error) {
	if err := c.TLS.checkHostPairs(c.Hosts); err != nil {
		return nil, err
	}
	releases, err := s.releases.next(c.Releases)
	if err != nil {
		return nil, err
	}
	s.compiler.Identity, s.compiler.Releases = c.Identity, releases
	set, err := s.compiler.Compile(Host{Site: c.Site, Locations: c.Locations}, c.Hosts, s.set)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	set.Number(s.rows.Assign(set.Names()))
	return set, nil
}

func (s *Server) newSession(l *loop.Loop) loop.Session {
	x := s.http.NewSession(l, s.set)
	s.sessions.add(l, x)
	return x
}

// Addrs returns the bound addresses, in the order of Config.Listen.
func (s *Server) Addrs() []net.Addr { return s.engine.Addrs() }

// TLSAddrs returns the bound addresses, in the order of Config.TLS.Listen.
func (s *Server) TLSAddrs() []net.Addr { return s.tls.Addrs() }

// Engine returns the engine, for its counters and its driver's name.
func (s *Server) Engine() *engine.Engine { return s.engine }

// NamesClients reports whether handlers may say whom a response is counted by (SetClient,
// engine.SetFlow). If not, clients are addresses.
func (s *Server) NamesClients() bool { return len(s.cfg.Routes) > 0 || s.cfg.Engine.Guests }

// Done is closed when the server has ended, by Shutdown, Close or a failure.
func (s *Server) Done() <-chan struct{} { return s.engine.Done() }

// Shutdown stops accepting and lets running responses finish until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.end(ctx, s.engine.Shutdown)
}

// end accepts no TLS connection any more, and waits for what is under way.
func (s *Server) end(ctx context.Context, engine func(context.Context) error) error {
	s.tls.StopAccepting()
	err := errors.Join(engine(ctx), s.tls.Wait(ctx))
	s.closeSet()
	return err
}

// Close cuts everything off.
func (s *Server) Close() error {
	s.tls.StopAccepting()
	err := s.engine.Close() // cuts what is behind the TLS connections
	s.tls.Cut()
	s.closeSet()
	return err
}

// closeSet closes the roots once: Close may follow Shutdown. No loop runs any
// more.
func (s *Server) closeSet() {
	s.swapping.Lock()
	defer s.swapping.Unlock()
	s.load.stop()
	s.endReleases()
	s.endQuotas()
	if s.set != nil {
		s.set.Release()
		s.set = nil
	}
}
