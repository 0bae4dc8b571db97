package engine

import (
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// A peer is fast if it takes fastAfter bytes at fastRate bytes per second or
	// more, with at least as much to follow. What fastBuffer holds is then sent within
	// a quarter of a second, and there cannot be many such peers.
	fastAfter = 1 << 20
	fastRate  = 16 << 20

	// fastBuffer is the send buffer of a connection to a fast peer, in bytes. The
	// fewer sends a file takes the cheaper it is, above all with BBR, which
	// paces each; see ARCHITECTURE.md.
	fastBuffer = 4 << 20
)

// mayBuffer reports whether the system allows for a send buffer that is not below
// what the kernel would choose by itself: asking for one ends that.
var mayBuffer = sync.OnceValue(func() bool {
	allowed := sysctl("net/core/wmem_max", 0)
	return allowed > 0 && 2*min(allowed, fastBuffer) >= sysctl("net/ipv4/tcp_wmem", 2)
})

// sysctl returns the i-th number of a setting of the kernel, 0 if there is none.
func sysctl(name string, i int) int64 {
	b, err := os.ReadFile("/proc/sys/" + name)
	fields := strings.Fields(string(b))
	if err != nil || i >= len(fields) {
		return 0
	}
	n, err := strconv.ParseInt(fields[i], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// isFast reports whether a peer is that has taken so many bytes in so many ns.
func isFast(moved, took int64) bool { return moved >= took/1000*fastRate/1e6 }

// enlarge gives a paced connection a larger send buffer, once, if its peer is fast,
// nothing limits it, and there is as much to come.
func (l *Loop) enlarge(c *Conn, t *transfer) {
	if c.buffered || c.lowat || !c.paced || t.left < fastAfter {
		return
	}
	moved := t.outcome.Total()
	if moved < fastAfter {
		return
	}
	c.buffered = true // or found slow
	if isFast(moved, l.now-t.outcome.Start) && mayBuffer() {
		l.sendBuffer(c.fd, fastBuffer)
	}
}

// speed gives the connection a larger send buffer, once, if its peer is fast and
// nothing has limited it.
func (c *guestConn) speed(s *sender, sock int32) {
	moved := s.out.Total()
	if c.buffered || c.lowat || moved < fastAfter {
		return
	}
	c.buffered = true // or found slow
	if !isFast(moved, s.mover.Now-s.out.Start) || !mayBuffer() {
		return
	}
	_ = unix.SetsockoptInt(int(sock), unix.SOL_SOCKET, unix.SO_SNDBUF, fastBuffer) // as it was, then
}
