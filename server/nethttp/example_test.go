package nethttp_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

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
