package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/listen"
)

// TLS configures listeners that speak TLS (1.2 and later, HTTP/1.1 by ALPN).
type TLS struct {
	// Listen are TCP addresses, host:port.
	Listen []string
	// CertFile and KeyFile are PEM files: the certificate with its chain, and
	// its key. Handshakes look at most once a second whether they have changed,
	// and go on with the last good pair if the new one cannot be used.
	CertFile, KeyFile string
	// MaxConns bounds the connections; more are closed at once. Default 10,000.
	MaxConns int
}

// defaultTLSConns is the default of TLS.MaxConns. A connection takes two
// goroutines and some 50 KiB.
const defaultTLSConns = 10_000

// acceptPause is how long accepting rests after a failure, as a rule for lack
// of descriptors.
const acceptPause = 10 * time.Millisecond

// TLSStats counts TLS connections.
type TLSStats struct {
	Accepted uint64
	Refused  uint64 // over TLS.MaxConns
	Failed   uint64 // handshakes, and PROXY headers before them
	Open     int    // now
}

// tlsFront accepts TLS connections and runs their bridges. All methods but run
// may be called on nil, which is a server without TLS.
type tlsFront struct {
	srv       *Server
	cfg       *tls.Config
	listeners []net.Listener
	handshake time.Duration // for the handshake and what comes before it
	send      time.Duration // see engine.Config.SendTimeout
	max       int
	ended     chan struct{}  // closed by stopAccepting
	running   sync.WaitGroup // acceptors and bridges
	accepting sync.WaitGroup // acceptors
	opening   sync.WaitGroup // bridges that the engine does not have yet

	mu      sync.Mutex
	bridges map[*bridge]struct{}
	stopped bool

	accepted, refused, failed atomic.Uint64
}

// startTLS binds the TLS listeners, if there are any, but for those that were
// inherited. begin makes them accept.
func (s *Server) startTLS(inherited engine.Sockets) error {
	defer inherited.Close() // what is left when it fails
	c := &s.cfg.TLS
	if len(c.Listen) == 0 {
		return nil
	}
	if c.CertFile == "" || c.KeyFile == "" || c.MaxConns < 0 {
		return fmt.Errorf("%w: TLS needs a certificate, a key, and no negative MaxConns", ErrConfig)
	}
	pair, err := newKeyPair(c.CertFile, c.KeyFile, s.cfg.Log)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	e := s.engine.Config()
	f := &tlsFront{
		srv: s, handshake: e.HeaderTimeout, send: e.SendTimeout, max: c.MaxConns,
		cfg: &tls.Config{
			MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.current(time.Now()), nil },
		},
		ended: make(chan struct{}), bridges: make(map[*bridge]struct{}),
	}
	if f.max == 0 {
		f.max = defaultTLSConns
	}
	s.tls = f
	for _, addr := range c.Listen {
		ln, err := listen.Listener(addr, listen.Config{Congestion: s.cfg.Engine.Congestion, Inherit: inherited})
		if err != nil {
			return err
		}
		f.listeners = append(f.listeners, ln)
	}
	return nil
}

func (f *tlsFront) expectsProxyHeader(addr string) bool {
	for _, a := range f.srv.cfg.ProxyProtocol {
		if a == addr {
			return true
		}
	}
	return false
}

func (f *tlsFront) accept(ln net.Listener, proxied bool) {
	defer f.running.Done()
	defer f.accepting.Done()
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			f.add(conn.(*net.TCPConn), proxied)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			f.srv.cfg.Log.Warn("TLS: accept", "err", err)
			select {
			case <-time.After(acceptPause):
			case <-f.ended:
				return
			}
		}
	}
}

// add serves a connection, unless there are too many.
func (f *tlsFront) add(conn *net.TCPConn, proxied bool) {
	b := &bridge{front: f, tcp: conn, proxied: proxied, gone: make(chan struct{})}
	f.mu.Lock()
	full, stopped := len(f.bridges) >= f.max, f.stopped
	if !full && !stopped {
		f.bridges[b] = struct{}{}
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

func (f *tlsFront) addrs() []net.Addr {
	if f == nil {
		return nil
	}
	var addrs []net.Addr
	for _, ln := range f.listeners {
		addrs = append(addrs, ln.Addr())
	}
	return addrs
}

// stopAccepting closes the listeners and the connections that are not yet with
// the engine; the engine ends the others.
func (f *tlsFront) stopAccepting() {
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

// wait waits until the clients have got what the engine has sent. If ctx ends
// first they are cut off.
func (f *tlsFront) wait(ctx context.Context) error {
	if f == nil {
		return nil
	}
	done := make(chan struct{})
	go func() { f.running.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		f.cut()
		return ctx.Err()
	}
}

// cut resets every connection and waits for their goroutines.
func (f *tlsFront) cut() {
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

// TLSStats returns the counters of the TLS listeners.
func (s *Server) TLSStats() TLSStats {
	f := s.tls
	if f == nil {
		return TLSStats{}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return TLSStats{Accepted: f.accepted.Load(), Refused: f.refused.Load(), Failed: f.failed.Load(), Open: len(f.bridges)}
}
