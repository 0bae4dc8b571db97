package server_test

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server"
)

// Files may be as long as an offset goes. Their ends are holes that nobody has to store.
func TestHugeFiles(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		for _, zero := range []engine.ZeroCopy{engine.ZeroCopyAuto, engine.ZeroCopySendfile, engine.ZeroCopySplice, engine.ZeroCopyCopy} {
			for _, limited := range []bool{false, true} {
				cfg := server.Config{Site: server.Site{Root: hugeRoot(t), Listing: true}}
				if cfg.Engine.ZeroCopy = zero; limited {
					cfg.Engine.Limits = &shape.Config{Global: shape.Limit{Rate: 1 << 30}}
				}
				g := serve(t, d, cfg)
				for _, size := range hugeSizes {
					g.askHuge(size)
				}
				g.once(http.MethodGet, "/").want(t, 200)
				if err := g.srv.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// Those around which sums of the size, a page, a window or a head pass the greatest int64.
var hugeSizes = []int64{math.MaxInt64, math.MaxInt64 - 1, math.MaxInt64 - 4095, math.MaxInt64 - 1<<20, 1<<62 + 1}

// hugeRoot makes a directory with a file of each of the sizes.
func hugeRoot(t *testing.T) string {
	root, err := os.MkdirTemp("/dev/shm", "huge")
	if err != nil {
		t.Skipf("no file system for files of that size: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	for _, size := range hugeSizes {
		path := filepath.Join(root, fmt.Sprint(size))
		writeFile(t, path, []byte(hello))
		if err := os.Truncate(path, size); err != nil {
			t.Skip(err)
		}
		age(t, path)
	}
	return root
}

func (g *rig) askHuge(size int64) {
	g.t.Helper()
	target := fmt.Sprintf("/%d", size)
	c := g.dial()
	c.get(target, "Range: bytes=0-9").want(g.t, 206, hello[:10])
	for _, field := range []string{"Range: bytes=-10", fmt.Sprintf("Range: bytes=%d-", size-10), fmt.Sprintf("Range: bytes=%d-%d", size-10, math.MaxInt64)} {
		r := c.get(target, field)
		r.want(g.t, 206, string(make([]byte, 10)))
		r.wantField(g.t, "Content-Range", fmt.Sprintf("bytes %d-%d/%d", size-10, size-1, size))
	}
	if r := c.get(target, "Range: bytes=0-1,-2"); r.status != 206 || len(r.body) < 4 {
		g.t.Errorf("%s: several ranges: %d, %d bytes", target, r.status, len(r.body))
	}
	c.get(target, fmt.Sprintf("Range: bytes=%d-", size)).want(g.t, 416)
	c.do(http.MethodHead, target).wantField(g.t, "Content-Length", fmt.Sprint(size))
	for _, fields := range [][]string{nil, {"Range: bytes=1-"}, {"Range: bytes=0-,0-"}} {
		long := g.dial()
		long.send(request("GET", target, fields...))
		if n, err := io.CopyN(io.Discard, long.r, 3<<20); err != nil {
			g.t.Errorf("%s %q: %d bytes, %v", target, fields, n, err)
		}
		long.conn.Close()
	}
	c.conn.Close()
}
