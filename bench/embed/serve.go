package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/nethttp"
)

// serve is the server of a run. It writes its address to standard output.
func serve(args []string) error {
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	root := fs.String("root", ".", "`directory`")
	embedded := fs.Bool("engine", false, "send through the engine")
	strict := fs.Bool("nethttp", false, "by server/nethttp instead of http.FileServer")
	limit := fs.Int64("limit", 0, "bytes per second of each client; 0: none")
	if err := fs.Parse(args); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	handler := http.FileServer(http.Dir(*root))
	if *strict {
		if handler, err = nethttp.New(server.Config{Root: *root}); err != nil {
			return err
		}
	}
	switch {
	case *embedded:
		e, err := engine.New(engine.Config{Limits: limits(*limit)})
		if err != nil {
			return err
		}
		ln = e.Listener(ln)
	case *limit > 0:
		handler = &limitedFiles{root: *root, bucket: bucket{rate: float64(*limit)}}
	}
	fmt.Println(ln.Addr())
	return http.Serve(ln, handler)
}

func limits(client int64) *shape.Config {
	if client == 0 {
		return nil
	}
	return &shape.Config{Client: shape.Limit{Rate: shape.Rate(client)}}
}

// limitedFiles limits as is usual in Go: a reader around the file that waits for
// tokens. All connections of the load are of one client, so there is one bucket.
type limitedFiles struct {
	root   string
	bucket bucket
}

func (l *limitedFiles) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, err := os.Open(filepath.Join(l.root, filepath.Clean(r.URL.Path)))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	http.ServeContent(w, r, r.URL.Path, st.ModTime(), &limitedReader{f, &l.bucket})
}

type limitedReader struct {
	io.ReadSeeker
	bucket *bucket
}

func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.ReadSeeker.Read(p)
	l.bucket.wait(n)
	return n, err
}

// bucket is a token bucket as of golang.org/x/time/rate: who takes too much
// waits until it is paid.
type bucket struct {
	rate float64 // bytes per second

	mu     sync.Mutex
	tokens float64
	last   time.Time
}

// burst is 20 ms of the rate, as the engine has.
const burst = 0.02

func (b *bucket) wait(n int) {
	b.mu.Lock()
	now := time.Now()
	b.tokens = min(b.tokens+now.Sub(b.last).Seconds()*b.rate, burst*b.rate) - float64(n)
	b.last = now
	owed := -b.tokens / b.rate
	b.mu.Unlock()
	if owed > 0 {
		time.Sleep(time.Duration(owed * float64(time.Second)))
	}
}
