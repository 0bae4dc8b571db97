package listen

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func open(t *testing.T, loops int, addrs ...string) (*Set, error) {
	t.Helper()
	s, err := Open(Config{Addrs: addrs}, loops)
	if err == nil {
		t.Cleanup(func() {
			for i := range loops {
				CloseAll(s.Row(i))
			}
		})
	}
	return s, err
}

func mustOpen(t *testing.T, loops int, addrs ...string) *Set {
	t.Helper()
	s, err := open(t, loops, addrs...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func dials(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func at(host string, port int) string { return net.JoinHostPort(host, fmt.Sprint(port)) }

// Who comes second at an address is refused, whatever it is for, and so is who would
// get some of its connections.
func TestAddressInUse(t *testing.T) {
	inUse := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: %v", what, err)
		}
	}
	first := mustOpen(t, 2, "127.0.0.1:0").Addrs()[0].(*net.TCPAddr)
	for _, addr := range []string{first.String(), at("0.0.0.0", first.Port), at("", first.Port)} {
		_, err := open(t, 2, addr)
		inUse("loops at "+addr, err)
		_, err = Listener(addr, Config{})
		inUse("a listener at "+addr, err)
	}
	second, err := Listener("127.0.0.1:0", Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	_, err = open(t, 2, second.Addr().String())
	inUse("loops at a listener's", err)
}

// Although the first socket is bound alone, each gets its share.
func TestSocketsShareTheirAddress(t *testing.T) {
	const loops, clients = 4, 200
	s := mustOpen(t, loops, "127.0.0.1:0")
	for range clients {
		if !dials(s.Addrs()[0].String()) {
			t.Fatal("no connection")
		}
	}
	for i := range loops {
		n := 0
		for {
			fd, _, err := unix.Accept4(s.Row(i)[0].FD, unix.SOCK_CLOEXEC)
			if err != nil {
				break
			}
			unix.Close(fd)
			n++
		}
		if n == 0 {
			t.Errorf("loop %d has none of %d connections", i, clients)
		}
	}
}

// 0.0.0.0 is IPv4 alone; [::] and no host are both protocols, but where 0.0.0.0 is there too
// [::] is IPv6 alone.
func TestProtocols(t *testing.T) {
	if ln, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		t.Skipf("no IPv6: %v", err)
	} else {
		ln.Close()
	}
	for host, want := range map[string][2]bool{"0.0.0.0": {true, false}, "::": {true, true}, "": {true, true}} {
		loops := mustOpen(t, 2, at(host, 0)).Addrs()[0].(*net.TCPAddr)
		ln, err := Listener(at(host, 0), Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		for _, a := range []*net.TCPAddr{loops, ln.Addr().(*net.TCPAddr)} {
			if got := [2]bool{dials(at("127.0.0.1", a.Port)), dials(at("::1", a.Port))}; got != want {
				t.Errorf("host %q: IPv4 and IPv6 answer: %v, want %v", host, got, want)
			}
			if v4 := a.IP.To4() != nil; v4 != (host == "0.0.0.0") {
				t.Errorf("host %q is bound to %v", host, a)
			}
		}
	}
	if addrs := openTogether(t, "0.0.0.0", "::"); !dials(addrs[0]) || !dials(addrs[1]) {
		t.Error("not both of 0.0.0.0 and [::] answer")
	}
}

// A set may have addresses that are parts of others of it, not one twice.
func TestOverlap(t *testing.T) {
	for _, hosts := range [][]string{{"0.0.0.0", "127.0.0.1"}, {"127.0.0.1", "0.0.0.0"}, {"", "127.0.0.1"}} {
		for _, addr := range openTogether(t, hosts...) {
			if !dials(addr) {
				t.Errorf("%q: nobody at %s", hosts, addr)
			}
		}
	}
	if _, err := open(t, 1, "127.0.0.1:80", "127.0.0.1:80"); err == nil {
		t.Error("one address twice")
	}
}

// openTogether opens one set at several hosts and one port, and returns where they answer.
func openTogether(t *testing.T, hosts ...string) []string {
	t.Helper()
	for try := 0; ; try++ { // another process may take the port
		free := mustOpen(t, 1, "127.0.0.1:0")
		port := free.Addrs()[0].(*net.TCPAddr).Port
		CloseAll(free.Row(0))
		free.rows[0] = nil
		var addrs, reached []string
		for _, h := range hosts {
			addrs = append(addrs, at(h, port))
			reached = append(reached, at(map[string]string{"::": "::1", "": "127.0.0.1", "0.0.0.0": "127.0.0.1", "127.0.0.1": "127.0.0.1"}[h], port))
		}
		_, err := open(t, 2, addrs...)
		switch {
		case err == nil:
			return reached
		case !errors.Is(err, syscall.EADDRINUSE) || try == 10:
			t.Fatal(err)
		}
	}
}
