package testenv

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// RequireNetEnv names the environment variable that makes a test which needs
// network namespaces fail, rather than be skipped, where they cannot be made.
const RequireNetEnv = "FSERVE_REQUIRE_NETNS"

var skippedForNet atomic.Int64

// Addresses in the namespaces of a Line.
const (
	ServerAddr = "10.77.1.1"
	ClientAddr = "10.77.2.1"
)

// Line is a bottleneck of veth pairs between two network namespaces, server and
// client, with a router between them. The capacity is a token bucket filter (tc
// tbf) of the router towards the client, with a queue that drops what does not fit;
// random loss and marks of congestion are rules of the router's packet filter (nft numgen).
// So neither touches the sender's own queue, where a drop would not be a loss but back-pressure.
// Nothing of the host is changed, and all of it is gone when the test ends.
type Line struct {
	t                      testing.TB
	server, router, client *netns
	loss, marks            int // of a million packets
}

// netns is a network namespace and the thread that lives in it.
type netns struct {
	calls chan func()
	done  chan struct{}
	fd    int // of the namespace
}

// NewLine makes a line without limit and loss. The test is skipped, and counted
// (see Main), without CAP_NET_ADMIN or without the commands ip, tc, nft and nsenter.
func NewLine(t testing.TB) *Line {
	t.Helper()
	for _, tool := range []string{"ip", "tc", "nft", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			skipNet(t, "skipped, needs the command "+tool)
		}
	}
	l := &Line{t: t}
	for _, ns := range []**netns{&l.server, &l.router, &l.client} {
		made, err := newNetns()
		if err != nil {
			l.close()
			skipNet(t, fmt.Sprintf("skipped, needs CAP_NET_ADMIN: %v", err))
		}
		*ns = made
	}
	t.Cleanup(l.close)
	l.connect()
	return l
}

func skipNet(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv(RequireNetEnv) == "1" {
		t.Fatalf("%s, and %s=1", reason, RequireNetEnv)
	}
	skippedForNet.Add(1)
	t.Skip(reason)
}

// newNetns starts a thread in a namespace of its own.
func newNetns() (*netns, error) {
	ns := &netns{calls: make(chan func()), done: make(chan struct{}), fd: -1}
	made := make(chan error)
	go ns.live(made)
	if err := <-made; err != nil {
		<-ns.done
		return nil, err
	}
	return ns, nil
}

// live is what the thread runs. The thread ends with it, since a goroutine that
// returns while it is locked ends its thread. The process's first thread would not end,
// and "self" in /proc is that thread, so another thread is used.
func (ns *netns) live(made chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		go ns.live(made)
		<-ns.done
		runtime.UnlockOSThread()
		return
	}
	defer close(ns.done)
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		ns.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	made <- err
	if err != nil {
		return
	}
	for call := range ns.calls {
		call()
	}
}

func (l *Line) close() {
	for _, ns := range []*netns{l.server, l.router, l.client} {
		if ns != nil {
			close(ns.calls)
			<-ns.done
			unix.Close(ns.fd)
		}
	}
}

// path is where commands find the namespace.
func (ns *netns) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.fd) }

// do runs f on the namespace's thread. Sockets that f makes and processes that it
// starts are in the namespace.
func (ns *netns) do(f func()) {
	done := make(chan struct{})
	ns.calls <- func() {
		defer close(done)
		f()
	}
	<-done
}

