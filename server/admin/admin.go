// Package admin is the listener for operators: limits that are read and changed
// while downloads run, metrics, health, connections, events, reload and drain. It
// is net/http on an address of its own, and asks the event loops only when it is
// asked itself.
//
// It listens on loopback or on a Unix socket; anywhere else it demands a bearer
// token. Errors are application/problem+json (RFC 9457). Every change is logged
// with who made it, what it was and what it is.
package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/alerts"
	"github.com/fserve/fserve/server/config"
)

// Config configures an Admin. Listen and Server are needed.
type Config struct {
	// Listen is a TCP address, host:port, or a Unix socket, unix:/path, which is
	// made with mode 0600. An address that is not loopback needs a Token.
	Listen string
	// Inherited is listened on in place of binding Listen; it belongs to the Admin
	// from Start on. nil: Listen is bound.
	Inherited net.Listener
	// Token is the bearer token that requests must carry, but for /livez and
	// /readyz. Empty: none.
	Token string
	// TokenName is the name in the log for those who have the token. Default: admin.
	TokenName string
	// PProf offers /debug/pprof.
	PProf bool

	// Server is looked at and changed.
	Server *server.Server
	// Reloader is reloaded by POST /-/reload, and its state is among the metrics. nil:
	// there is nothing to reload.
	Reloader *config.Reloader
	// Alerts takes the messages that are posted to /alerts. nil: the route is not
	// offered.
	Alerts *alerts.Switch
	// AlertSender sends fserve's own alerts, for its metrics. nil: there is none.
	AlertSender *alerts.Sender
	// Drain begins to end the server, as SIGTERM does, and does not wait for the end. It
	// may be called more than once. nil: the route is not offered.
	Drain func()
	// LogDropped counts the lines of Log that were lost; nil: none is.
	LogDropped func() uint64
	// Version is that of the program, for fserve_build_info.
	Version string
	// Log gets every change. Default: slog.Default.
	Log *slog.Logger
}

// Admin is a listener for operators. Its methods are safe for concurrent use.
type Admin struct {
	cfg      Config
	log      *slog.Logger
	token    atomic.Pointer[string] // see Config.Token
	table    []route
	handler  http.Handler // table behind guards
	http     *http.Server
	listener net.Listener // nil before Start
	started  time.Time

	local    bool // nobody elsewhere can connect
	draining atomic.Bool
	ready    readiness
	limits   *limits
	events   *hub
	serving  sync.WaitGroup
}

const (
	// socketMode is that of a Unix socket: whoever can connect may change limits.
	socketMode = 0o600

	// maxBody bounds the body of a request, in bytes.
	maxBody = 16 << 10
	// maxHead bounds the head of a request, in bytes.
	maxHead = 16 << 10

	headTimeout  = 5 * time.Second
	bodyTimeout  = 10 * time.Second
	idleTimeout  = time.Minute
	writeTimeout = 30 * time.Second
)

// ErrConfig is wrapped by errors of New that are faults of the Config.
var ErrConfig = errors.New("bad configuration of the admin listener")

// New returns an Admin that does not listen yet.
func New(cfg Config) (*Admin, error) {
	cfg.Log, cfg.TokenName = cmp.Or(cfg.Log, slog.Default()), cmp.Or(cfg.TokenName, "admin")
	if cfg.Server == nil {
		return nil, fmt.Errorf("%w: there is no server", ErrConfig)
	}
	a := &Admin{cfg: cfg, log: cfg.Log, local: config.IsLocal(cfg.Listen), started: time.Now()}
	if !a.local && cfg.Token == "" {
		return nil, fmt.Errorf("%w: %s can be reached from elsewhere, which needs a token; or listen on loopback or unix:/PATH", ErrConfig, cfg.Listen)
	}
	a.token.Store(&cfg.Token)
	a.ready.probe = cfg.Server.Ready
	a.limits = newLimits(cfg.Server.Engine().Limits(), cfg.Log)
	a.events = newHub(a)
	metrics, err := a.metricsHandler()
	if err != nil {
		return nil, err
	}
	a.table = a.routes(metrics)
	a.handler = a.guard()
	a.http = &http.Server{
		Handler: a.handler, ReadHeaderTimeout: headTimeout, ReadTimeout: bodyTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHead, ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		ConnContext: withCaller,
	}
	return a, nil
}

// SetToken puts another token into the place of Config.Token, for requests that come
// from then on. An error wraps ErrConfig: there must be one if others than programs on
// this machine can connect.
func (a *Admin) SetToken(token string) error {
	if !a.local && token == "" {
		return fmt.Errorf("%w: %s needs a token", ErrConfig, a.cfg.Listen)
	}
	if old := a.token.Swap(&token); *old != token {
		a.log.Info("the admin token has changed", "token", a.cfg.TokenName)
	}
	return nil
}

// Handler returns the handler of the requests, guards included.
func (a *Admin) Handler() http.Handler { return a.handler }

// Start binds the address and serves until Close.
func (a *Admin) Start() error {
	l := a.cfg.Inherited
	if l == nil {
		var err error
		if l, err = listen.Listener(a.cfg.Listen, listen.Config{UnixMode: socketMode, Tuning: listen.Tuning{Congestion: listen.CongestionSystem}}); err != nil {
			return fmt.Errorf("admin: %w", err)
		}
	}
	a.listener = l
	a.serving.Go(func() {
		if err := a.http.Serve(newBounded(l)); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("the admin listener has failed", "err", err)
		}
	})
	return nil
}

// Addr returns the bound address, nil before Start.
func (a *Admin) Addr() net.Addr {
	if a.listener == nil {
		return nil
	}
	return a.listener.Addr()
}

// SetDraining says that the server is shutting down: it is not ready any more.
func (a *Admin) SetDraining() { a.draining.Store(true) }

// Close ends event streams, lets other requests finish until ctx ends, and ends.
// Changes that are for a time are not taken back: the server is to end too.
func (a *Admin) Close(ctx context.Context) error {
	a.events.close()
	err := a.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, a.http.Close())
	}
	a.serving.Wait()
	a.limits.close()
	return err
}
