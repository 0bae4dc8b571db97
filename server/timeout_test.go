package server_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/server"
)

// soon is a time-out that a test waits for, never is one that it must not meet.
const (
	soon  = 100 * time.Millisecond
	never = 10 * time.Minute
)

// timeouts returns a configuration in which nothing times out.
func timeouts() server.Config {
	return server.Config{Engine: engine.Config{
		HeaderTimeout: never, IdleTimeout: never, SendTimeout: never, LingerTimeout: never,
	}}
}

// promptly returns a connection on which raw was sent well before soon was over.
// Where the machine was too slow for that it tries again: the server may have given
// the connection up before a byte of it came. late is how often it has done so.
func (g *rig) promptly(raw string) (c *client, late uint64) {
	g.t.Helper()
	for {
		begin := time.Now()
		c := g.dial()
		c.send(raw)
		if time.Since(begin) < soon/2 {
			return c, late
		}
		if err := c.conn.CloseWrite(); err != nil {
			g.t.Error(err)
		}
		said, err := io.ReadAll(c.r)
		if err != nil {
			g.t.Error(err)
		}
		late += uint64(bytes.Count(said, []byte("HTTP/1.1 408 ")))
		c.conn.Close()
	}
}

// The first request of a connection, or a later one, does not arrive whole.
func TestHeaderTimeout(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := timeouts()
		cfg.Engine.HeaderTimeout = soon
		g := start(t, d, cfg)
		g.write("f.txt", hello)
		want := uint64(6)
		for _, before := range []string{"", request("GET", "/f.txt")} {
			for _, part := range []string{"G", "GET /f.txt HTTP/1.1\r\n", "GET /f.txt HTTP/1.1\r\nHost: h\r\n\r"} {
				c, late := g.promptly(before + part)
				want += late
				if before != "" {
					c.read(http.MethodGet).want(t, 200, hello)
				}
				r := c.read(http.MethodGet)
				r.want(t, 408, "408 Request Timeout\n")
				if !r.closes() {
					t.Error("the connection goes on")
				}
				c.wantEnd()
				c.conn.Close()
			}
		}
		if n := g.stats(func(s *loop.Stats) uint64 { return s.HeaderTimeouts }); n != want {
			t.Errorf("%d header time-outs, want %d", n, want)
		}
		g.wantOpen(0)
	})
}

// A client that keeps sending a byte now and then does not put the end off.
func TestTricklingRequestTimesOut(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := timeouts()
		cfg.Engine.HeaderTimeout = soon
		g := start(t, d, cfg)
		c := g.dial()
		c.send("GET / HTTP/1.1\r\nHost: h\r\nX: ")
		stop := make(chan struct{})
		trickled := make(chan struct{})
		go func() {
			defer close(trickled)
			tick := time.NewTicker(soon / 10)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
				case <-stop:
					return
				}
				if _, err := c.conn.Write([]byte("x")); err != nil {
					return
				}
			}
		}()
		c.read(http.MethodGet).want(t, 408)
		close(stop)
		<-trickled
	})
}

func TestIdleTimeout(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := timeouts()
		cfg.Engine.IdleTimeout = soon
		g := start(t, d, cfg)
		g.write("f.txt", hello)
		c := g.dial()
		c.get("/f.txt").want(t, 200, hello)
		c.wantEnd() // without an answer to nothing
		g.wantOpen(0)
	})
}

// A body that a handler waits for does not arrive.
func TestBodyTimeout(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := timeouts()
		cfg.BodyTimeout = soon
		called := false
		cfg.Routes = []server.Route{{Prefix: "/up", Handler: func(*fasthttp.RequestCtx) { called = true }}}
		g := start(t, d, cfg)
		for _, part := range []string{"", "12345"} {
			c := g.dial()
			c.send(request("POST", "/up", "Content-Length: 10") + part)
			c.read("POST").want(t, 408)
			c.wantEnd()
			c.conn.Close()
		}
		g.wantOpen(0)
		if called {
			t.Error("the handler was called")
		}
	})
}

// A reader that stops is cut off, by a reset, in the middle of a body from a
// file or from memory; one that reads slowly is not.
func TestSendTimeout(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := timeouts()
		cfg.Engine.SendTimeout = time.Second
		cfg.Routes = []server.Route{{Prefix: "/memory", Handler: func(ctx *fasthttp.RequestCtx) {
			ctx.Response.SetBodyRaw(make([]byte, 32<<20))
		}}}
		g := start(t, d, cfg)
		const size = 32 << 20
		big := g.pattern("big.bin", 14, size)

		slow := g.dialWith(16 << 10)
		slow.send(request("GET", "/big.bin", "Range: bytes=0-4194303"))
		read := make(chan *response)
		go func() {
			slow.r.Reset(&pausingReader{r: slow.conn})
			r, err := readResponse(slow.r, http.MethodGet)
			if err != nil {
				t.Errorf("slow reader: %v", err)
			}
			read <- r
		}()
		for _, target := range []string{"/big.bin", "/memory"} {
			c := g.dialWith(16 << 10)
			c.send(request("GET", target))
			if _, err := c.r.Peek(1); err != nil {
				t.Fatal(err)
			}
		}
		g.wantEnds(engine.TimedOut, 2)
		if r := <-read; r != nil {
			r.want(t, 206)
			if err := big.Check(r.body, 0); err != nil {
				t.Error(err)
			}
		}
		slow.conn.Close()
		g.wantOpen(0)
		if n := g.stats(func(s *loop.Stats) uint64 { return s.SendTimeouts }); n != 2 {
			t.Errorf("%d send time-outs, want 2", n)
		}
	})
}

// pausingReader reads 256 KiB, then rests, for longer than the time-out in all
// but never for as long at a time.
type pausingReader struct {
	r    io.Reader
	left int
}

func (p *pausingReader) Read(b []byte) (int, error) {
	if p.left <= 0 {
		time.Sleep(80 * time.Millisecond) // this is what the test is about
		p.left = 256 << 10
	}
	n, err := p.r.Read(b[:min(len(b), p.left)])
	p.left -= n
	return n, err
}

// After a refusal the server waits for the client to end, but not for ever.
func TestLingerTimeout(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := timeouts()
		cfg.Engine.LingerTimeout = soon
		g := start(t, d, cfg)
		c := g.dial()
		c.send("nonsense\r\n\r\n")
		c.read(http.MethodGet).want(t, 400)
		c.wantEnd()
		g.wantOpen(0) // although the client has not closed
	})
}

// A large request is refused while it is still being sent: the answer is not
// lost to a reset.
func TestAnswerSurvivesUploadInProgress(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := timeouts()
		cfg.Engine.LingerTimeout = patience
		g := start(t, d, cfg)
		body := make([]byte, 8<<20)
		for range 5 {
			c := g.dial()
			sent := make(chan error)
			go func() {
				_, err := c.conn.Write(append([]byte(request("POST", "/f.txt", "Content-Length: 8388608")), body...))
				sent <- err
			}()
			r := c.read("POST")
			r.want(t, 405)
			if !r.closes() {
				t.Error("the connection goes on")
			}
			if err := <-sent; err != nil {
				t.Errorf("upload: %v", err)
			}
			c.wantEnd()
			c.conn.Close()
		}
	})
}
