package server

import (
	"context"

	"github.com/fserve/fserve/engine"
)

// Accept makes a server that was made with Config.Engine.Paused accept
// connections.
func (s *Server) Accept() error {
	s.tls.Begin()
	return s.engine.Accept()
}

// Sockets returns duplicates of the listening sockets by their address in
// Config.Listen and Config.TLS.Listen, for the Config.Engine.Inherit of a
// successor. They are the caller's.
func (s *Server) Sockets() (engine.Sockets, error) {
	out, err := s.engine.Sockets()
	if err != nil {
		return nil, err
	}
	if err := s.tls.Sockets(out); err != nil {
		out.Close()
		return nil, err
	}
	return out, nil
}

// HandOver stops accepting in favour of a successor that has Sockets. No
// connection is lost: see engine.Engine.HandOver. Retire is to follow.
func (s *Server) HandOver() {
	s.swapping.Lock()
	s.endReleases() // they are the successor's
	s.swapping.Unlock()
	s.tls.HandOver()
	s.engine.HandOver()
}

// Retire is Shutdown after HandOver: handshakes that are under way come to their
// end, and clients that rest between requests get two seconds for the next one.
func (s *Server) Retire(ctx context.Context) error {
	s.tls.AwaitHandshakes(ctx)
	return s.end(ctx, s.engine.Retire)
}
