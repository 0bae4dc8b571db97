// Package tls ends TLS in front of the loops: it does the handshake on a goroutine and gives
// one end of a socket pair to the engine, which serves it as it serves any client.
package tls

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/server/admit"
)

// Config is what a Front is made with.
type Config struct {
	Certificates
	Listen        []string // TCP addresses, host:port
	MaxConns      int      // more are closed at once; 0: 10,000
	MaxHandshakes int      // of MaxConns; a further one ends the oldest. 0: 1,000, or an eighth of the descriptors

	Engine     *engine.Engine
	Log        *slog.Logger
	Trust      admit.Trust // which peers may send a PROXY header; nobody: each may
	Proxied    []string    // of Listen, those whose connections begin with a PROXY header
	Congestion string
	Kernel     bool           // seals what is sent, where it can: see KernelSeals
	Inherit    listen.Sockets // in place of new ones; the Front's from the call of New on

	Handshake time.Duration // for it and what comes before it
	Send      time.Duration // how long a client may take nothing
	Idle      time.Duration // how long a connection of HTTP/2 may rest
	MaxHead   int           // of requests by HTTP/2, in bytes
}

// ErrConfig is wrapped by errors that are faults of the Config.
var ErrConfig = errors.New("TLS")

// defaultConns is the default of Config.MaxConns. A connection takes two
// goroutines and some 50 KiB.
const defaultConns = 10_000

// defaultHandshakes is the default of Config.MaxHandshakes.
const defaultHandshakes = 1000

const (
	// acceptPause is how long accepting rests after a failure, as a rule for lack of
	// descriptors.
	acceptPause = 10 * time.Millisecond
	// silence is how long a fault that may come a hundred times a second is not logged again.
	silence = time.Minute
)

// Stats counts TLS connections.
type Stats struct {
	Accepted uint64
	Refused  uint64 // over Config.MaxConns
	Failed   uint64 // handshakes, and PROXY headers before them
	Ousted   uint64 // of the failed: by newer ones, over Config.MaxHandshakes
	Open     int    // now

	// Of those that are open: whose handshake is under way, whose records a loop seals and opens, and
	// for which the kernel seals and a loop opens them. The others take a bridge.
	Handshakes, OnLoops, ByKernel int

	HTTP2 HTTP2Stats

	// Expiries are when the certificates in use cease to be valid.
	Expiries []Expiry
}

// Front accepts TLS connections and runs their bridges. Its exported methods may
// be called on nil, which is a server without TLS, and are safe for concurrent use once
// Begin has returned.
type Front struct {
	cfg       Config
	policy    atomic.Pointer[policy]
	tickets   tickets
	listeners []net.Listener
	ended     chan struct{}  // closed by StopAccepting
	running   sync.WaitGroup // acceptors and bridges
	accepting sync.WaitGroup // acceptors
	opening   sync.WaitGroup // bridges that the engine does not have yet

	mu         sync.Mutex
	bridges    map[*bridge]struct{}
	handshakes list.List // of those bridges whose handshake is under way, the oldest first
	stopped    bool
	mux        HTTP2Server // nil: nobody has spoken HTTP/2
	plain      time.Time   // when a request without TLS was logged

	open, onLoops, byKernel           atomic.Int64 // connections
	accepted, refused, failed, ousted atomic.Uint64

	kernelRefused sync.Once
}

// New binds the listeners, but for those that are inherited. Begin makes them accept. On
// error nothing stays bound.
func New(cfg Config) (*Front, error) {
	defer cfg.Inherit.Close() // what is left when it fails
	p, err := cfg.check()
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = cmp.Or(cfg.MaxConns, defaultConns)
	cfg.MaxHandshakes = cmp.Or(cfg.MaxHandshakes, handshakesHere())
	f := &Front{cfg: cfg, ended: make(chan struct{}), bridges: make(map[*bridge]struct{})}
	f.policy.Store(p)
	for _, addr := range cfg.Listen {
		ln, err := listen.Listener(addr, listen.Config{Addrs: cfg.Listen, Tuning: listen.Tuning{Congestion: cfg.Congestion}, Inherit: cfg.Inherit})
		if err != nil {
			f.StopAccepting()
			return nil, err
		}
		f.listeners = append(f.listeners, ln)
	}
	return f, nil
}

// handshakesHere is the default of Config.MaxHandshakes for this process.
func handshakesHere() int { return max(1, min(sys.DescriptorLimit()/8, defaultHandshakes)) }

// Check reports what New would refuse before it binds anything. The error wraps ErrConfig.
func (c *Config) Check() error {
	_, err := c.check()
	return err
}

func (c *Config) check() (*policy, error) {
	if !c.Has() || c.MaxConns < 0 || c.MaxHandshakes < 0 {
		return nil, fmt.Errorf("%w needs a certificate with its key, and no negative MaxConns or MaxHandshakes", ErrConfig)
	}
	for _, addr := range c.Listen {
		if strings.HasPrefix(addr, listen.UnixPrefix) {
			return nil, fmt.Errorf("%w needs TCP addresses, not %s", ErrConfig, addr)
		}
	}
	return newPolicy(c.Certificates, c.Listen, nil, c.Log)
}

func (f *Front) accept(ln net.Listener, at int) {
	defer f.running.Done()
	defer f.accepting.Done()
	proxied := slices.Contains(f.cfg.Proxied, f.cfg.Listen[at])
	var warned time.Time
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			f.add(conn.(*net.TCPConn), at, proxied)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			if time.Since(warned) >= silence {
				warned = time.Now()
				f.cfg.Log.Warn("TLS: connections cannot be accepted", "err", err)
			}
			f.mu.Lock()
			f.oust() // it gives its descriptor back
			f.mu.Unlock()
			select {
			case <-time.After(acceptPause):
			case <-f.ended:
				return
			}
		}
	}
}

