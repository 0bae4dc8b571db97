package server_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// refuses reports whether new connections are refused.
func (g *rig) refuses() bool {
	conn, err := net.DialTimeout("tcp", g.addr, patience)
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// Shutdown lets running responses finish, closes idle connections, and refuses
// new ones.
func TestShutdownDrains(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		entered, release := make(chan struct{}), make(chan struct{})
		cfg := timeouts()
		cfg.Engine.Loops = 2
		cfg.Routes = []server.Route{{Prefix: "/slow", Blocking: true, Handler: func(ctx *fasthttp.RequestCtx) {
			entered <- struct{}{}
			<-release
			ctx.SetBodyString("done")
		}}}
		g := start(t, d, cfg)
		big := g.pattern("big.bin", 17, 16<<20)
		g.write("f.txt", hello)

		idle := g.dial()
		idle.get("/f.txt").want(t, 200, hello)
		downloading := g.dialWith(16 << 10)
		downloading.send(request("GET", "/big.bin"))
		if _, err := downloading.r.Peek(10_000); err != nil {
			t.Fatal(err)
		}
		waiting := g.dial()
		waiting.send(request("GET", "/slow"))
		<-entered

		ended := make(chan error)
		go func() { ended <- g.srv.Shutdown(context.Background()) }()
		idle.wantEnd()
		if !testenv.Eventually(patience, g.refuses) {
			t.Error("new connections are accepted")
		}
		r := downloading.read(http.MethodGet)
		r.want(t, 200)
		if err := big.Check(r.body, 0); err != nil {
			t.Error(err)
		}
		downloading.wantEnd()
		release <- struct{}{}
		r = waiting.read(http.MethodGet)
		r.want(t, 200, "done")
		waiting.wantEnd()
		if err := <-ended; err != nil {
			t.Errorf("shutdown: %v", err)
		}
		<-g.srv.Done()
		if n := g.ends(engine.Complete); n != 3 {
			t.Errorf("%d complete responses, want 3", n)
		}
	})
}

// The next answer on a connection that is being drained says that it is the last.
func TestShutdownEndsPipeline(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, timeouts())
		g.pattern("big.bin", 18, 16<<20)
		g.write("f.txt", hello)
		c := g.dialWith(16 << 10)
		c.send(request("GET", "/big.bin") + request("GET", "/f.txt") + request("GET", "/f.txt"))
		if _, err := c.r.Peek(10_000); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- g.srv.Shutdown(context.Background()) }()
		if !testenv.Eventually(patience, g.refuses) {
			t.Error("new connections are accepted")
		}
		c.read(http.MethodGet).want(t, 200)
		r := c.read(http.MethodGet)
		r.want(t, 200, hello)
		if !r.closes() {
			t.Error("the answer does not say that it is the last")
		}
		c.conn.Close()
		if err := <-ended; err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
}

// When its time is over, Shutdown cuts off what still runs.
func TestShutdownCutsAfterItsTime(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, timeouts())
		g.pattern("big.bin", 19, 16<<20)
		c := g.dialWith(16 << 10)
		c.send(request("GET", "/big.bin"))
		if _, err := c.r.Peek(10_000); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := g.srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v, want that its time is over", err)
		}
		if n := c.wantReset(); n >= 16<<20 {
			t.Errorf("the client got %d bytes", n)
		}
		g.wantEnds(engine.Aborted, 1)
	})
}

func TestCloseCuts(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, timeouts())
		g.pattern("big.bin", 20, 16<<20)
		g.write("f.txt", hello)
		idle := g.dial()
		idle.get("/f.txt").want(t, 200, hello)
		c := g.dialWith(16 << 10)
		c.send(request("GET", "/big.bin"))
		if _, err := c.r.Peek(10_000); err != nil {
			t.Fatal(err)
		}
		if err := g.srv.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if n := c.wantReset(); n >= 16<<20 {
			t.Errorf("the client got %d bytes", n)
		}
		if !g.refuses() {
			t.Error("new connections are accepted")
		}
	})
}
