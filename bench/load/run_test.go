package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// origin is a net/http server over a few files that counts connections.
type origin struct {
	*httptest.Server
	opened atomic.Int64
	closed atomic.Int64
	mu     sync.Mutex
	ranges []string
}

func newOrigin(t *testing.T, files map[string]int) *origin { return newOriginWith(t, files, 0) }

// newOriginWith is newOrigin with a bound on the time that a request takes to
// arrive; 0: none.
func newOriginWith(t *testing.T, files map[string]int, header time.Duration) *origin {
	t.Helper()
	o := unstarted(t, files)
	o.Config.ReadHeaderTimeout = header
	o.Start()
	return o
}

// unstarted is newOrigin before it is started.
func unstarted(t *testing.T, files map[string]int) *origin {
	o := &origin{}
	o.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if v := r.Header.Get("Range"); v != "" {
			o.mu.Lock()
			o.ranges = append(o.ranges, v)
			o.mu.Unlock()
		}
		http.ServeContent(w, r, "x.bin", time.Unix(0, 0), bytes.NewReader(make([]byte, size)))
	}))
	o.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			o.opened.Add(1)
		case http.StateClosed:
			o.closed.Add(1)
		}
	}
	t.Cleanup(o.Close)
	return o
}

// config is a short run of three connections.
func (o *origin) config(mode Mode, path string, body int64) Config {
	return Config{
		Addr: o.Listener.Addr().String(), Measure: 200 * time.Millisecond, Pids: []int{os.Getpid()},
		Groups: []Group{{Mode: mode, Path: path, BodyLen: body, Conns: 3}},
	}
}

// settle waits until the server has accepted n connections and says how many it has.
func (o *origin) settle(n int64) int64 {
	for deadline := time.Now().Add(10 * time.Second); o.opened.Load() < n && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	return o.opened.Load()
}

func run(t *testing.T, c Config, began func(int64) error) (*Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if began == nil {
		began = func(int64) error { return nil }
	}
	return Run(ctx, c, began)
}

func TestClosed(t *testing.T) {
	o := newOrigin(t, map[string]int{"/1k": 1 << 10, "/100k": 100 << 10})
	for path, size := range map[string]int64{"/1k": 1 << 10, "/100k": 100 << 10} {
		before := o.opened.Load()
		res, err := run(t, o.config(Closed, path, size), nil)
		if err != nil {
			t.Fatal(err)
		}
		seen := res.Groups[0]
		if seen.Requests < 1 || seen.Bytes < seen.Requests*size || res.Seconds <= 0 || seen.P50 <= 0 || seen.P99 < seen.P50 || seen.Max < seen.P99 {
			t.Errorf("%s: %+v", path, res)
		}
		if n := o.settle(before + 3); n != before+3 {
			t.Errorf("%s: %d connections, want 3", path, n-before)
		}
	}
}

func TestRanges(t *testing.T) {
	const part, whole = 64 << 10, 1 << 20
	o := newOrigin(t, map[string]int{"/f": whole})
	c := o.config(Closed, "/f", part)
	c.Groups[0].Ranges.Of = whole
	if _, err := run(t, c, nil); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.ranges {
		var from, to int64
		if _, err := fmt.Sscanf(r, "bytes=%d-%d", &from, &to); err != nil {
			t.Fatalf("%q: %v", r, err)
		}
		if from%part != 0 || to != from+part-1 || to >= whole {
			t.Errorf("range %q", r)
		}
		seen[r] = true
	}
	if len(seen) < 4 {
		t.Errorf("%d different ranges", len(seen))
	}
}