// add serves a connection, unless there are too many.
func (f *Front) add(conn *net.TCPConn, at int, proxied bool) {
	b := &bridge{front: f, tcp: conn, at: at, proxied: proxied, gone: make(chan struct{})}
	f.mu.Lock()
	full, stopped := f.open.Load() >= int64(f.cfg.MaxConns), f.stopped
	if !full && !stopped {
		if f.handshakes.Len() >= f.cfg.MaxHandshakes {
			f.oust()
		}
		f.open.Add(1)
		f.bridges[b] = struct{}{}
		b.handshake = f.handshakes.PushBack(b)
		f.running.Add(1)
		f.opening.Add(1)
	}
	f.mu.Unlock()
	if full {
		f.refused.Add(1)
	}
	if full || stopped {
		_ = conn.Close()
		return
	}
	f.accepted.Add(1)
	go func() {
		defer f.running.Done()
		b.run()
		f.mu.Lock()
		delete(f.bridges, b)
		f.mu.Unlock()
	}()
}

// oust ends the handshake that has been under way for the longest, if there is one: who means
// it needs a fraction of a second. f.mu is held.
func (f *Front) oust() {
	oldest := f.handshakes.Front()
	if oldest == nil {
		return
	}
	b := f.handshakes.Remove(oldest).(*bridge)
	b.handshake = nil
	f.ousted.Add(1)
	_ = b.tcp.Close() // its run may have done so
}

// opened notes that a handshake is over, however it went.
func (f *Front) opened(b *bridge) {
	f.mu.Lock()
	if b.handshake != nil {
		f.handshakes.Remove(b.handshake)
		b.handshake = nil
	}
	f.mu.Unlock()
	f.opening.Done()
}

// Addrs returns the bound addresses, in the order of Config.Listen.
func (f *Front) Addrs() []net.Addr {
	if f == nil {
		return nil
	}
	var addrs []net.Addr
	for _, ln := range f.listeners {
		addrs = append(addrs, ln.Addr())
	}
	return addrs
}

// StopAccepting closes the listeners and the connections that are not yet with
// the engine; the engine ends the others.
func (f *Front) StopAccepting() {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return
	}
	f.stopped = true
	close(f.ended)
	for _, ln := range f.listeners {
		ln.Close()
	}
	for b := range f.bridges {
		if !b.adopted.Load() {
			_ = b.tcp.Close() // run may have done so
		}
	}
}

// Wait waits until the clients have got what the engine has sent. If ctx ends
// first they are cut off.
func (f *Front) Wait(ctx context.Context) error {
	if f == nil {
		return nil
	}
	done := make(chan struct{})
	go func() { f.running.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		f.Cut()
		return ctx.Err()
	}
}

// Cut resets every connection and waits for their goroutines.
func (f *Front) Cut() {
	if f == nil {
		return
	}
	f.mu.Lock()
	for b := range f.bridges {
		b.reset()
	}
	f.mu.Unlock()
	f.running.Wait()
}

// Stats returns the counters.
func (f *Front) Stats() Stats {
	if f == nil {
		return Stats{}
	}
	expiries := f.policy.Load().expiries(time.Now()) // not under the lock: it may read files
	f.mu.Lock()
	mux, handshakes := f.mux, f.handshakes.Len()
	f.mu.Unlock()
	var h2 HTTP2Stats
	if mux != nil {
		h2 = mux.Stats() // not under the lock: it asks loops
	}
	return Stats{
		HTTP2:    h2,
		Accepted: f.accepted.Load(), Refused: f.refused.Load(), Failed: f.failed.Load(), Ousted: f.ousted.Load(),
		Open: int(f.open.Load()), Handshakes: handshakes, OnLoops: int(f.onLoops.Load()), ByKernel: int(f.byKernel.Load()),
		Expiries: expiries,
	}
}

// Begin starts to accept.
func (f *Front) Begin() {
	if f == nil {
		return
	}
	f.running.Go(f.watchExpiry)
	for i, ln := range f.listeners {
		f.running.Add(1)
		f.accepting.Add(1)
		go f.accept(ln, i)
	}
}

// watchExpiry warns of certificates that are about to cease to be valid, at once and then daily.
func (f *Front) watchExpiry() {
	day := time.NewTicker(24 * time.Hour)
	defer day.Stop()
	for {
		f.policy.Load().look(time.Now())
		select {
		case <-day.C:
		case <-f.ended:
			return
		}
	}
}

// Sockets adds duplicates of the listening sockets to out.
func (f *Front) Sockets(out listen.Sockets) error {
	if f == nil {
		return nil
	}
	for i, ln := range f.listeners {
		fd, err := sys.Dup(ln.(*net.TCPListener))
		if err != nil {
			return err
		}
		out[f.cfg.Listen[i]] = listen.Inherited{FDs: []int{fd}}
	}
	return nil
}

// HandOver closes the listeners only: who waits in their queues is for the
// successor.
func (f *Front) HandOver() {
	if f == nil {
		return
	}
	for _, ln := range f.listeners {
		_ = ln.Close() // StopAccepting closes it again
	}
	f.accepting.Wait()
}

// AwaitHandshakes waits until they have come to their end, which they do in bounded
// time, or ctx ends. Nothing is accepted any more.
func (f *Front) AwaitHandshakes(ctx context.Context) {
	if f == nil {
		return
	}
	done := make(chan struct{})
	go func() { f.opening.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
