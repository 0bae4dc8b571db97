package engine

import (
	"fmt"
	"runtime"
	"testing"
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
