package peer

import (
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"golang.org/x/time/rate"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/nethttp"
)

// embedMain is the subcommand "embed": a server of net/http, with the engine inside it
// or without.
func embedMain(args []string) error {
	fs := flag.NewFlagSet(string(Embed), flag.ContinueOnError)
	addr := fs.String("addr", "127.0.0.1:8080", "`address:port` to listen on")
	root := fs.String("root", ".", "`directory`")
	embedded := fs.Bool("engine", false, "send through the engine")
	strict := fs.Bool("nethttp", false, "by server/nethttp instead of http.FileServer")
	limit := fs.Int64("limit", 0, "bytes per second of each client; 0: none")
	if err := fs.Parse(args); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	handler := http.FileServer(http.Dir(*root))
	if *strict {
		if handler, err = nethttp.New(server.Config{Site: server.Site{Root: *root}}); err != nil {
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
		handler = newLimitedFiles(*root, *limit)
	}
	return http.Serve(ln, handler)
}

func limits(client int64) *shape.Config {
	if client == 0 {
		return nil
	}
	return &shape.Config{Client: shape.Limit{Rate: shape.Rate(client)}}
}

// limitedFiles limits as is usual in Go: http.ServeContent of a reader around the
// file that waits, after each read of 32 KiB (the buffer of io.Copy), for tokens of a
// rate.Limiter. All connections of the load are of one client, so there is one. Its
// burst is 20 ms of the rate, as the engine has.
type limitedFiles struct {
	root    string
	limiter *rate.Limiter
}

// newLimitedFiles limits to so many bytes per second.
func newLimitedFiles(root string, limit int64) *limitedFiles {
	return &limitedFiles{root, rate.NewLimiter(rate.Limit(limit), max(copyBuffer, int(limit/50)))}
}

// copyBuffer is what net/http copies at a time, in bytes. The burst of a Limiter
// must not be below what is waited for at once.
const copyBuffer = 32 << 10

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
	http.ServeContent(w, r, r.URL.Path, st.ModTime(), &limitedReader{f, r, l.limiter})
}

type limitedReader struct {
	io.ReadSeeker
	request *http.Request
	limiter *rate.Limiter
}

func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.ReadSeeker.Read(p)
	if n > 0 {
		if e := l.limiter.WaitN(l.request.Context(), n); e != nil {
			return n, e
		}
	}
	return n, err
}
