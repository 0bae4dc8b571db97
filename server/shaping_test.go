package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/config"
)

// Clients of these tests are at this address.
const loopback shape.ClientID = "127.0.0.1"

var paused = shape.Limit{Rate: shape.Paused}

// shaped returns a configuration with limits in which nothing times out.
func shaped(limits shape.Config) server.Config {
	cfg := timeouts()
	cfg.Engine.Limits = &limits
	return cfg
}

// allowance is what a limit lets pass; a slow machine only makes it larger.
type allowance struct {
	t     *testing.T
	limit shape.Limit
	begun time.Time
}

func allow(t *testing.T, l shape.Limit) *allowance { return &allowance{t, l, time.Now()} }

// want fails the test if n bytes are more than may have passed by now.
func (a *allowance) want(n int64) {
	a.t.Helper()
	took := time.Since(a.begun)
	if most := int64(took.Seconds()*float64(a.limit.Rate)) + a.limit.Burst; n > most {
		a.t.Errorf("%d bytes in %v, the limit allows for %d", n, took, most)
	}
}

// report returns what the limits are doing.
func (g *rig) report() shape.Report {
	r, _ := g.srv.Engine().LimitsReport(10)
	return r
}

// wantFlows fails the test unless the number of responses in the tree becomes n.
func (g *rig) wantFlows(n int) {
	g.t.Helper()
	if !testenv.Eventually(patience, func() bool { return g.report().Flows == n }) {
		g.t.Errorf("%d responses are in the tree of limits, want %d", g.report().Flows, n)
	}
}

// wantWaiting fails the test unless the number of responses that wait becomes n.
func (g *rig) wantWaiting(n int) {
	g.t.Helper()
	waiting := func() int { return int(g.stats(func(s *loop.Stats) uint64 { return uint64(s.Waiting) })) }
	if !testenv.Eventually(patience, func() bool { return waiting() == n }) {
		g.t.Errorf("%d responses wait, want %d", waiting(), n)
	}
}

// via returns the bytes of responses that went by a way.
func (g *rig) via(v aio.Via) uint64 {
	return g.stats(func(s *loop.Stats) uint64 { return s.Driver.Bytes[v] })
}

// Every way of sending sends the right bytes under a limit whose burst is far below a
// chunk, no faster than that, and by the way that it goes without.
func TestShapedWays(t *testing.T) {
	limit := shape.Limit{Rate: 16 << 20, Burst: 20_000}
	const size = 2 << 20
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		for _, way := range []struct {
			name string
			mode engine.ZeroCopy
			via  aio.Via
		}{
			{"auto", engine.ZeroCopyAuto, aio.ViaSendfile},
			{"sendfile", engine.ZeroCopySendfile, aio.ViaSendfile},
			{"splice", engine.ZeroCopySplice, aio.ViaSplice},
			{"copy", engine.ZeroCopyCopy, aio.ViaCopy},
		} {
			t.Run(way.name, func(t *testing.T) {
				cfg := shaped(shape.Config{Connection: limit})
				cfg.Engine.ZeroCopy = way.mode
				g := start(t, d, cfg)
				big := g.pattern("big.bin", 1, size)
				c := g.dial()
				a := allow(t, limit)
				r := c.get("/big.bin")
				a.want(size)
				r.want(t, 200)
				if err := big.Check(r.body, 0); err != nil {
					t.Error(err)
				}
				n := g.via(way.via)
				if way.mode == engine.ZeroCopyAuto {
					n += g.via(aio.ViaSplice) // the end, if a grant is for all of it
				}
				if n < size*99/100 || n > size {
					t.Errorf("%d of %d bytes went by %v", n, size, way.via)
				}
				g.wantFlows(0)
			})
		}
	})
}

// So do responses from memory, hot files, several ranges, handlers and TLS.
func TestShapedResponses(t *testing.T) {
	limit := shape.Limit{Rate: 8 << 20, Burst: 10_000}
	body := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := shaped(shape.Config{Client: limit})
		for _, blocking := range []bool{false, true} {
			cfg.Routes = append(cfg.Routes, server.Route{
				Prefix: fmt.Sprintf("/handler-%v", blocking), Blocking: blocking,
				Handler: func(ctx *fasthttp.RequestCtx) { ctx.SetBody(body) },
			})
		}
		g := start(t, d, withTLS(t, cfg))
		g.write("small.txt", hello)
		hot, big := g.pattern("hot.bin", 2, 100_000), g.pattern("big.bin", 3, 1<<20)
		a, total := allow(t, limit), int64(0)
		for _, get := range []func(target string, fields ...string) *response{
			g.dial().get,
			func(target string, fields ...string) *response {
				return g.mustTLS().do(http.MethodGet, target, fields...)
			},
		} {
			get("/small.txt").want(t, 200, hello)
			for range 4 {
				r := get("/hot.bin")
				if err := hot.Check(r.body, 0); r.status != 200 || r.length != 100_000 || err != nil {
					t.Errorf("hot file: status %d, %d bytes, %v", r.status, r.length, err)
				}
				total += r.length
			}
			r := get("/big.bin")
			if err := big.Check(r.body, 0); r.length != 1<<20 || err != nil {
				t.Errorf("large file: %d bytes, %v", r.length, err)
			}
			total += r.length
			ranges := get("/big.bin", "Range: bytes=0-99999,200000-299999,1000000-1000999")
			for i, p := range parts(t, ranges) {
				if err := big.Check(p.body, []int64{0, 200_000, 1_000_000}[i]); err != nil {
					t.Errorf("part %d: %v", i, err)
				}
			}
			total += ranges.length
			for _, path := range []string{"/handler-false", "/handler-true"} {
				if r := get(path); r.status != 200 || !bytes.Equal(r.body, body) {
					t.Errorf("%s: status %d, %d bytes", path, r.status, len(r.body))
				}
				total += int64(len(body))
			}
			a.want(total)
		}
		g.wantFlows(0)
	})
}

