package http2_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

const (
	large    = 16 << 20 // bytes: more than what lies anywhere on the way
	patterns = 9        // seed
)

func sending(s *loop.Stats) int { return s.Sending }
func open(s *loop.Stats) int    { return s.Open }

// A file that changes resets its stream; the others of the connection go on.
func TestChangedFileResetsItsStream(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("changing", testenv.NewPattern(patterns).Bytes(0, large))
		g.write("other", testenv.NewPattern(patterns).Bytes(0, large))
		client := g.client(true)
		var bodies [2]io.ReadCloser
		for i, path := range []string{"/changing", "/other"} {
			r, err := client.Get(g.url(path))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			if _, err := io.CopyN(io.Discard, r.Body, 100_000); err != nil {
				t.Fatal(err)
			}
			bodies[i] = r.Body
		}
		if err := os.Truncate(filepath.Join(g.root, "changing"), large/2); err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, bodies[0])
		if n += 100_000; err == nil || !strings.Contains(err.Error(), "INTERNAL_ERROR") || n >= large {
			t.Errorf("%d bytes of the file that has changed, %v", n, err)
		}
		rest, err := io.ReadAll(bodies[1])
		if err != nil || testenv.NewPattern(patterns).Check(rest, 100_000) != nil || len(rest) != large-100_000 {
			t.Errorf("%d bytes of the other file, %v", len(rest), err)
		}
		if s := g.srv.TLSStats(); s.HTTP2.Conns != 1 || s.Accepted != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A client that resets a stream frees the response at once, and one that goes all of its own.
func TestClientsThatGo(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("large", make([]byte, large))
		c := g.raw(1000)
		for stream := uint32(1); stream <= 9; stream += 2 {
			c.get(stream, "/large")
		}
		g.wantLoops("responses", 5, sending)
		c.send(frameReset, 0, 5, make([]byte, 4))
		g.wantLoops("responses", 4, sending)
		c.wantAlive()
		c.Close()
		g.wantLoops("responses", 0, sending)
		g.wantLoops("connections", 0, open)
		if !testenv.Eventually(patience, func() bool { return g.srv.TLSStats().HTTP2.Aborted == 5 }) {
			t.Errorf("%+v", g.srv.TLSStats().HTTP2)
		}
	})
}

// Streams whose client takes nothing end, be their answer long or short; the connection goes on.
func TestClientThatTakesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{Engine: engine.Config{SendTimeout: time.Second}})
		g.write("large", make([]byte, large))
		g.write("small", make([]byte, 1000))
		c := g.raw(0)
		c.get(1, "/large")
		c.get(3, "/small")
		for reset := make(map[uint32]bool); len(reset) < 2; {
			f, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			if f.typ == frameReset {
				reset[f.stream] = true
			}
		}
		g.wantLoops("responses", 0, sending)
		c.wantAlive()
	})
}

// A client that takes little, and all the while, is not cut.
func TestSlowClient(t *testing.T) {
	const step, timeout = 4000, 8 * time.Second // 5 kB/s: it takes more than the time-out until the loop can go on
	g := start(t, engine.DriverFallback, server.Config{Engine: engine.Config{SendTimeout: timeout}})
	g.write("large", make([]byte, large))
	c := g.raw(step)
	_ = c.SetDeadline(time.Now().Add(timeout + patience))
	c.get(1, "/large")
	pace := time.NewTicker(timeout / 10)
	defer pace.Stop()
	for taken := 0; taken < 14*step; {
		f := c.await(frameData, 1)
		if taken += len(f.payload); taken%step != 0 {
			continue
		}
		<-pace.C
		for _, stream := range []uint32{0, 1} {
			c.send(frameWindow, 0, stream, binary.BigEndian.AppendUint32(nil, step))
		}
	}
	if n := g.loops(sending); n != 1 {
		t.Errorf("%d responses under way, want 1", n)
	}
}

// What limits hold is not cut, however long it takes: it is not the client that keeps it waiting.
func TestHeldStreamsAreNotCut(t *testing.T) {
	g := start(t, engine.DriverFallback, server.Config{Engine: engine.Config{
		SendTimeout: 300 * time.Millisecond, Limits: &shape.Config{Client: shape.Limit{Rate: 200 << 10}},
	}})
	g.write("f", make([]byte, 300<<10))
	client := g.client(true)
	began := time.Now()
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			if a := g.do(client, ask{method: "GET", path: "/f"}); len(a.body) != 300<<10 || a.err != nil {
				t.Errorf("%d bytes, %v", len(a.body), a.err)
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("twice 300 KiB at 200 KiB/s took %v: two streams are two clients", took)
	}
}

