package listen

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/sys"
)

// A Listener is one of plain TCP with the congestion control that is asked
// for, also if its socket was inherited.
func TestListener(t *testing.T) {
	check := func(ln net.Listener, err error) net.Listener {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		fd, err := sys.Dup(ln.(*net.TCPListener))
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		if err != nil || protocol != unix.IPPROTO_TCP {
			t.Errorf("protocol %d, %v", protocol, err)
		}
		name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		if err != nil || name != "reno" {
			t.Errorf("congestion control %q, %v", name, err)
		}
		return ln
	}
	first := check(Listener("127.0.0.1:0", Config{Tuning: Tuning{Congestion: "reno"}}))
	addr := first.Addr().String()
	inherited := func() Sockets {
		fd, err := sys.Dup(first.(*net.TCPListener))
		if err != nil {
			t.Fatal(err)
		}
		return Sockets{addr: {FDs: []int{fd}}}
	}
	check(Listener(addr, Config{Tuning: Tuning{Congestion: "reno"}, Inherit: inherited()}))
	for _, from := range []Sockets{nil, inherited()} {
		at := addr
		if from == nil {
			at = "127.0.0.1:0"
		}
		if _, err := Listener(at, Config{Tuning: Tuning{Congestion: "no-such"}, Inherit: from}); err == nil || !strings.Contains(err.Error(), `"no-such"`) {
			t.Errorf("an unknown one, inherited %v: %v", from != nil, err)
		}
	}
}

// A Unix socket has the mode that is asked for before anybody can connect, stands in
// place of one that nobody answers on, and takes its file with it.
func TestListenerUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	cfg := Config{UnixMode: 0o600}
	first, err := Listener(UnixPrefix+path, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("socket file: %v, %v", info.Mode(), err)
	}
	if _, err := Listener(UnixPrefix+path, cfg); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second one: %v", err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // as a process that was killed leaves it
	first.Close()
	second, err := Listener(UnixPrefix+path, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket file is left: %v", err)
	}
}
