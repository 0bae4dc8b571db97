package aiosim

import (
	"bytes"
	"runtime"
	"strconv"
	"sync/atomic"
	"unsafe"
)

// goroutineID returns the number of the calling goroutine, which the runtime
// tells only as text; that takes some microseconds.
func goroutineID() uint64 {
	var buf [40]byte
	s := buf[:runtime.Stack(buf[:], false)]
	s = bytes.TrimPrefix(s, []byte("goroutine "))
	s, _, _ = bytes.Cut(s, []byte(" "))
	n, _ := strconv.ParseUint(string(s), 10, 64)
	return n
}

// seenAt remembers for addresses of stack frames which goroutine was found
// there. As long as a goroutine's stack is not moved nobody else has a frame at
// its addresses, so that the same call of a loop is asked about only once.
var seenAt [1 << 10]atomic.Uint64

// onGoroutine reports whether the caller runs on goroutine id. It never denies
// what is true; it may overlook a goroutine that got the memory of a stack
// that was moved.
func onGoroutine(id uint64) bool {
	var here byte
	sp := uint64(uintptr(unsafe.Pointer(&here)))
	mark := (sp ^ id<<48) * hashPrime
	seen := &seenAt[mark>>54]
	if seen.Load() == mark {
		return true
	}
	if goroutineID() != id {
		return false
	}
	seen.Store(mark)
	return true
}
