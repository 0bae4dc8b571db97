// Command fasthttp serves a directory by a stock fasthttp.Server with the file semantics of
// fserve (ranges, strong validators, If-Range, sidecars), through the engine's
// listener.
//
//	go run ./examples/fasthttp -root . -limit 10MiB/s
package main

import (
	"flag"
	"log"
	"net"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server"
)

func main() {
	root := flag.String("root", ".", "`directory` to serve")
	addr := flag.String("listen", "127.0.0.1:8080", "`address:port`")
	limit := flag.String("limit", "unlimited", "`rate` of each client, as 10MiB/s")
	flag.Parse()
	s, err := newService(*root, *limit)
	if err != nil {
		log.Fatal(err)
	}
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("serving %s on http://%s", *root, ln.Addr())
	log.Fatal(s.serve(ln))
}

// service is a fasthttp server and what it sends by.
type service struct {
	engine *engine.Engine
	files  *server.Handler
	http   *fasthttp.Server
}

func newService(root, limit string) (*service, error) {
	rate, err := shape.ParseRate(limit)
	if err != nil {
		return nil, err
	}
	s := &service{}
	if s.files, err = server.NewHandler(server.Config{Site: server.Site{Root: root, Precompressed: true}}); err != nil {
		return nil, err
	}
	if s.engine, err = engine.New(engine.Config{Limits: &shape.Config{Client: shape.Limit{Rate: rate}}}); err != nil {
		_ = s.files.Close() // the other error says more
		return nil, err
	}
	s.http = &fasthttp.Server{Handler: s.route, StreamRequestBody: true}
	return s, nil
}

// route answers some requests itself and leaves the others to the files.
func (s *service) route(ctx *fasthttp.RequestCtx) {
	switch string(ctx.Path()) {
	case "/healthz":
		ctx.SetBodyString("ok\n")
	default:
		s.files.Serve(ctx)
	}
}

func (s *service) serve(ln net.Listener) error { return s.http.Serve(s.engine.Listener(ln)) }

// close waits for the responses that are under way.
func (s *service) close() error {
	if err := s.http.Shutdown(); err != nil {
		return err
	}
	if err := s.engine.Close(); err != nil {
		return err
	}
	return s.files.Close()
}
