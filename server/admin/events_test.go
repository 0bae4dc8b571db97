package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

const patience = 20 * time.Second

// newAdmin makes an Admin of a server that serves nothing, and the address of its
// handler.
func newAdmin(t testing.TB) (a *Admin, url string) {
	t.Helper()
	testenv.LeakCheck(t)
	srv, err := server.New(server.Config{
		Site: server.Site{Root: t.TempDir()}, Listen: []string{"127.0.0.1:0"}, Log: slog.New(slog.DiscardHandler),
		Engine: engine.Config{Loops: 1, Driver: engine.DriverFallback, Limits: &shape.Config{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	a, err = New(Config{Listen: "127.0.0.1:0", Server: srv, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(a.Handler())
	t.Cleanup(func() {
		a.Close(context.Background())
		front.CloseClientConnections()
		front.Close()
	})
	return a, front.URL
}

// listener reads a stream of events.
type listener struct {
	t    testing.TB
	body io.ReadCloser
	scan *bufio.Scanner
}

func listenTo(t testing.TB, url, last string) *listener {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	resp, err := (&http.Client{Transport: tr, Timeout: patience}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("status %d, %v", resp.StatusCode, resp.Header)
	}
	return &listener{t, resp.Body, bufio.NewScanner(resp.Body)}
}

// next returns the fields of the next event, or comment; nil at the end.
func (l *listener) next() map[string]string {
	l.t.Helper()
	fields := make(map[string]string)
	for l.scan.Scan() {
		if l.scan.Text() == "" {
			return fields
		}
		name, value, _ := strings.Cut(l.scan.Text(), ": ")
		fields[name] = value
	}
	return nil
}

func (l *listener) snapshot() (id int, v eventView) {
	l.t.Helper()
	for {
		f := l.next()
		if f == nil {
			l.t.Fatal("the stream has ended")
		}
		if f["event"] != "snapshot" {
			continue
		}
		id, err := strconv.Atoi(f["id"])
		if err != nil {
			l.t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(f["data"]), &v); err != nil {
			l.t.Fatal(err)
		}
		return id, v
	}
}

// tell publishes a snapshot, as hub.run does when one is due.
func (a *Admin) tell() {
	before := a.snapshot(0)
	a.events.publish(viewEvent(before, a.snapshot(eventClients)))
}

// Snapshots are taken while somebody listens, and only then.
func TestSnapshotsAreTaken(t *testing.T) {
	a, url := newAdmin(t)
	a.events.every = 100 * time.Millisecond
	l := listenTo(t, url, "")
	first, _ := l.snapshot()
	if id, v := l.snapshot(); id != first+1 || v.Seconds <= 0 {
		t.Errorf("id %d after %d, of %v s", id, first, v.Seconds)
	}
	l.body.Close()
	if !testenv.Eventually(patience, func() bool {
		a.events.mu.Lock()
		defer a.events.mu.Unlock()
		return !a.events.running
	}) {
		t.Error("snapshots are taken for nobody")
	}
}

// Snapshots come in order, and who comes back gets what he has missed.
func TestEvents(t *testing.T) {
	a, url := newAdmin(t)
	a.events.every = time.Hour // the test says when: a busy machine would drop who is behind
	l := listenTo(t, url, "")
	if f := l.next(); f["retry"] != "2000" {
		t.Errorf("%v", f)
	}
	a.tell()
	first, v := l.snapshot()
	if v.Time.IsZero() || v.Seconds <= 0 || v.Global == nil || v.FirstByte.P99 != nil || v.Jitter != nil || v.Status["2xx"] != 0 {
		t.Errorf("%+v", v)
	}
	for i := range 3 {
		a.tell()
		if id, _ := l.snapshot(); id != first+1+i {
			t.Errorf("id %d after %d", id, first+i)
		}
	}
	back := listenTo(t, url, strconv.Itoa(first))
	for i := range 3 {
		if id, _ := back.snapshot(); id != first+1+i {
			t.Errorf("id %d after coming back, want %d", id, first+1+i)
		}
	}
	// An id of another server's life is none.
	stranger := listenTo(t, url, "999999999")
	a.tell()
	if id, _ := stranger.snapshot(); id != first+4 {
		t.Errorf("id %d for a stranger, want %d", id, first+4)
	}
	a.events.close()
	for l.next() != nil {
	}
}

// A stream that has nothing to say says so.
func TestHeartbeat(t *testing.T) {
	a, url := newAdmin(t)
	a.events.every, a.events.beat = time.Hour, 5*time.Millisecond
	l := listenTo(t, url, "")
	l.next()
	for range 2 {
		if f := l.next(); f == nil || f["retry"] != "" || f[""] != "still here" {
			t.Errorf("%q", f)
		}
	}
}

// Who does not listen is dropped; the others go on.
func TestSlowListenerIsDropped(t *testing.T) {
	a, _ := newAdmin(t)
	a.events.every = time.Hour
	slow, _, ok := a.events.subscribe(0)
	if !ok {
		t.Fatal("refused")
	}
	good, _, ok := a.events.subscribe(0)
	if !ok {
		t.Fatal("refused")
	}
	for n := 0; n <= eventQueue+1; n++ {
		a.tell()
		if _, ok := <-good.events; !ok {
			t.Fatal("who listens was dropped")
		}
	}
	n := 0
	for range slow.events {
		n++
	}
	if n != eventQueue {
		t.Errorf("%d snapshots were kept for who does not listen, want %d", n, eventQueue)
	}
	a.events.leave(slow)
	a.events.leave(good)
}

func TestStreamsAreBounded(t *testing.T) {
	a, url := newAdmin(t)
	for range maxStreams {
		if _, _, ok := a.events.subscribe(0); !ok {
			t.Fatal("refused")
		}
	}
	resp, err := http.Get(url + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, %v", resp.StatusCode, resp.Header)
	}
}

// Of a root that does not answer, one question is under way, however many ask.
func TestReadinessOfHangingRoot(t *testing.T) {
	asked, release := make(chan struct{}, 10), make(chan struct{})
	r := readiness{probe: func() error { asked <- struct{}{}; <-release; return nil }}
	for range 3 {
		if err := r.check(time.Millisecond); err == nil {
			t.Error("ready, while the root does not answer")
		}
	}
	close(release)
	if !testenv.Eventually(patience, func() bool { return r.check(patience) == nil }) {
		t.Error("not ready, though the root answers")
	}
	if n := len(asked); n < 1 || n > 2 {
		t.Errorf("the root was asked %d times", n)
	}
}