// A burst that is smaller than the response's head still lets everything pass, bit by bit.
func TestTinyBurst(t *testing.T) {
	limit := shape.Limit{Rate: 1 << 20, Burst: 100}
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, shaped(shape.Config{Connection: limit}))
		g.write("small.txt", hello)
		p := g.pattern("f.bin", 4, 9000)
		c := g.dial()
		a := allow(t, limit)
		c.get("/small.txt").want(t, 200, hello)
		r := c.get("/f.bin")
		r.want(t, 200)
		if err := p.Check(r.body, 0); err != nil {
			t.Error(err)
		}
		a.want(9000)
	})
}

// Who is paused gets nothing and is not taken for dead, however long that lasts; then
// goes on.
func TestPausedClient(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := shaped(shape.Config{Connection: shape.Limit{Rate: 4 << 20, Burst: 8 << 10}})
		// The client must read in time when it may, so this is longer than machines stand
		// still; a pause is longer yet.
		cfg.Engine.SendTimeout = 10 * soon
		g := start(t, d, cfg)
		const size = 4 << 20
		p := g.pattern("big.bin", 5, size)
		limits := g.srv.Engine().Limits()
		if _, _, err := limits.SetClient(loopback, paused, 0); err != nil {
			t.Fatal(err)
		}
		c := g.dial()
		c.send(request("GET", "/big.bin"))
		g.wantWaiting(1)
		c.wantSilence(15 * soon)

		limits.RemoveClient(loopback)
		if _, err := c.r.Peek(20_000); err != nil {
			t.Fatal(err)
		}
		if _, _, err := limits.SetClient(loopback, paused, 0); err != nil {
			t.Fatal(err)
		}
		g.wantWaiting(1)
		granted := g.report().Global.Granted
		time.Sleep(15 * soon)
		if now := g.report().Global.Granted; now != granted || now >= size {
			t.Errorf("%d bytes were granted before the pause, %d after it, of %d", granted, now, size)
		}

		limits.RemoveClient(loopback)
		if _, err := limits.SetConnectionDefault(shape.Limit{Rate: shape.Unlimited}); err != nil {
			t.Fatal(err)
		}
		r, err := readResponse(c.r, http.MethodGet)
		if n := g.stats(func(s *loop.Stats) uint64 { return s.SendTimeouts }); n != 0 || err != nil {
			t.Fatalf("%d send time-outs, %v", n, err)
		}
		r.want(t, 200)
		if err := p.Check(r.body, 0); err != nil {
			t.Error(err)
		}
	})
}

// wantSilence fails the test if anything comes within d.
func (c *client) wantSilence(d time.Duration) {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		c.t.Fatal(err)
	}
	var b [1]byte
	if n, err := c.conn.Read(b[:]); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Errorf("%d bytes, %v during a pause", n, err)
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
}

// A client that resets while it waits frees its place at once, and nobody is disturbed.
func TestResetWhileWaiting(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		const clients = 20
		g := start(t, d, shaped(shape.Config{Global: paused}))
		p := g.pattern("big.bin", 6, 1<<20)
		g.write("small.txt", hello)
		stays := g.dial()
		stays.send(request("GET", "/big.bin"))
		var all []*client
		for i := range clients {
			c := g.dial()
			c.send(request("GET", []string{"/big.bin", "/small.txt"}[i%2]))
			all = append(all, c)
		}
		g.wantWaiting(clients + 1)
		for i, c := range all {
			if err := c.conn.SetLinger(0); err != nil {
				t.Fatal(err)
			}
			c.conn.Close()
			if i == clients/2 {
				g.wantFlows(clients / 2)
			}
		}
		g.wantWaiting(1)
		g.wantFlows(1)
		g.wantOpen(1)
		if _, err := g.srv.Engine().Limits().SetGlobal(shape.Limit{Rate: 100 << 20}); err != nil {
			t.Fatal(err)
		}
		r := stays.read(http.MethodGet)
		r.want(t, 200)
		if err := p.Check(r.body, 0); err != nil {
			t.Error(err)
		}
		g.wantFlows(0)
	})
}

