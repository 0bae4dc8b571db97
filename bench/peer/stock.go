package peer

import (
	"flag"
	"net/http"

	"github.com/valyala/fasthttp"
)

// stockMain serves a directory as the library's own documentation would.
func stockMain(kind Kind, args []string) error {
	fs := flag.NewFlagSet(string(kind), flag.ContinueOnError)
	addr := fs.String("addr", "127.0.0.1:8080", "`address:port` to listen on")
	root := fs.String("root", ".", "`directory` to serve")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if kind == NetHTTP {
		return http.ListenAndServe(*addr, http.FileServer(http.Dir(*root)))
	}
	files := &fasthttp.FS{Root: *root, AcceptByteRange: true}
	return fasthttp.ListenAndServe(*addr, files.NewRequestHandler())
}
