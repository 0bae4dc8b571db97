package server_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/server"
)

// A fasthttp.Server of one's own serves files as fserve does.
func ExampleHandler_Serve() {
	root, err := os.MkdirTemp("", "example")
	must(err)
	defer os.RemoveAll(root)
	must(os.WriteFile(filepath.Join(root, "hello.txt"), []byte("hello, world"), 0o644))
	files, err := server.NewHandler(server.Config{Site: server.Site{Root: root}})
	must(err)
	defer files.Close()

	srv := &fasthttp.Server{Handler: files.Serve} // srv.Serve(e.Listener(ln))
	ctx := new(fasthttp.RequestCtx)
	ctx.Request.SetRequestURI("/hello.txt")
	ctx.Request.Header.Set("Range", "bytes=0-4")
	srv.Handler(ctx)
	fmt.Println(ctx.Response.StatusCode(), string(ctx.Response.Body()))
	// Output: 206 hello
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
