package server

import (
	"context"
	"errors"
	"net"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/sys"
)

// Accept makes a server that was made with Config.Engine.Paused accept
// connections.
func (s *Server) Accept() error {
	s.tls.begin()
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
	if err := s.tls.sockets(out); err != nil {
		out.Close()
		return nil, err
	}
	return out, nil
}

// Release stops accepting in favour of a successor that has Sockets. No
// connection is lost: see engine.Engine.Release. Retire is to follow.
func (s *Server) Release() {
	s.tls.release()
	s.engine.Release()
}

// Retire is Shutdown after Release: handshakes that are under way come to their
// end, and clients that rest between requests get two seconds for the next one.
func (s *Server) Retire(ctx context.Context) error {
	s.tls.settle(ctx)
	s.tls.stopAccepting()
	err := s.engine.Retire(ctx)
	err = errors.Join(err, s.tls.wait(ctx))
	s.closeSet()
	return err
}

// begin starts to accept.
func (f *tlsFront) begin() {
	if f == nil {
		return
	}
	for i, ln := range f.listeners {
		f.running.Add(1)
		f.accepting.Add(1)
		go f.accept(ln, f.expectsProxyHeader(f.srv.cfg.TLS.Listen[i]))
	}
}

// sockets adds duplicates of the listening sockets to out.
func (f *tlsFront) sockets(out engine.Sockets) error {
	if f == nil {
		return nil
	}
	for i, ln := range f.listeners {
		fd, err := sys.Dup(ln.(*net.TCPListener))
		if err != nil {
			return err
		}
		out[f.srv.cfg.TLS.Listen[i]] = engine.Inherited{FDs: []int{fd}}
	}
	return nil
}

// release closes the listeners only: whoever waits in their queues is for the
// successor.
func (f *tlsFront) release() {
	if f == nil {
		return
	}
	for _, ln := range f.listeners {
		_ = ln.Close() // stopAccepting closes it again
	}
	f.accepting.Wait()
}

// settle waits until handshakes have come to their end, which they do in bounded
// time, or ctx ends. Nothing is accepted any more.
func (f *tlsFront) settle(ctx context.Context) {
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
