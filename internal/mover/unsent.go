package mover

import (
	"os"
	"strconv"
	"strings"
	"sync"
)

const (
	// A peer is fast if it takes FastAfter bytes at fastRate bytes per second or
	// more, with at least as much to follow. What FastBuffer holds is then sent within
	// a quarter of a second, and there cannot be many such peers.
	FastAfter = 1 << 20
	fastRate  = 16 << 20

	// FastBuffer is the send buffer of a connection to a fast peer, in bytes. The
	// fewer sends a file takes the cheaper it is, above all with BBR, which
	// paces each; see docs/decisions/send-buffer.md.
	FastBuffer = 4 << 20
)

// MayBuffer reports whether the system allows for a send buffer that is not below
// what the kernel would choose by itself: asking for one ends that.
var MayBuffer = sync.OnceValue(func() bool {
	allowed := number("/proc/sys/net/core/wmem_max", 0)
	return allowed > 0 && 2*min(allowed, FastBuffer) >= number("/proc/sys/net/ipv4/tcp_wmem", 2)
})

// number returns the i-th number in a file of the kernel, 0 if there is none.
func number(file string, i int) int64 {
	b, err := os.ReadFile(file)
	fields := strings.Fields(string(b))
	if err != nil || i >= len(fields) {
		return 0
	}
	n, _ := strconv.ParseInt(fields[i], 10, 64)
	return n
}

// IsFast reports whether a peer is that has taken so many bytes in so many ns.
func IsFast(moved, took int64) bool { return moved >= took/1000*fastRate/1e6 }

// MinUnsent is what the kernel may hold of a shaped connection without having sent it,
// in bytes, if two grants are not more. The more there is, the later a lower rate is felt.
const MinUnsent = 32 << 10
