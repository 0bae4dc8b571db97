package engine

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/fserve/fserve/internal/testenv"
)

// TestRequestsDoNotAllocate: once a file is known, a request for it takes no
// memory from the heap, whichever way its bytes go.
func TestRequestsDoNotAllocate(t *testing.T) {
	eachDriver(t, func(t *testing.T, kind DriverKind) {
		e := startEngine(t, kind, Config{})
		for _, size := range []int64{100, 10_000, 100_000, 1 << 20} { // a body, a copy, and from the file itself
			name := fmt.Sprint(size)
			e.file(t, name, size)
			c, request := e.dial(t), []byte(name+"\n")
			get := func(n int) {
				for range n {
					if err := c.get(request, size); err != nil {
						t.Fatal(err)
					}
				}
			}
			get(100) // makes pools and caches
			n := max(100, min(3000, int(200<<20/size)))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			get(n)
			runtime.ReadMemStats(&after)
			// A file is asked about once a second, which takes some; the runtime
			// now and then takes some for itself.
			got := float64(after.Mallocs-before.Mallocs) / float64(n)
			t.Logf("%d requests for %d bytes: %.4f allocations each", n, size, got)
			if got > 0.5 {
				t.Error("a request allocates")
			}
		}
	})
}

// TestIdleConnectionsHoldNoBuffers: what a connection that rests costs is its
// slot, and what it has sent of a request a small buffer.
func TestIdleConnectionsHoldNoBuffers(t *testing.T) {
	const conns = 300
	eachDriver(t, func(t *testing.T, kind DriverKind) {
		e := startEngine(t, kind, Config{})
		e.file(t, "f", 1<<20)
		clients := make([]*client, conns)
		for i := range clients {
			clients[i] = e.dial(t)
			if err := clients[i].get([]byte("f\n"), 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		if bytes, transfers, _ := e.held(t); bytes != 0 || transfers != 0 {
			t.Errorf("%d idle connections hold %d bytes and %d transfers", conns, bytes, transfers)
		}
		for _, c := range clients {
			if _, err := c.Write([]byte("half a request")); err != nil {
				t.Fatal(err)
			}
		}
		testenv.Eventually(patience, func() bool {
			_, _, waiting := e.held(t)
			return waiting == conns
		})
		if bytes, transfers, waiting := e.held(t); waiting != conns || bytes > conns*smallestInput || transfers != 0 {
			t.Errorf("%d connections with half a request, %d seen, hold %d bytes and %d transfers", conns, waiting, bytes, transfers)
		}
	})
}

// held returns what the connections of the first loop hold.
func (e *realEngine) held(t *testing.T) (bytes, transfers, waiting int) {
	t.Helper()
	e.onLoop(t, func(l *Loop) {
		for slot := range l.conns.gens {
			c := l.conns.at(uint32(slot))
			bytes += cap(c.in)
			if c.out != nil {
				transfers++
			}
			if len(c.in) > 0 {
				waiting++
			}
		}
	})
	return bytes, transfers, waiting
}
