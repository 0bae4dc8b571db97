package testenv

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/sys"
)

// SockOptions shape the sockets of a test. Zero fields leave the kernel's
// defaults.
type SockOptions struct {
	SendBuffer int // of our end (SO_SNDBUF), bytes; the kernel doubles it
	RecvBuffer int // of the peer's end (SO_RCVBUF), bytes; the kernel doubles it
}

// Listen returns a non-blocking TCP listener on loopback. The caller owns it.
func Listen(t testing.TB) int {
	t.Helper()
	fd, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func listen() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("listener: %w", err)
	}
	if err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err == nil {
		err = unix.Listen(fd, 4096)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("listener: %w", err)
	}
	return fd, nil
}

// Peer is the far end of a connection: a non-blocking TCP socket whose calls
// answer at once, so that one goroutine can drive both ends. The test decides
// how slow it is by how often it receives.
type Peer struct{ FD int }

// NewPeer returns a peer that is not connected. It is closed at the end of the
// test, with a reset unless the test closed it before: tests make thousands of
// connections, and each orderly end would leave a port in TIME_WAIT.
func NewPeer(t testing.TB, o SockOptions) *Peer {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &Peer{FD: fd}
	t.Cleanup(p.Reset)
	if o.RecvBuffer > 0 {
		// Before connect, since it decides the window scale.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, o.RecvBuffer); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// Connect starts a connection to a listener and does not wait for it.
func (p *Peer) Connect(t testing.TB, listener int) {
	t.Helper()
	addr, err := unix.Getsockname(listener)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(p.FD, addr); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		t.Fatal(err)
	}
}

// Pair returns a connected pair of TCP sockets: our end, non-blocking, which
// the caller owns, and the peer.
func Pair(t testing.TB, o SockOptions) (int, *Peer) {
	t.Helper()
	l := Listen(t)
	defer unix.Close(l)
	return Dial(t, l, o)
}

// Dial is Pair over an existing listener, for many connections.
func Dial(t testing.TB, listener int, o SockOptions) (int, *Peer) {
	t.Helper()
	p := NewPeer(t, o)
	p.Connect(t, listener)
	fd, err := accept(listener)
	if err != nil {
		t.Fatal(err)
	}
	if o.SendBuffer > 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, o.SendBuffer); err != nil {
			t.Fatal(err)
		}
	}
	// Requests and answers of tests are small: Nagle's algorithm would make
	// each wait for the delayed acknowledgement of the last.
	for _, s := range []int{fd, p.FD} {
		if err := unix.SetsockoptInt(s, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			t.Fatal(err)
		}
	}
	return fd, p
}

// UnixPair is Pair over Unix sockets.
func UnixPair(t testing.TB) (int, *Peer) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &Peer{FD: fds[1]}
	t.Cleanup(p.Reset)
	return fds[0], p
}

// accept waits for the one connection that is on its way.
func accept(listener int) (int, error) {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
			return fd, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			if err := poll(listener, unix.POLLIN); err != nil {
				return -1, err
			}
		default:
			return -1, fmt.Errorf("accept: %w", err)
		}
	}
}

// poll waits until fd is ready for events, for at most 10 s.
func poll(fd int, events int16) error {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, 10_000)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("poll: %w", err)
		case n == 0:
			return errors.New("poll: nothing for 10 s")
		default:
			return nil
		}
	}
}

// AwaitInput waits until a socket has something to receive: bytes, or their end.
// What a peer does reaches the other end of a connection at once on an idle machine;
// on a busy one the kernel may leave it to its own thread (ksoftirqd).
func AwaitInput(t testing.TB, fd int) {
	t.Helper()
	if err := poll(fd, unix.POLLIN); err != nil {
		t.Fatal(err)
	}
}

// AwaitReset waits until a socket has learnt that its peer has reset the connection.
func AwaitReset(t testing.TB, fd int) {
	t.Helper()
	if err := poll(fd, 0); err != nil { // POLLERR and POLLHUP need not be asked for
		t.Fatal(err)
	}
}

// Recv receives what is there. It returns 0, EAGAIN if nothing is, and 0, 0 at
// the end of the stream.
func (p *Peer) Recv(b []byte) (int, syscall.Errno) { return sys.Recv(int32(p.FD), b) }

// Send sends what fits. It returns 0, EAGAIN if nothing does.
func (p *Peer) Send(b []byte) (int, syscall.Errno) { return sys.Send(int32(p.FD), b, false) }

// MustSend sends all of b and fails the test if it does not fit at once.
func (p *Peer) MustSend(t testing.TB, b []byte) {
	t.Helper()
	if n, e := p.Send(b); e != 0 || n != len(b) {
		t.Fatalf("peer sent %d of %d bytes: %v", n, len(b), e)
	}
}

// Segments returns how many segments with data the peer has received.
func (p *Peer) Segments(t testing.TB) int {
	t.Helper()
	info, err := unix.GetsockoptTCPInfo(p.FD, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Data_segs_in)
}

// CloseWrite ends the peer's half of the connection.
func (p *Peer) CloseWrite() { _ = unix.Shutdown(p.FD, unix.SHUT_WR) }

// Reset closes the peer's end with RST. It is idempotent.
func (p *Peer) Reset() {
	if p.FD >= 0 {
		_ = unix.SetsockoptLinger(p.FD, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	p.Close()
}

// Close closes the peer's end in an orderly way. It is idempotent.
func (p *Peer) Close() {
	if p.FD >= 0 {
		unix.Close(p.FD)
		p.FD = -1
	}
}

// SendAndReset connects to a TCP address, sends b and resets the connection at
// once. It may be called on any goroutine.
func SendAndReset(addr unix.SockaddrInet4, b []byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	if e := sys.SetReset(int32(fd)); e != 0 {
		return fmt.Errorf("linger: %w", e)
	}
	if err := unix.Connect(fd, &addr); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if _, err := unix.Write(fd, b); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}