// A drain, and one in favour of a successor, says GOAWAY and lets the streams end.
func TestDrain(t *testing.T) {
	for name, drain := range map[string]func(*server.Server) error{
		"shutdown": func(s *server.Server) error { return s.Shutdown(context.Background()) },
		"retire": func(s *server.Server) error {
			s.HandOver()
			return s.Retire(context.Background())
		},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, d engine.DriverKind) { drains(start(t, d, server.Config{}), drain) })
		})
	}
}

func drains(g *rig, drain func(*server.Server) error) {
	g.write("large", make([]byte, large))
	c, idle := g.raw(1000), g.raw(1000)
	c.get(1, "/large")
	got := len(c.await(frameData, 1).payload)
	idle.wantAlive()
	ended := make(chan error, 1)
	go func() { ended <- drain(g.srv) }()
	idle.await(frameGoAway, 0)
	idle.wantEnd()
	if f := c.await(frameGoAway, 0); f.code() != 0 {
		g.Errorf("GOAWAY with error %d", f.code())
	}
	more := binary.BigEndian.AppendUint32(nil, large)
	c.send(frameWindow, 0, 0, more)
	c.send(frameWindow, 0, 1, more)
	for {
		f := c.await(frameData, 1)
		if got += len(f.payload); f.flags&endStream != 0 {
			break
		}
	}
	if got != large {
		g.Errorf("%d bytes", got)
	}
	c.wantEnd()
	if err := <-ended; err != nil {
		g.Error(err)
	}
}

