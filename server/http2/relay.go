// Package http2 speaks HTTP/2 in front of the loops. net/http's server reads and writes the
// frames; each relayed goes on as HTTP/1.1 by a connection to a loop, so that what holds there
// (limits, admission, hosts, log, time-outs) holds for streams.
package http2

import (
	"context"
	crypto "crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/server/tls"
)

// Protocol is HTTP/2 for tls.Certificates.
type Protocol struct{}

// Begin implements tls.HTTP2.
func (Protocol) Begin(cfg tls.HTTP2Config) tls.HTTP2Server { return newServer(cfg) }

const (
	// maxStreams bounds the streams that a client may have open on a connection.
	maxStreams = 100
	// streamWindow and connWindow bound the bytes of request bodies that wait to be passed on.
	streamWindow = 64 << 10
	connWindow   = 256 << 10
)

// Server serves connections.
type relay struct {
	cfg   tls.HTTP2Config
	http  *http.Server
	serve func(*http.Server, *crypto.Conn, http.Handler)

	mu       sync.Mutex
	conns    map[*relayConn]struct{}
	draining bool
	numbered uint64 // connections

	completed, aborted atomic.Uint64 // streams
}

func newServer(cfg tls.HTTP2Config) *relay {
	s := &relay{cfg: cfg, conns: make(map[*relayConn]struct{})}
	s.http = &http.Server{
		IdleTimeout: cfg.Idle, WriteTimeout: cfg.Send, // which a keeper moves
		MaxHeaderBytes: 2 * cfg.MaxHead, // the loop refuses what is too long, and logs it
		ErrorLog:       slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, MaxReadFrameSize: frameSize, MaxReceiveBufferPerStream: streamWindow, MaxReceiveBufferPerConnection: connWindow,
			PermitProhibitedCipherSuites: true, // which they are is configured
		},
	}
	_ = s.http.Serve(noListener{}) // makes TLSNextProto
	if s.serve = s.http.TLSNextProto["h2"]; s.serve == nil {
		s.serve = func(_ *http.Server, c *crypto.Conn, _ http.Handler) { _ = c.Close() } // GODEBUG=http2server=0
	}
	return s
}

// noListener has no connections.
type noListener struct{}

func (noListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (noListener) Close() error              { return nil }
func (noListener) Addr() net.Addr            { return nil }

// Serve implements tls.HTTP2Server.
func (s *relay) Serve(client *tls.Client) {
	c := &relayConn{of: s, client: client, streams: make(map[*relayed]struct{}), places: make(chan struct{}, maxStreams)}
	s.mu.Lock()
	s.numbered++
	c.number = s.numbered
	draining := s.draining
	if !draining {
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	if !draining {
		s.serve(s.http, client.Conn, c)
		c.end()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}
	_ = client.Conn.Close()
}

// drainEvery is how often connections are told that have begun while others were.
const drainEvery = time.Second

// Drain implements tls.HTTP2Server.
func (s *relay) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return
	}
	s.draining = true
	go func() {
		for s.open() > 0 {
			_ = s.http.Shutdown(context.Background()) // GOAWAY; it does not know the connections and does not wait for them
			time.Sleep(drainEvery)
		}
	}()
}

func (s *relay) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// pausedAfter is how long nothing has moved on a relayed that counts as paused.
const pausedAfter = 100 * time.Millisecond

// Stats implements tls.HTTP2Server.
func (s *relay) Stats() tls.HTTP2Stats {
	out := tls.HTTP2Stats{Completed: s.completed.Load(), Aborted: s.aborted.Load()}
	now := sys.Nanotime()
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Conns = len(s.conns)
	for c := range s.conns {
		c.mu.Lock()
		for x := range c.streams {
			if now-x.moved.Load() < int64(pausedAfter) {
				out.Active++
			} else {
				out.Paused++
			}
		}
		c.mu.Unlock()
	}
	return out
}
