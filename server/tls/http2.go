package tls

import (
	crypto "crypto/tls"
	"log/slog"
	"net/netip"
	"time"

	"github.com/fserve/fserve/engine"
)

// HTTP2 makes what serves connections whose clients have chosen h2 in the handshake. The one there
// is has a package of its own (server/http2), so that only those link it who name it.
type HTTP2 interface {
	Begin(HTTP2Config) HTTP2Server
}

// HTTP2Config is what an HTTP2Server is made with.
type HTTP2Config struct {
	Engine  *engine.Engine
	Log     *slog.Logger
	Idle    time.Duration // how long a connection may rest without a stream
	Send    time.Duration // how long a client may take nothing of a stream
	MaxHead int           // of a request, in bytes
}

// HTTP2Server serves connections. Its methods are safe for concurrent use.
type HTTP2Server interface {
	// Serve serves a connection until it has ended, and closes it.
	Serve(*Client)
	// Drain lets the streams end that there are; clients are told to ask for no more (GOAWAY).
	Drain()
	Stats() HTTP2Stats
}

// HTTP2Stats counts streams.
type HTTP2Stats struct {
	Conns int // open now
	// Active are streams on which bytes move, or that have just begun; Paused those on which nothing
	// has moved for a while: they wait for a limit, the disk or their client.
	Active, Paused int
	// Completed and Aborted are those that have ended.
	Completed, Aborted uint64
}

// Client is a connection after its handshake.
type Client struct {
	Conn     *crypto.Conn
	Listener int            // index in Config.Listen
	Peer     netip.AddrPort // as the PROXY header says, if there was one
	// Control is loop.Socket's, for the connection.
	Control func(func(fd uintptr)) error
	// Refused: the client has too many connections. Its requests are answered with 503.
	Refused bool
}

// protocolHTTP2 is its name in ALPN.
const protocolHTTP2 = "h2"

// multiplex leaves the connection to HTTP/2.
func (b *bridge) multiplex(tap *tapped) {
	tap.over = true
	tap.tap.Forget()
	tap.Conn = newGatherer(tap.Conn)
	b.mux = b.front.http2(b.policy.of.HTTP2)
	b.adopted.Store(true)
}

// serveHTTP2 serves the connection until it has ended.
func (b *bridge) serveHTTP2() {
	f := b.front
	c := &Client{Conn: b.tls, Listener: b.at, Peer: b.peer, Control: b.Control}
	if !f.cfg.Trust.Contains(b.peer.Addr()) {
		leave, ok := f.cfg.Engine.CountConn(b.peer.Addr())
		defer leave()
		if c.Refused = !ok; !ok {
			f.refused.Add(1)
		}
	}
	b.mux.Serve(c)
}

// http2 returns what serves HTTP/2, which begins with the first connection.
func (f *Front) http2(by HTTP2) HTTP2Server {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mux == nil {
		c := &f.cfg
		f.mux = by.Begin(HTTP2Config{Engine: c.Engine, Log: c.Log, Idle: c.Idle, Send: c.Send, MaxHead: c.MaxHead})
	}
	return f.mux
}