// A connection that drains does not end before its socket has taken the record that it was full for.
func TestDrainSendsWhatIsPending(t *testing.T) {
	const step = 8 << 10
	g := start(t, engine.DriverFallback, server.Config{})
	g.write("large", make([]byte, large))
	c := g.raw(step)
	c.send(frameWindow, 0, 0, binary.BigEndian.AppendUint32(nil, large))
	c.get(1, "/large")
	c.await(frameData, 1)
	ended := make(chan error, 1)
	go func() {
		g.srv.HandOver()
		ended <- g.srv.Retire(context.Background())
	}()
	c.await(frameGoAway, 0)
	c.await(frameGoAway, 0) // with the last stream that is served
	for range large/step - 2 {
		c.send(frameWindow, 0, 1, binary.BigEndian.AppendUint32(nil, step))
		g.loops(sending) // a piece goes out alone
	}
	c.send(frameReset, 0, 1, make([]byte, 4))
	g.wantLoops("responses", 0, sending)
	var err error
	for err == nil {
		_, err = c.next()
	}
	if err != io.EOF {
		t.Error("within a record:", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A connection rests since its last request, even if that was answered in the turn in which it came.
func TestRestsSinceTheLastRequest(t *testing.T) {
	const rest = 2 * time.Second
	g := start(t, engine.DriverFallback, server.Config{Engine: engine.Config{IdleTimeout: rest}})
	g.write("f", []byte("f"))
	c := g.raw(large)
	c.send(frameWindow, 0, 0, binary.BigEndian.AppendUint32(nil, large)) // a byte for each of many answers
	began, last := time.Now(), time.Now()
	for stream := uint32(1); time.Since(began) < rest*2; stream += 2 {
		if time.Since(last) > rest/2 {
			t.Skip("the machine is too slow to tell")
		}
		last = time.Now()
		c.get(stream, "/f")
		c.await(frameData, stream)
	}
}

// Connections count for their client, streams do not.
func TestClientsAreCountedNotStreams(t *testing.T) {
	g := start(t, engine.DriverFallback, server.Config{Engine: engine.Config{MaxClientConns: 2}})
	g.write("large", make([]byte, large))
	g.write("f", []byte("f"))
	a, b := g.raw(1000), g.raw(1000)
	for stream := uint32(1); stream <= 19; stream += 2 {
		a.get(stream, "/large")
		b.get(stream, "/large")
	}
	g.wantLoops("responses", 20, sending)
	client := g.client(true)
	if r := g.do(client, ask{method: "GET", path: "/f"}); r.status != http.StatusServiceUnavailable || r.fields.Get("Retry-After") != "1" {
		t.Errorf("the third connection: %d %v %v", r.status, r.fields, r.err)
	}
	a.Close()
	if !testenv.Eventually(patience, func() bool { return g.do(client, ask{method: "GET", path: "/f"}).status == 200 }) {
		t.Error("the place of a connection that has ended is not free")
	}
}

// Streams say which connection of their client they are of, and what they are doing.
func TestStreamsAreShown(t *testing.T) {
	g := start(t, engine.DriverFallback, server.Config{})
	g.write("large", make([]byte, large))
	for _, c := range []*raw{g.raw(1000), g.raw(1000)} {
		c.get(1, "/large")
		c.get(3, "/large")
	}
	g.wantLoops("responses", 4, sending)
	if !testenv.Eventually(patience, func() bool { return g.srv.TLSStats().HTTP2.Paused == 4 }) {
		t.Errorf("%+v", g.srv.TLSStats().HTTP2)
	}
	list, _ := g.srv.Engine().Connections(loop.ByAge, 10)
	of := make(map[uint64]int)
	for _, c := range list {
		if m, ok := c.Adopted.(interface{ HTTP2() uint64 }); ok && c.Sending && c.Peer.Addr().IsLoopback() {
			of[m.HTTP2()]++
		}
	}
	if len(of) != 2 || of[1] != 2 || of[2] != 2 {
		t.Errorf("streams by connection: %v", of)
	}
}

// A request that is cut before its response begins is not asked again: it may have had an effect.
func TestCutRequestIsNotAskedAgain(t *testing.T) {
	var calls atomic.Int64
	running, cut := make(chan struct{}), make(chan struct{})
	g := start(t, engine.DriverFallback, server.Config{Routes: []server.Route{{Prefix: "/count", Blocking: true, Handler: func(*fasthttp.RequestCtx) {
		if calls.Add(1) == 2 {
			close(running)
			<-cut
		}
	}}}})
	client := g.client(true)
	if a := g.do(client, ask{method: "POST", path: "/count"}); a.status != http.StatusOK {
		t.Fatalf("%d %v", a.status, a.err)
	}
	go func() {
		<-running
		list, _ := g.srv.Engine().Connections(loop.ByAge, 10)
		for _, c := range list {
			if _, ok := c.Adopted.(interface{ HTTP2() uint64 }); ok {
				g.srv.Engine().Cut(c.Loop, c.ID)
			}
		}
		close(cut)
	}()
	if a := g.do(client, ask{method: "POST", path: "/count"}); a.err == nil || !strings.Contains(a.err.Error(), "INTERNAL_ERROR") || calls.Load() != 2 {
		t.Errorf("%d %v; the handler was called %d times, want 2", a.status, a.err, calls.Load())
	}
}

// Nothing is left of thousands of streams, most of which their clients reset.
func TestRandomResets(t *testing.T) {
	streams := 2000
	if testenv.Race {
		streams = 1000
	}
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		seed := testenv.Seed(t)
		g := start(t, d, server.Config{Routes: handlers(), Engine: engine.Config{Loops: 2}})
		g.write("large", make([]byte, large))
		small := testenv.NewPattern(patterns).Bytes(0, 5000)
		g.write("small", small)
		var all sync.WaitGroup
		clients := make([]*http.Client, 20)
		for worker := range clients {
			clients[worker] = g.client(true)
			client, r := clients[worker], rand.New(rand.NewPCG(seed, uint64(worker)))
			all.Go(func() {
				for range streams / len(clients) {
					ctx, cancel := context.WithCancel(context.Background())
					if r.IntN(2) > 0 {
						time.AfterFunc(time.Duration(r.IntN(3000))*time.Microsecond, cancel)
					}
					paths := []string{"/large", "/small", "/small", "/small", "/echo", "/stream", "/none"}
					path := paths[r.IntN(len(paths))]
					var body io.Reader
					if path == "/echo" {
						body = bytes.NewReader(make([]byte, r.IntN(100_000)))
					}
					q, _ := http.NewRequestWithContext(ctx, "GET", g.url(path), body)
					resp, err := client.Do(q)
					if err == nil {
						got, err := io.ReadAll(io.LimitReader(resp.Body, r.Int64N(20_000)))
						if err == nil && path == "/small" && !bytes.HasPrefix(small, got) {
							t.Error("other bytes")
						}
						resp.Body.Close()
					}
					cancel()
				}
			})
		}
		all.Wait()
		g.wantLoops("responses", 0, sending)
		if !testenv.Eventually(patience, func() bool {
			for _, c := range clients {
				c.CloseIdleConnections() // one is idle when its last reset is sent
			}
			return g.loops(open) == 0
		}) {
			t.Errorf("%d connections to loops are left", g.loops(open))
		}
		if s := g.srv.TLSStats().HTTP2; s.Active+s.Paused != 0 || s.Completed+s.Aborted < uint64(streams)/2 || s.Aborted == 0 {
			t.Errorf("%+v", s)
		}
	})
}
