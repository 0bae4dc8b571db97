package difftest

import (
	"sync"
	"testing"

	"github.com/fserve/fserve/engine"
)

// TestConcurrentRanges asks for several ranges on several connections at once:
// each multipart body must be of its own response.
func TestConcurrentRanges(t *testing.T) {
	const want = `[bytes 0-1/20: "01"], [bytes 5-6/20: "56"]`
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		addr := serve(t, d, makeSite(t), 1)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 300 {
					q := request{raw: "GET /f.txt HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1,5-6\r\n\r\n"}
					a, err := exchange(addr, &q)
					if err != nil || len(a.responses) != 1 || a.responses[0].content() != want {
						t.Errorf("%v: %+v", err, a)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}
