package shape

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// bodies are what the servers of these tests send.
const bodies = 200_000

// serve runs a server that sends bodies, and short answers at /short.
func serve(t *testing.T) (addr string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		n := bodies
		switch r.URL.Path {
		case "/short":
			n = 10
		case "/missing":
			w.WriteHeader(http.StatusNotFound)
		}
		w.Header().Set("Content-Length", itoa(n))
		_, _ = w.Write(make([]byte, n))
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String(), requests
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

// config is a short measurement of n connections.
func config(addr string, n int) Config {
	return Config{
		Addr: addr, Groups: []Group{{Conns: n, Clients: 2, Path: "/"}}, Measure: 400 * time.Millisecond,
		Pids: []int{os.Getpid()}, Spread: 50 * time.Millisecond,
	}
}

func started(int64) error { return nil }

// What the receiver counts fits together, and is what the server has sent.
func TestRun(t *testing.T) {
	addr, requests := serve(t)
	c := config(addr, 3)
	c.Groups = append(c.Groups, Group{Conns: 2, Clients: 1, Source: 5, Path: "/", Once: true})
	c.Probe = Probe{Path: "/short", Source: 7, Every: 20 * time.Millisecond}
	c.Trace = 1
	res, err := Run(t.Context(), c, started)
	if err != nil {
		t.Fatal(err)
	}
	if res.Lost != 0 || len(res.Conns) != 5 || res.Seconds != 0.4 || len(res.Total) != 40 || len(res.Trace) != 4 {
		t.Errorf("%+v", res)
	}
	var conns, total, trace int64
	for i, conn := range res.Conns {
		conns += conn.Bytes
		if want := []int{0, 1, 0, 5, 5}[i]; conn.Client != want {
			t.Errorf("connection %d has source address %d, want %d", i, conn.Client, want)
		}
		if i < 3 && (conn.Bytes < 1 || conn.First < conn.Bytes) {
			t.Errorf("connection %d: %+v", i, conn)
		}
		if i >= 3 && (conn.First < bodies || conn.First > bodies+maxHead) {
			t.Errorf("connection %d, which asks once, received %d bytes", i, conn.First)
		}
	}
	for _, n := range res.Total {
		total += n
	}
	for _, n := range res.Trace {
		trace += n
	}
	if conns != total || trace != res.Conns[1].Bytes {
		t.Errorf("connections received %d bytes, slots hold %d; traced %d of %d", conns, total, trace, res.Conns[1].Bytes)
	}
	if sent := requests.Load() * (bodies + maxHead); total > sent || len(res.Probes) == 0 {
		t.Errorf("%d bytes of %d that were sent, %d probes", total, sent, len(res.Probes))
	}
}

// A client that paces itself takes no more than its pace.
func TestPace(t *testing.T) {
	addr, _ := serve(t)
	c := config(addr, 1)
	const pace = 2 << 20
	c.Groups[0].Pace = pace
	res, err := Run(t.Context(), c, started)
	if err != nil {
		t.Fatal(err)
	}
	// Of the first response, the head and what comes with it are taken at once.
	most := int64(pace*(c.Measure+c.Spread).Seconds()) + maxHead + int64(pace*res.Stall.Seconds())
	if n := res.Conns[0].Bytes; n == 0 || n > most {
		t.Errorf("%d bytes, at most %d are right", n, most)
	}
}

// Connections that end are counted, and the cause is told.
func TestLost(t *testing.T) {
	addr, _ := serve(t)
	c := config(addr, 2)
	c.Groups[0].Path = "/missing"
	res, err := Run(t.Context(), c, started)
	if err != nil {
		t.Fatal(err)
	}
	if res.Lost != 2 || !strings.Contains(res.Cause, "404") {
		t.Errorf("%d lost: %s", res.Lost, res.Cause)
	}
}

func TestRunEndsWithContext(t *testing.T) {
	addr, _ := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, config(addr, 1), started); err == nil {
		t.Error("a run that was called off has a result")
	}
}

func TestCommand(t *testing.T) {
	addr, _ := serve(t)
	in, err := json.Marshal(config(addr, 1))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Command(t.Context(), bytes.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(&out)
	var s Started
	var res Result
	if err := d.Decode(&s); err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(&res); err != nil {
		t.Fatal(err)
	}
	if s.Began != res.Began || s.Began <= 0 || s.Began > Clock() || res.Conns[0].Bytes == 0 {
		t.Errorf("%+v, %+v", s, res)
	}
}

func TestValidate(t *testing.T) {
	good := config("127.0.0.1:80", 1)
	if err := good.validate(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Config){
		"no address":       func(c *Config) { c.Addr = "" },
		"two slots":        func(c *Config) { c.Measure = Slot },
		"negative":         func(c *Config) { c.Warm = -1 },
		"no connections":   func(c *Config) { c.Groups = nil },
		"trace":            func(c *Config) { c.Trace = 1 },
		"probe":            func(c *Config) { c.Probe.Path = "/short" },
		"out of range":     func(c *Config) { c.Groups[0].Conns = 0 },
		"leading slash":    func(c *Config) { c.Groups[0].Path = "f" },
		"source addresses": func(c *Config) { c.Groups[0].Clients = 0 },
		"pace":             func(c *Config) { c.Groups[0].Pace = -1 },
	} {
		c := good
		c.Groups = append([]Group(nil), good.Groups...)
		spoil(&c)
		err := c.validate()
		// No connections at all are found before the group that has none.
		if want == "out of range" {
			c.Groups = append(c.Groups, Group{Conns: 1, Clients: 1, Path: "/"})
			err = c.validate()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
