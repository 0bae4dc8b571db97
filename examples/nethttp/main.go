// Command nethttp serves a directory by net/http, through the engine's listener: files go
// from the page cache to the network without being copied, cold ones occupy no
// threads, and each client gets so many bytes per second, however many connections it has.
//
//	go run ./examples/nethttp -root . -limit 10MiB/s
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
)

func main() {
	root := flag.String("root", ".", "`directory` to serve")
	addr := flag.String("listen", "127.0.0.1:8080", "`address:port`")
	limit := flag.String("limit", "unlimited", "`rate` of each client, as 10MiB/s")
	flag.Parse()
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("serving %s on http://%s", *root, ln.Addr())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = serve(ctx, ln, *root, *limit)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// serve serves root on ln until ctx ends.
func serve(ctx context.Context, ln net.Listener, root, limit string) error {
	rate, err := shape.ParseRate(limit)
	if err != nil {
		return err
	}
	e, err := engine.New(engine.Config{Limits: &shape.Config{Client: shape.Limit{Rate: rate}}})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	srv := &http.Server{Handler: http.FileServer(http.Dir(root)), ReadHeaderTimeout: 10 * time.Second}
	// The one line: without the engine it is srv.Serve(ln).
	go func() { ended <- srv.Serve(e.Listener(ln)) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		err = srv.Shutdown(soon) // what is left then is cut
	}
	return errors.Join(err, srv.Close(), e.Close())
}
