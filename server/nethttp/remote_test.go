package nethttp_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// TestRemoteFiles: requests for files of a file system that hangs take a bounded number of
// threads, and are answered in full when it goes on.
func TestRemoteFiles(t *testing.T) {
	const requests = 200
	root, backing := t.TempDir(), t.TempDir()
	at := filepath.Join(root, "slow")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	p := testenv.NewPattern(4)
	const size = 300_000
	for i := range requests { // one each: the kernel opens none anew of which pages are being read
		if err := os.WriteFile(filepath.Join(backing, fmt.Sprint(i)), p.Bytes(0, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	slow := testenv.NewSlowFS(t, backing, at)
	url := serve(t, handler(t, server.Config{Site: server.Site{Root: root}}))
	slow.Delay("read", time.Hour)
	threads := pprof.Lookup("threadcreate").Count()
	done := make(chan error, requests)
	for i := range requests {
		go func() {
			res, err := http.Get(url + "/slow/" + fmt.Sprint(i))
			if err != nil {
				done <- err
				return
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err == nil && len(body) != size {
				err = io.ErrUnexpectedEOF
			}
			if err == nil {
				err = p.Check(body, 0)
			}
			done <- err
		}()
	}
	if !testenv.Eventually(20*time.Second, func() bool { n, _ := slow.Calls("open"); return n == requests }) {
		t.Error("not all requests have opened the file")
	}
	if n := pprof.Lookup("threadcreate").Count() - threads; n > 120 {
		t.Errorf("%d threads were made", n)
	}
	slow.Delay("read", 0)
	for range requests {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}
