package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"

	"golang.org/x/sys/unix"

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

// divide returns what was inherited for the TLS listeners, and for the engine's.
func (s *Server) divide(all engine.Sockets) (forTLS, forEngine engine.Sockets) {
	forTLS, forEngine = engine.Sockets{}, maps.Clone(all)
	for _, addr := range s.cfg.TLS.Listen {
		if in, ok := forEngine[addr]; ok {
			forTLS[addr] = in
			delete(forEngine, addr)
		}
	}
	return forTLS, forEngine
}

// listenTLS returns the listener for an address, with the congestion control of
// engine.Config.Congestion. It takes what it uses from inherited.
func listenTLS(addr, congestion string, inherited engine.Sockets) (net.Listener, error) {
	ln, err := bindTLS(addr, inherited)
	if err == nil {
		err = setCongestion(ln, congestion)
	}
	return ln, err
}

// bindTLS returns the first socket that was inherited for an address, or a new one.
func bindTLS(addr string, inherited engine.Sockets) (net.Listener, error) {
	in, ok := inherited[addr]
	if !ok || len(in.FDs) == 0 {
		// A successor shares the socket, which with MPTCP could make the accept of
		// this process wait: see sys.SetAcceptPatience.
		var cfg net.ListenConfig
		cfg.SetMultipathTCP(false)
		return cfg.Listen(context.Background(), "tcp", addr)
	}
	delete(inherited, addr)
	defer engine.Sockets{addr: in}.Close()
	return ListenFD(in.FDs[0])
}

// setCongestion does engine.SetCongestion; on error it closes the listener.
func setCongestion(ln net.Listener, name string) error {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err == nil {
		var failed error
		err = raw.Control(func(fd uintptr) { failed = engine.SetCongestion(int(fd), ln.Addr(), name) })
		err = errors.Join(err, failed)
	}
	if err != nil {
		_ = ln.Close() // err tells more
	}
	return err
}

// ListenFD returns a listener for a duplicate of a listening stream socket that
// this process shares with others.
func ListenFD(fd int) (net.Listener, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	// os.File makes the description blocking for a moment, in which another
	// process may be about to accept.
	if err := sys.SetAcceptPatience(int32(dup)); err != nil {
		unix.Close(dup)
		return nil, fmt.Errorf("inherited socket: %w", err)
	}
	f := os.NewFile(uintptr(dup), "inherited socket")
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("inherited socket: %w", err)
	}
	return ln, nil
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
