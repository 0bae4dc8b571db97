package http2

import (
	"sync"
	"sync/atomic"

	"github.com/fserve/fserve/server/tls"
)

// Server has the connections of all loops.
type Server struct {
	cfg tls.HTTP2Config

	mu       sync.Mutex
	conns    map[*conn]struct{}
	numbered uint64 // connections

	completed, aborted atomic.Uint64 // streams
	held               atomic.Int64  // bytes of buffers for frames
}

func (s *Server) forget(m *conn) {
	s.mu.Lock()
	delete(s.conns, m)
	s.mu.Unlock()
}
