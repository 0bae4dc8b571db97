package server_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// Ten thousand ranges of every size, over many connections and loops at once:
// each byte is the right one.
func TestRandomRanges(t *testing.T) {
	seed := testenv.Seed(t)
	conns, each := 64, 157
	if testing.Short() {
		each = 16
	}
	for name, mode := range map[string]engine.ZeroCopy{
		"auto": engine.ZeroCopyAuto, "splice": engine.ZeroCopySplice, "copy": engine.ZeroCopyCopy,
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, d engine.DriverKind) {
				cfg := server.Config{Engine: engine.Config{Loops: 2, ZeroCopy: mode}}
				g := start(t, d, cfg)
				const size = 8<<20 + 4321
				big := g.pattern("big.bin", seed, size)
				var all sync.WaitGroup
				for i := range conns {
					c := g.dialWith([]int{0, 8 << 10}[i%2])
					all.Add(1)
					go func() {
						defer all.Done()
						c.randomRanges(rand.New(rand.NewPCG(seed, uint64(i))), big, size, each)
					}()
				}
				all.Wait()
			})
		})
	}
}

// randomRanges asks for n ranges of a file of size bytes, some of them pipelined.
func (c *client) randomRanges(rnd *rand.Rand, want testenv.Pattern, size int64, n int) {
	for n > 0 {
		batch := min(n, 1+rnd.IntN(4))
		n -= batch
		var raw string
		spans := make([][2]int64, batch)
		for i := range spans {
			off := rnd.Int64N(size)
			// Most ranges are small, a few are as long as the file.
			length := min(size-off, 1+rnd.Int64N(1<<(1+rnd.IntN(18))))
			spans[i] = [2]int64{off, off + length}
			raw += request("GET", "/big.bin", fmt.Sprintf("Range: bytes=%d-%d", off, off+length-1))
		}
		c.patient()
		if _, err := c.conn.Write([]byte(raw)); err != nil {
			c.t.Errorf("send: %v", err)
			return
		}
		for _, s := range spans {
			r, err := readResponse(c.r, http.MethodGet)
			if err == nil && r.status != http.StatusPartialContent {
				err = fmt.Errorf("status %d", r.status)
			}
			if err == nil {
				err = want.Check(r.body, s[0])
			}
			if err != nil || int64(len(r.body)) != s[1]-s[0] {
				c.t.Errorf("range %v: %v", s, err)
				return
			}
		}
	}
}