// run carries out a command in the namespace and fails the test if that fails.
func (l *Line) run(ns *netns, stdin, command string) {
	l.t.Helper()
	var out []byte
	var err error
	ns.do(func() {
		args := strings.Fields(command)
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err = cmd.CombinedOutput()
	})
	if err != nil {
		l.t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// connect makes server - router - client.
func (l *Line) connect() {
	l.t.Helper()
	l.run(l.router, "", "ip link add tosrv type veth peer name eth0 netns "+l.server.path())
	l.run(l.router, "", "ip link add tocli type veth peer name eth0 netns "+l.client.path())
	for _, c := range []struct {
		ns             *netns
		dev, addr, via string
	}{
		{l.server, "eth0", ServerAddr, "10.77.1.2"}, {l.router, "tosrv", "10.77.1.2", ""},
		{l.client, "eth0", ClientAddr, "10.77.2.2"}, {l.router, "tocli", "10.77.2.2", ""},
	} {
		l.run(c.ns, "", "ip link set lo up") // for processes in it to reach each other
		l.run(c.ns, "", fmt.Sprintf("ip addr add %s/24 dev %s", c.addr, c.dev))
		// Packets as they are on a wire: a bucket that holds a few packets cannot
		// pass segments of 64 KiB, and loss would take all of one.
		l.run(c.ns, "", fmt.Sprintf("ip link set %s up gso_max_segs 1", c.dev))
		if c.via != "" {
			l.run(c.ns, "", "ip route add default via "+c.via)
		}
	}
	l.router.do(func() {
		// /proc/sys/net is that of the thread which opens it.
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
			l.t.Errorf("forwarding: %v", err)
		}
	})
}

// SetRate changes the capacity, in bits per second of packets with their
// headers, and the room of the queue in bytes. It takes effect at once and
// keeps what is queued, if it fits.
func (l *Line) SetRate(bits int64, queue int) {
	l.t.Helper()
	l.run(l.router, "", fmt.Sprintf("tc qdisc replace dev tocli root handle 1: tbf rate %dbit burst 4k limit %d", bits, queue))
}

// SetLoss makes the router lose so many of a million packets towards the client
// at random; 0: none.
func (l *Line) SetLoss(perMillion int) {
	l.t.Helper()
	l.loss = perMillion
	l.filter()
}

// SetMarks makes the router mark so many of a million packets towards the client at random as
// having met congestion (CE of RFC 3168), as a queue with active management
// does, if their connection takes part: see UseECN. 0: none.
func (l *Line) SetMarks(perMillion int) {
	l.t.Helper()
	l.marks = perMillion
	l.filter()
}

// filter sets the rules of the router's packet filter.
func (l *Line) filter() {
	l.t.Helper()
	rules := ""
	if l.loss > 0 {
		rules += `oifname "tocli" ` + share(l.loss) + " drop\n"
	}
	if l.marks > 0 {
		rules += `oifname "tocli" ip ecn != not-ect ` + share(l.marks) + " ip ecn set ce\n" //nolint:misspell // nft calls it so
	}
	// The first two lines remove what was there, or nothing.
	l.run(l.router, `table ip line
delete table ip line
table ip line {
	chain forward {
		type filter hook forward priority 0;
		`+rules+`
	}
}
`, "nft -f -")
}

// share matches so many of a million packets at random.
func share(perMillion int) string {
	if perMillion >= 1_000_000 {
		return "" // all packets; nft refuses a rule that says so
	}
	return fmt.Sprintf("numgen random mod 1000000 < %d", perMillion)
}

// UseECN makes both ends ask for explicit congestion notification when they connect.
func (l *Line) UseECN() {
	l.t.Helper()
	for _, ns := range []*netns{l.server, l.client} {
		ns.do(func() {
			if err := os.WriteFile("/proc/sys/net/ipv4/tcp_ecn", []byte("1"), 0); err != nil {
				l.t.Errorf("tcp_ecn: %v", err)
			}
		})
	}
}

// Listen listens in the server's namespace on a free port of ServerAddr.
func (l *Line) Listen() net.Listener {
	l.t.Helper()
	var ln net.Listener
	var err error
	l.server.do(func() { ln, err = net.Listen("tcp", ServerAddr+":0") })
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { ln.Close() })
	return ln
}

// Dial connects from the client's namespace.
func (l *Line) Dial(addr string) (net.Conn, error) {
	var conn net.Conn
	var err error
	l.client.do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		// A dial of one address to one IP makes its socket on this very thread.
		conn, err = new(net.Dialer).DialContext(ctx, "tcp4", addr)
	})
	return conn, err
}

// Command is exec.Command for a process in the server's namespace. It needs the
// command nsenter.
func (l *Line) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=" + l.server.path(), "--", name}, args...)...)
}

// InServer runs f on the thread in the server's namespace. f must not wait
// for another call of the line.
func (l *Line) InServer(f func()) { l.server.do(f) }
