package nethttp_test

import (
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/nethttp"
)

func ExampleNew() {
	root, err := os.MkdirTemp("", "example")
	must(err)
	defer os.RemoveAll(root)
	must(os.WriteFile(filepath.Join(root, "hello.txt"), []byte("hello, world"), 0o644))
	files, err := nethttp.New(server.Config{Site: server.Site{Root: root}})
	must(err)
	defer files.Close()

	mux := http.NewServeMux()
	mux.Handle("/files/", http.StripPrefix("/files", files))
	r := httptest.NewRequest(http.MethodGet, "/files/hello.txt", http.NoBody)
	r.Header.Set("Range", "bytes=7-")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("Content-Range"), w.Body)
	// Output: 206 bytes 7-11/12 world
}

// Users have limits of their own, whatever their addresses: what a handler calls the client is what
// a response is counted by.
func ExampleNew_users() {
	root, err := os.MkdirTemp("", "example")
	must(err)
	defer os.RemoveAll(root)
	must(os.WriteFile(filepath.Join(root, "hello.txt"), []byte("hello, world"), 0o644))
	files, err := nethttp.New(server.Config{Site: server.Site{Root: root}})
	must(err)
	defer files.Close()
	e, err := engine.New(engine.Config{Limits: &shape.Config{Client: shape.Limit{Rate: 1e6}}}) // of each user
	must(err)
	defer e.Close()
	must(e.LimitClient("ann", shape.Limit{Rate: 4e6}, time.Hour))

	srv := &http.Server{ConnContext: engine.ConnContext, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _, _ := r.BasicAuth() // and check the password
		if err := engine.SetFlow(r.Context(), engine.Flow{Client: user}); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		files.ServeHTTP(w, r)
	})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go srv.Serve(e.Listener(ln))
	defer srv.Close()

	for _, user := range []string{"ann", "bob"} {
		resp, err := http.Get("http://" + user + ":secret@" + ln.Addr().String() + "/hello.txt")
		must(err)
		resp.Body.Close()
	}
	report, _ := e.LimitsReport(2)
	for _, c := range report.Clients {
		fmt.Println(c.Name, c.Limit, c.Granted > 0)
	}
	// Unordered output:
	// ann 4MB/s true
	// bob 1MB/s true
}

// Files that are in the program (//go:embed static) have ranges and tags as others have.
func ExampleNew_embedded() {
	static, err := fs.Sub(embedded, "testdata/site")
	must(err)
	files, err := nethttp.New(server.Config{Site: server.Site{FS: static}})
	must(err)
	defer files.Close()

	r := httptest.NewRequest(http.MethodGet, "/hello.txt", http.NoBody)
	r.Header.Set("Range", "bytes=7-")
	w := httptest.NewRecorder()
	files.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("Content-Range"), w.Body)
	// Output: 206 bytes 7-11/12 world
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