func TestReconnect(t *testing.T) {
	o := newOrigin(t, map[string]int{"/f": 1 << 10})
	c := o.config(Reconnect, "/f", 1<<10)
	c.Groups[0].Clients = 5
	res, err := run(t, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Every response had a connection of its own; three more were under way.
	if n := o.opened.Load(); n < res.Groups[0].Requests || n > res.Groups[0].Requests+6 {
		t.Errorf("%d connections for %d requests", n, res.Groups[0].Requests)
	}
}

func TestHold(t *testing.T) {
	o := newOrigin(t, map[string]int{"/f": 1 << 10})
	c := o.config(Hold, "/f", 1<<10)
	c.Measure, c.Groups[0].Conns, c.Groups[0].Clients = 0, 100, 3
	called := false
	_, err := run(t, c, func(int64) error {
		called = true
		if opened, closed := o.opened.Load(), o.closed.Load(); opened != 100 || closed != 0 {
			t.Errorf("%d opened, %d closed", opened, closed)
		}
		return nil
	})
	if err != nil || !called {
		t.Errorf("held: %v, error %v", called, err)
	}
}

// The measurement ends with the downloads, beside which requests are made.
func TestOnce(t *testing.T) {
	const size = 8 << 20
	o := newOrigin(t, map[string]int{"/f": 1 << 10, "/d1": size, "/d2": size})
	c := o.config(Timed, "/f", 1<<10)
	c.Measure, c.Groups[0].Every = time.Minute, 200*time.Microsecond
	for _, path := range []string{"/d1", "/d2"} {
		c.Groups = append(c.Groups, Group{Mode: Once, Conns: 1, Path: path, BodyLen: size, Turn: 256 << 10})
	}
	for _, c.Spin = range []bool{false, true} {
		res, err := run(t, c, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range res.Groups[1:] {
			if d.Requests != 1 || d.Bytes < size || d.Bytes > size+maxHead {
				t.Errorf("%+v", d)
			}
		}
		if res.Groups[0].Requests < 1 || res.Seconds > 30 {
			t.Errorf("%+v", res)
		}
	}
}

func TestRunFails(t *testing.T) {
	o := newOrigin(t, map[string]int{"/f": 1 << 10})
	silent, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, tc := range []struct {
		name string
		edit func(*Config)
		want string
	}{
		{"missing file", func(c *Config) { c.Groups[0].Path = "/none" }, "status 404"},
		{"length", func(c *Config) { c.Groups[0].BodyLen = 1000 }, "Content-Length 1024 instead of 1000"},
		{"no server", func(c *Config) { c.Addr = "127.0.0.1:1" }, "connection refused"},
		{"no answer", func(c *Config) { c.Addr, c.Measure = silent.Addr().String(), 10*time.Millisecond }, errNothing.Error()},
		{"process", func(c *Config) { c.Pids = []int{1 << 22} }, "CPU time of the server"},
		{"configuration", func(c *Config) { c.Groups[0].Conns = 0 }, "out of range"},
	} {
		for _, mode := range []Mode{Closed, Reconnect} {
			c := o.config(mode, "/f", 1<<10)
			tc.edit(&c)
			if _, err := run(t, c, nil); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s, %s: error %v, want %q", mode, tc.name, err, tc.want)
			}
		}
	}
}

func TestRunCancelled(t *testing.T) {
	o := newOrigin(t, map[string]int{"/f": 1 << 10})
	for _, mode := range []Mode{Closed, Reconnect} {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := Run(ctx, o.config(mode, "/f", 1<<10), func(int64) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v", mode, err)
		}
	}
}

func TestValidate(t *testing.T) {
	good := func() Config {
		return Config{Addr: "127.0.0.1:80", Measure: time.Second, Groups: []Group{{Mode: Closed, Conns: 1, Path: "/", BodyLen: 1}}}
	}
	if c := good(); c.validate() != nil {
		t.Fatal(c.validate())
	}
	for _, tc := range []struct {
		want  string
		spoil func(c *Config, g *Group)
	}{
		{"no address", func(c *Config, _ *Group) { c.Addr = "" }},
		{"no connections", func(c *Config, _ *Group) { c.Groups = nil }},
		{"negative", func(c *Config, _ *Group) { c.Warm = -1 }},
		{"two slots", func(c *Config, _ *Group) { c.Slots, c.Measure = true, Slot }},
		{"unknown way of TLS", func(c *Config, g *Group) { c.TLS = "x" }},
		{"over TLS whole files", func(c *Config, g *Group) { c.TLS, g.Files = NewSessions, 3 }},
		{"a load over TLS is of one group", func(c *Config, g *Group) { c.TLS, g.Mode = NewSessions, Once }},
		{"by slots", func(c *Config, g *Group) { c.Slots, g.Mode = true, Hold }},
		{"no time", func(c *Config, _ *Group) { c.Measure = 0 }},
		{"connections are out of range", func(_ *Config, g *Group) { g.Conns = 0 }},
		{"leading slash", func(_ *Config, g *Group) { g.Path = "f" }},
		{"body", func(_ *Config, g *Group) { g.BodyLen = 0 }},
		{"source addresses", func(_ *Config, g *Group) { g.Clients = 1 << 20 }},
		{"pace", func(_ *Config, g *Group) { g.Pace = 1 }},
		{"do not fit", func(_ *Config, g *Group) { g.BodyLen, g.Ranges.Of = 10, 9 }},
		{"interval", func(_ *Config, g *Group) { g.Mode = Timed }},
		{"unknown mode", func(_ *Config, g *Group) { g.Mode = "no" }},
	} {
		c := good()
		tc.spoil(&c, &c.Groups[0])
		if err := c.validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.want, err)
		}
	}
}

func TestSchedule(t *testing.T) {
	s := schedule{next: 100, every: 10}
	for i, step := range []struct {
		now   int64
		free  bool
		start int64 // 0: nothing is due
	}{
		{90, true, 0},
		{100, true, 100},
		{101, true, 0},
		{113, true, 113}, // the generator was late, not the server
		{119, true, 0},
		{121, false, 0}, // due at 120, all connections wait for the server
		{145, true, 120},
		{145, true, 130},
		{145, true, 140},
		{145, true, 0},
		{152, true, 152},
	} {
		start, ok := s.due(step.now, step.free)
		if ok != (step.start != 0) || start != step.start {
			t.Fatalf("step %d at %d: %d, %v; want %d", i, step.now, start, ok, step.start)
		}
	}
	if at := s.at(true); at != 160 {
		t.Errorf("look at %d, want 160", at)
	}
	if at := s.at(false); at != never {
		t.Errorf("look at %d, want never", at)
	}
}

// With Skip, of what falls due while no connection is free only the first is made up for.
func TestScheduleSkips(t *testing.T) {
	s := schedule{next: 100, every: 10, skip: true}
	for i, step := range []struct {
		now   int64
		free  bool
		start int64
	}{
		{100, true, 100}, {112, false, 0}, {145, true, 110}, {145, true, 0}, {150, true, 150},
	} {
		if start, _ := s.due(step.now, step.free); start != step.start {
			t.Fatalf("step %d at %d: %d, want %d", i, step.now, start, step.start)
		}
	}
}
