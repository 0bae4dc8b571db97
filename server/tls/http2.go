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
}

// Client is a connection after its handshake.
type Client struct {
	Conn     *crypto.Conn
	Listener int            // index in Config.Listen
	Peer     netip.AddrPort // as the PROXY header says, if there was one
	// Control is loop.Socket's, for the connection.
	Control func(func(fd uintptr)) error
}

// protocolHTTP2 is its name in ALPN.
const protocolHTTP2 = "h2"

// multiplex leaves the connection to HTTP/2.
func (b *bridge) multiplex(tap *tapped) {
	tap.over = true
	tap.tap.Forget()
	b.mux = b.front.http2(b.policy.of.HTTP2)
	b.adopted.Store(true)
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
