package tls

import (
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
)

// HTTP2 makes what speaks on connections whose clients have chosen h2 in the handshake. The one there
// is has a package of its own (server/http2), so that only those link it who name it.
type HTTP2 interface {
	Begin(HTTP2Config) HTTP2Server
}

// HTTP2Config is what an HTTP2Server is made with.
type HTTP2Config struct {
	Engine  *engine.Engine
	Idle    time.Duration // how long a connection may rest without a stream
	Send    time.Duration // how long a client may take nothing
	MaxHead int           // of a request, in bytes
}

// HTTP2Server speaks on the connections of all loops. Its methods are safe for concurrent use.
type HTTP2Server interface {
	// Speak is called on the loop of a connection; see loop.Speaker.
	Speak(*loop.Conn) loop.Multiplexer
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

// protocolHTTP2 is its name in ALPN.
const protocolHTTP2 = "h2"

// speaker is who speaks on a connection in place of a loop's session; nil: nobody does.
type speaker struct{ HTTP2Server }

// Speak implements loop.Speaker.
func (s speaker) Speak(c *loop.Conn) loop.Multiplexer {
	if s.HTTP2Server == nil {
		return nil
	}
	return s.HTTP2Server.Speak(c)
}

// http2 returns what serves HTTP/2, which begins with the first connection.
func (f *Front) http2(by HTTP2) HTTP2Server {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mux == nil {
		c := &f.cfg
		f.mux = by.Begin(HTTP2Config{Engine: c.Engine, Idle: c.Idle, Send: c.Send, MaxHead: c.MaxHead})
	}
	return f.mux
}
