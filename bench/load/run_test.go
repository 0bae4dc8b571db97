package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
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
	o.Config.ReadHeaderTimeout = header
	o.Start()
	t.Cleanup(o.Close)
	return o
}

func (o *origin) config(mode Mode, path string, body int64) Config {
	return Config{
		Mode: mode, Addr: o.Listener.Addr().String(), Path: path, BodyLen: body, Conns: 3,
		Measure: time.Minute, Limit: 30, Pids: []int{os.Getpid()},
	}
}

// settle waits until the server has accepted n connections and says how many it has.
func (o *origin) settle(n int64) int64 {
	for deadline := time.Now().Add(10 * time.Second); o.opened.Load() < n && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	return o.opened.Load()
}

func run(t *testing.T, c Config, held func(Result) error) (Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return Run(ctx, c, held)
}

func TestClosed(t *testing.T) {
	o := newOrigin(t, map[string]int{"/1k": 1 << 10, "/100k": 100 << 10})
	for path, size := range map[string]int64{"/1k": 1 << 10, "/100k": 100 << 10} {
		before := o.opened.Load()
		res, err := run(t, o.config(Closed, path, size), nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.Requests < 30 || res.Bytes < res.Requests*size || res.Seconds <= 0 || res.P50 <= 0 || res.P99 < res.P50 || res.Max < res.P99 {
			t.Errorf("%s: %+v", path, res)
		}
		// A short run is over before the server has accepted all of them.
		if n := o.settle(before + 3); n != before+3 {
			t.Errorf("%s: %d connections, want 3", path, n-before)
		}
	}
}

func TestRanges(t *testing.T) {
	const part, whole = 64 << 10, 1 << 20
	o := newOrigin(t, map[string]int{"/f": whole})
	c := o.config(Closed, "/f", part)
	c.RangeOf = whole
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
	c.Sources = 5
	res, err := run(t, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Every response had a connection of its own; three more were under way.
	if n := o.opened.Load(); n < res.Requests || n > res.Requests+6 {
		t.Errorf("%d connections for %d requests", n, res.Requests)
	}
}

func TestHold(t *testing.T) {
	o := newOrigin(t, map[string]int{"/f": 1 << 10})
	c := o.config(Hold, "/f", 1<<10)
	c.Conns, c.Sources = 100, 3
	called := false
	_, err := run(t, c, func(res Result) error {
		called = true
		if opened, closed := o.opened.Load(), o.closed.Load(); opened != 100 || closed != 0 || res.Requests != 100 {
			t.Errorf("%d opened, %d closed, %d requests", opened, closed, res.Requests)
		}
		return nil
	})
	if err != nil || !called {
		t.Errorf("held: %v, error %v", called, err)
	}
}

func TestMixed(t *testing.T) {
	const size = 8 << 20
	o := newOrigin(t, map[string]int{"/f": 1 << 10, "/d1": size, "/d2": size})
	c := o.config(Mixed, "/f", 1<<10)
	c.Rate, c.Downloads, c.DownloadLen = 5000, []string{"/d1", "/d2"}, size
	for _, c.Spin = range []bool{false, true} {
		res, err := run(t, c, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.Completed != 2 || res.Bytes < 2*size || res.Bytes > 2*size+2*maxHead || res.Requests < 1 {
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
		{"missing file", func(c *Config) { c.Path = "/none" }, "status 404"},
		{"length", func(c *Config) { c.BodyLen = 1000 }, "Content-Length 1024 instead of 1000"},
		{"no server", func(c *Config) { c.Addr = "127.0.0.1:1" }, "connection refused"},
		{"no answer", func(c *Config) { c.Addr, c.Measure = silent.Addr().String(), 10*time.Millisecond }, errNothing.Error()},
		{"process", func(c *Config) { c.Pids = []int{1 << 22} }, "CPU time of the server"},
		{"configuration", func(c *Config) { c.Conns = 0 }, "out of range"},
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
		if _, err := Run(ctx, o.config(mode, "/f", 1<<10), nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v", mode, err)
		}
	}
}

func TestCommand(t *testing.T) {
	o := newOrigin(t, map[string]int{"/f": 1 << 10})
	for _, mode := range []Mode{Closed, Hold} {
		var out bytes.Buffer
		if err := Command(context.Background(), o.config(mode, "/f", 1<<10).Args(), strings.NewReader(""), &out); err != nil {
			t.Fatal(err)
		}
		var res Result
		if err := json.Unmarshal(out.Bytes(), &res); err != nil || res.Requests < 3 {
			t.Errorf("%s: %+v, error %v", mode, res, err)
		}
	}
	if err := Command(context.Background(), []string{"-mode=none"}, nil, io.Discard); err == nil {
		t.Error("no error")
	}
}

func TestArgs(t *testing.T) {
	want := Config{
		Mode: Mixed, Addr: "127.0.0.1:80", Path: "/a", Conns: 7, BodyLen: 9, RangeOf: 100,
		Warm: time.Millisecond, Measure: 3 * time.Second, Pids: []int{1, 22}, Sources: 4, Core: 1, Spin: true, Limit: 12,
		Rate: 2.5, Downloads: []string{"/x", "/y"}, DownloadLen: 11,
		Parts: 2, PartLen: 5, RangeFrom: 10, Slow: 6, Ramp: time.Second,
	}
	v := reflect.ValueOf(want)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not tested", v.Type().Field(i).Name)
		}
	}
	got, err := ParseArgs(want.Args())
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, error %v, want %+v", got, err, want)
	}
	if _, err := ParseArgs([]string{"-addr=127.0.0.1:80", "-body=1", "extra"}); err == nil {
		t.Error("an argument too many was accepted")
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
	if d := s.wait(155, true); d != 5 {
		t.Errorf("wait %d, want 5", d)
	}
	if d := s.wait(155, false); d != tick {
		t.Errorf("wait %d, want %d", d, tick)
	}
}
