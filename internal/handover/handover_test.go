package handover

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/internal/testenv"
)

const patience = 20 * time.Second

// role tells the test binary that it is a successor, and which.
const role = "HANDOVER_TEST_ROLE"

func TestMain(m *testing.M) {
	if r := os.Getenv(role); r != "" {
		os.Exit(successor(r))
	}
	os.Exit(m.Run())
}

// successor is what a started process does.
func successor(role string) int {
	p, sockets, err := Receive()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 10
	case p == nil, os.Getenv(Variable) != "", os.Getenv("LISTEN_FDS") != "":
		return 11
	}
	switch role {
	case "fails":
		p.Failed(fmt.Errorf("no luck"))
		return 12
	case "silent":
		return 13
	case "sibling":
		p.Failed(fmt.Errorf("child of %d", os.Getppid()))
		return 0
	case "hangs":
		time.Sleep(time.Hour)
	}
	if state := p.State(); string(state) != `"first"` {
		return 17
	}
	if err := p.Ready(); err != nil {
		return 14
	}
	<-p.Gone()
	if state := <-p.States(); string(state) != `"last"` {
		return 18
	}
	s, ok := sockets.Claim("a:1")
	if !ok || len(s.FDs) != 2 || !s.Keep || len(sockets) != 0 {
		return 15
	}
	for _, fd := range s.FDs { // each client is told which process has it
		conn, e := sys.Accept4(int32(fd))
		if e != 0 {
			return 16
		}
		unix.Write(int(conn), []byte("successor"))
		unix.Close(int(conn))
	}
	return 0
}

// listening returns the descriptor of a listener, and its address.
func listening(t *testing.T, network, addr string) (int, net.Addr) {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	fd, err := sys.Dup(ln.(syscall.Conn))
	if err != nil {
		t.Fatal(err)
	}
	return fd, ln.Addr()
}

func start(t *testing.T, as string, sockets Sockets) *Successor {
	t.Helper()
	t.Setenv(role, as)
	t.Setenv("LISTEN_FDS", "3")
	s, err := Start(os.Args[0], os.Args[:1], sockets)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.process.Kill()
		<-s.Exited()
	})
	return s
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// A successor gets the sockets with who waits in them, and learns when it is alone.
func TestHandOver(t *testing.T) {
	testenv.LeakCheck(t)
	a, addrA := listening(t, "tcp", "127.0.0.1:0")
	b, addrB := listening(t, "tcp", "127.0.0.1:0")
	sockets := Sockets{{Addr: "a:1", FDs: []int{a, b}, Keep: true}}
	var waiting []net.Conn
	for _, addr := range []net.Addr{addrA, addrB} {
		conn, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		waiting = append(waiting, conn)
	}
	s := start(t, "good", sockets)
	sockets.Close()
	if err := s.Await(within(t, patience), []byte(`"first"`)); err != nil {
		t.Fatal(err)
	}
	if err := s.HandOver([]byte(`"last"`)); err != nil {
		t.Fatal(err)
	}
	for _, conn := range waiting {
		conn.SetDeadline(time.Now().Add(patience))
		buf := make([]byte, 20)
		if n, err := conn.Read(buf); string(buf[:n]) != "successor" {
			t.Errorf("%q %v", buf[:n], err)
		}
	}
	<-s.Exited()
	if s.state.ExitCode() != 0 {
		t.Error(s.state)
	}
}

// A successor that does not get ready has ended, and why is said.
func TestSuccessorFails(t *testing.T) {
	testenv.LeakCheck(t)
	for as, want := range map[string]string{
		"fails":  ": no luck (exit status 12)",
		"silent": ": it has not said that it is ready (exit status 13)",
	} {
		s := start(t, as, nil)
		if err := s.Await(within(t, patience), nil); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", as, err)
		}
	}
	s := start(t, "hangs", nil)
	if err := s.Await(within(t, 200*time.Millisecond), nil); err == nil || !strings.Contains(err.Error(), "deadline exceeded") {
		t.Errorf("hangs: %v", err)
	}
	<-s.Exited()
	if _, err := Start(filepath.Join(t.TempDir(), "none"), []string{"none"}, nil); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v", err)
	}
}

// The successor of a service is a child of the service manager, and its end is
// noticed here all the same.
func TestSuccessorOfService(t *testing.T) {
	testenv.LeakCheck(t)
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
	s := start(t, "sibling", nil)
	want := fmt.Sprintf("process %d: child of %d", s.PID, os.Getppid())
	if err := s.Await(within(t, patience), nil); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	s = start(t, "hangs", nil)
	if err := s.Await(within(t, 200*time.Millisecond), nil); err == nil || !strings.Contains(err.Error(), "deadline exceeded") {
		t.Errorf("hangs: %v", err)
	}
	<-s.Exited()
	if _, err := Start(filepath.Join(t.TempDir(), "none"), []string{"none"}, nil); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v", err)
	}
}

func TestNoPredecessor(t *testing.T) {
	p, sockets, err := Receive()
	if p != nil || sockets != nil || err != nil {
		t.Errorf("%v %v %v", p, sockets, err)
	}
	if err := p.Ready(); err != nil {
		t.Error(err)
	}
	p.Failed(fmt.Errorf("x"))
	<-p.Gone()
	t.Setenv(Variable, "{")
	if _, _, err := Receive(); err == nil {
		t.Error("no error of a broken letter")
	}
}

func TestClaim(t *testing.T) {
	fd, addr := listening(t, "tcp", "127.0.0.1:0")
	path := filepath.Join(t.TempDir(), "s")
	local, _ := listening(t, "unix", path)
	every, everyAddr := listening(t, "tcp", ":0")
	_, port, _ := net.SplitHostPort(everyAddr.String())
	_, lone, _ := net.SplitHostPort(addr.String())
	all := Sockets{{FDs: []int{fd}}, {FDs: []int{local}, Keep: true}, {Addr: "old", FDs: []int{every}}}
	defer all.Close()
	for _, test := range []struct {
		addr string
		fd   int // 0: none
	}{
		{addr.String(), fd}, {"localhost:" + lone, fd}, {":" + lone, 0}, {"127.0.0.2:" + lone, 0}, {"127.0.0.1:1", 0},
		{"unix:" + path, local}, {"unix:" + path + "x", 0}, {"unix:" + addr.String(), 0},
		{":" + port, every}, {"[::]:" + port, every}, {"127.0.0.1:" + port, 0}, {"old", every}, {"", 0}, {"no address", 0},
	} {
		left := slices.Clone(all)
		s, ok := left.Claim(test.addr)
		switch {
		case test.fd == 0 && (ok || len(left) != len(all)):
			t.Errorf("%q: %+v", test.addr, s)
		case test.fd != 0 && (!ok || s.FDs[0] != test.fd || len(s.FDs) != 1 || s.Addr != test.addr || len(left) != len(all)-1):
			t.Errorf("%q: %+v %v, left %v", test.addr, s, ok, left)
		}
	}
	if n := all.Names(); len(n) != 3 || !slices.Contains(n, "unix:"+path) || !slices.Contains(n, addr.String()) {
		t.Errorf("%q", n)
	}
}

func TestProgram(t *testing.T) {
	if p, err := Program(func(string) (string, error) { return "/x", nil }); p != "/x" || err != nil {
		t.Errorf("%q %v", p, err)
	}
	self, _ := os.Executable()
	if p, err := Program(func(string) (string, error) { return "", exec.ErrNotFound }); p != self || err != nil {
		t.Errorf("%q %v", p, err)
	}
}
