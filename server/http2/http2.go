// Package http2 speaks HTTP/2 on the loops (RFC 9113). A connection of a client carries one of the
// loop for each stream (loop.Carry), which gets the request as HTTP/1.1 has it: what holds
// there (limits, admission, hosts, log, time-outs) holds for streams.
package http2

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/server/tls"
)

// Protocol is HTTP/2 for tls.Certificates.
type Protocol struct{}

// Begin implements tls.HTTP2.
func (Protocol) Begin(cfg tls.HTTP2Config) tls.HTTP2Server {
	return &Server{cfg: cfg, conns: make(map[*conn]struct{})}
}

const (
	// maxStreams bounds the streams that a client may have open on a connection.
	maxStreams = 100
	// streamWindow and connWindow bound the bytes of request bodies that wait to be read.
	streamWindow = 64 << 10
	connWindow   = 256 << 10
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

// Speak implements tls.HTTP2Server.
func (s *Server) Speak(c *loop.Conn) loop.Multiplexer {
	m := newConn(s, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.numbered++
	m.number = s.numbered
	s.conns[m] = struct{}{}
	return m
}

func (s *Server) forget(m *conn) {
	s.mu.Lock()
	delete(s.conns, m)
	s.mu.Unlock()
}

// pausedAfter is how long nothing has moved on a stream that counts as paused.
const pausedAfter = 100 * time.Millisecond

// Stats implements tls.HTTP2Server. It asks the loops.
func (s *Server) Stats() tls.HTTP2Stats {
	out := tls.HTTP2Stats{Completed: s.completed.Load(), Aborted: s.aborted.Load()}
	s.mu.Lock()
	byLoop := make(map[*loop.Loop][]*conn)
	for m := range s.conns {
		byLoop[m.loop] = append(byLoop[m.loop], m)
	}
	out.Conns = len(s.conns)
	s.mu.Unlock()
	s.cfg.Engine.Ask(func(l *loop.Loop) {
		for _, m := range byLoop[l] {
			for _, x := range m.streams {
				if l.Now()-x.moved < int64(pausedAfter) {
					out.Active++
				} else {
					out.Paused++
				}
			}
		}
	})
	return out
}
