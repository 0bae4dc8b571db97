package server

import (
	"cmp"
	"runtime"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/server/http1"
)

// refusal answers connections that are one too many.
const refusal = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

// bound fills in what the engine does where one of its bounds is met.
func (s *Server) bound(e *engine.Config) {
	if len(s.cfg.TLS.Listen) > 0 {
		limit := sys.DescriptorLimit()
		e.MaxConns = cmp.Or(e.MaxConns, max(16, limit/4)) // one of TLS takes three, and a quarter is for files
		e.MaxFiles = cmp.Or(e.MaxFiles, max(16, limit/8/cmp.Or(e.Loops, runtime.GOMAXPROCS(0))))
	}
	e.Refusal = []byte(refusal)
	e.CountClient = s.counts
	e.OnShortage = s.short
}

// counts reports whether a connection counts for its client: one of a proxy that tells
// whose it is does not, and neither does a stream, whose connection does.
func (s *Server) counts(c *loop.Conn) bool {
	i := c.Listener()
	told := c.Named() || s.http.Proxied == nil || !s.http.Proxied[i]
	return told && !http1.ByHTTP2(c) && !s.cfg.Trust.Contains(c.RemoteAddr().Addr())
}

// short logs that a shortage has begun.
func (s *Server) short(of loop.Shortage) {
	s.cfg.Log.Warn("shortage", "of", of.String(), "bound", boundOf[of],
		"effect", "the connections that rest the longest end; where none rests, what is new gets 503")
}

// boundOf names what may be raised in a shortage.
var boundOf = [loop.NumShortages]string{
	loop.NoConns: "max_connections", loop.NoClientConns: "max_client_connections", loop.NoDescriptors: "limit of descriptors (LimitNOFILE)",
	loop.NoBuffers: "max_buffers", loop.NoBodies: "max_buffers",
}