// Who has taken nothing for a while has no more than the burst to make up for it.
func TestStalledReader(t *testing.T) {
	limit := shape.Limit{Rate: 2 << 20, Burst: 50_000}
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, shaped(shape.Config{Connection: limit}))
		const size = 8 << 20
		g.pattern("big.bin", 7, size)
		c := g.dialWith(16 << 10)
		c.send(request("GET", "/big.bin"))
		still := func() bool { // nothing passes any more: the client's buffers are full
			before := g.report().Global.Granted
			time.Sleep(soon)
			return before > 0 && g.report().Global.Granted == before
		}
		if !testenv.Eventually(patience, still) {
			t.Fatal("the server does not stop sending to a client that reads nothing")
		}
		a := allow(t, limit)
		before := g.report().Global.Granted
		if n, err := c.r.Discard(1 << 20); err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
		after := g.report().Global.Granted
		a.want(after - before)
		if err := c.conn.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		c.conn.Close()
		g.wantFlows(0)
	})
}

// A drain lets those who are throttled finish; its end cuts those who are paused.
func TestDrainWhileThrottled(t *testing.T) {
	limit := shape.Limit{Rate: 4 << 20, Burst: 10_000}
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, shaped(shape.Config{Connection: limit}))
		p := g.pattern("big.bin", 8, 1<<20)
		c := g.dial()
		a := allow(t, limit)
		c.send(request("GET", "/big.bin"))
		if _, err := c.r.Peek(10_000); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- g.srv.Shutdown(context.Background()) }()
		r := c.read(http.MethodGet)
		r.want(t, 200)
		a.want(1 << 20)
		if err := p.Check(r.body, 0); err != nil {
			t.Error(err)
		}
		c.wantEnd()
		if err := <-ended; err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, shaped(shape.Config{Global: paused}))
		g.pattern("big.bin", 9, 1<<20)
		c := g.dial()
		c.send(request("GET", "/big.bin"))
		g.wantWaiting(1)
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		if err := g.srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
		if n := c.wantReset(); n != 0 {
			t.Errorf("%d bytes during a pause", n)
		}
	})
}

// New limits of a configuration reach a download that is under way: at the old rate it
// would last for minutes.
func TestReloadUnderDownload(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		old, next := config.Default(), config.Default()
		old.Limits.Connection = config.Limit{Rate: 20_000}
		old.Limits.Paths = map[string]config.Limit{"/big": {Rate: 10_000}}
		next.Limits.Client = config.Limit{Rate: 100 << 20}
		g := start(t, d, shaped(old.Limits.Shape()))
		p := g.pattern("big.bin", 10, 8<<20)
		c := g.dial()
		c.send(request("GET", "/big.bin"))
		g.wantWaiting(1)
		if err := old.Limits.Retune(g.srv.Engine().Limits(), &next.Limits); err != nil {
			t.Fatal(err)
		}
		r := c.read(http.MethodGet)
		r.want(t, 200)
		if err := p.Check(r.body, 0); err != nil {
			t.Error(err)
		}
	})
}

// Handlers say whom a response is counted by, and limit it.
func TestHandlerLimits(t *testing.T) {
	limit := shape.Limit{Rate: 4 << 20, Burst: 10_000}
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := shaped(shape.Config{})
		cfg.Routes = []server.Route{{Prefix: "/as/", Handler: func(ctx *fasthttp.RequestCtx) {
			server.SetClient(ctx, string(ctx.Path()[len("/as/"):]))
			server.SetLimit(ctx, limit)
			server.ServeFile(ctx, "/big.bin")
		}}}
		g := start(t, d, cfg)
		p := g.pattern("big.bin", 11, 1<<20)
		c := g.dial()
		for _, name := range []string{"alice", "bob"} {
			a := allow(t, limit)
			r := c.get("/as/" + name)
			a.want(1 << 20)
			r.want(t, 200)
			if err := p.Check(r.body, 0); err != nil {
				t.Error(err)
			}
		}
		seen := make(map[string]int64)
		for _, n := range g.report().Clients {
			seen[n.Name] = n.Granted
		}
		for _, name := range []string{"alice", "bob"} {
			if seen[name] < 1<<20 {
				t.Errorf("%d bytes are counted for %s: %v", seen[name], name, seen)
			}
		}
	})
}

// A response that a handler has made is of the path class of its request.
func TestClassOfHandlers(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := shaped(shape.Config{Paths: []shape.PathLimit{{Prefix: "/made/", Limit: shape.Limit{Rate: 1 << 30}}}})
		made := func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString(hello) }
		cfg.Routes = []server.Route{{Prefix: "/made/", Handler: made}, {Prefix: "/made/later", Handler: made, Blocking: true}}
		g := start(t, d, cfg)
		c := g.dial()
		c.get("/made/x").want(t, 200, hello)
		c.get("/made/later").want(t, 200, hello)
		var granted int64
		for _, n := range g.report().Classes {
			if n.Name == "/made/" {
				granted = n.Granted
			}
		}
		if granted < 2*int64(len(hello)) {
			t.Errorf("%d bytes are counted for the class", granted)
		}
	})
}
