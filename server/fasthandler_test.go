package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// serveStock serves a Handler by a stock fasthttp.Server through an engine's
// listener, and returns where and the engine.
func serveStock(t *testing.T, cfg server.Config) (url string, e *engine.Engine) {
	t.Helper()
	h, err := server.NewHandler(cfg)
	if err != nil {
		t.Fatal(err)
	}
	e, err = engine.New(engine.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &fasthttp.Server{Handler: h.Serve, Logger: quiet{}}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(e.Listener(ln)) }()
	t.Cleanup(func() {
		if err := srv.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String(), e
}

// checkFDs is testenv.LeakCheck without goroutines: fasthttp has some that sleep for
// long after its servers have ended.
func checkFDs(t *testing.T) {
	t.Helper()
	before := testenv.FDs(t)
	t.Cleanup(func() {
		if !testenv.Eventually(patience, func() bool { return len(testenv.FDs(t)) <= len(before) }) {
			t.Errorf("descriptors leaked: %v, before %v", testenv.FDs(t), before)
		}
	})
}

// quiet drops what fasthttp says about connections that break off.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

func askStock(t *testing.T, method, url string, fields ...string) (*http.Response, string) {
	t.Helper()
	a := testenv.Ask(t, testenv.Single, method, url, "", fields...)
	return a.Response, a.Body
}

// TestHandlerAnswersAsServer asks a Handler under stock fasthttp and a Server the
// same, and compares the answers.
func TestHandlerAnswersAsServer(t *testing.T) {
	checkFDs(t)
	root := t.TempDir()
	cfg := server.Config{
		Site: server.Site{
			Root: root, Precompressed: true, Listing: true, ErrorPages: map[int]string{404: "/.404.html", 405: "/.404.html"},
			Headers: []server.HeaderRule{{Match: "/d/", Name: "X-Dir", Value: "d"}},
		},
	}
	for name, content := range map[string]string{
		".404.html": "<p>nothing", "f.txt": "0123456789\n", "empty": "", "a.css": "a{}", "a.css.br": "br", "a.css.gz": "gz",
		"d/index.html": "<p>index", "bare/x": "x", "deep/.hidden": "x", "with space": "space",
	} {
		writeFile(t, filepath.Join(root, name), []byte(content))
	}
	p := testenv.NewPattern(3)
	big := p.File(t, root, 500_000).Name()
	age(t, big)
	bigPath := "/" + filepath.Base(big)
	url, e := serveStock(t, cfg)
	g := serve(t, engine.DriverFallback, cfg)
	for _, c := range []struct {
		method, target string
		fields         []string
	}{
		{"GET", "/f.txt", nil}, {"HEAD", "/f.txt", nil}, {"GET", "/empty", nil}, {"HEAD", "/empty", nil},
		{"GET", bigPath, nil}, {"HEAD", bigPath, nil}, {"GET", bigPath, []string{"Range: bytes=1000-400999"}},
		{"GET", bigPath, []string{"Range: bytes=-500"}}, {"GET", bigPath, []string{"Range: bytes=500000-"}},
		{"GET", "/f.txt", []string{"Range: bytes=0-4", `If-Range: "x"`}}, {"GET", "/f.txt", []string{"Range: bytes=x"}},
		{"GET", "/f.txt", []string{"If-None-Match: *"}}, {"GET", "/f.txt", []string{`If-Match: "x"`}},
		{"GET", "/f.txt", []string{`If-None-Match: "x"`, `If-None-Match: *`}},
		{"GET", "/f.txt", []string{"If-Modified-Since: " + time.Now().UTC().Format(http.TimeFormat)}},
		{"GET", "/a.css", []string{"Accept-Encoding: gzip"}}, {"GET", "/a.css", []string{"Accept-Encoding: gzip, br"}},
		{"HEAD", "/a.css", []string{"Accept-Encoding: br"}}, {"GET", "/a.css", []string{"Accept-Encoding: identity;q=0"}},
		{"GET", "/d", nil}, {"GET", "/d?q=1", nil}, {"GET", "/d/", nil}, {"GET", "/d/index.html/", nil},
		{"GET", "/bare/", []string{"Accept: application/json"}}, {"GET", "/bare/?sort=size&page=9", nil}, {"HEAD", "/bare/", nil},
		{"GET", "/nothing", nil}, {"HEAD", "/nothing", nil}, {"GET", "/.404.html", nil}, {"GET", "/deep/.hidden", nil},
		{"GET", "/with%20space", nil}, {"GET", "/%2e%2e/x", nil}, {"GET", "/x%2fy", nil}, {"GET", "/d/%00", nil},
		{"POST", "/f.txt", nil}, {"OPTIONS", "/f.txt", nil}, {"PUT", "/nothing", nil}, {"BREW", "/f.txt", nil},
	} {
		ours, body := askStock(t, c.method, url+c.target, c.fields...)
		theirs, want := askStock(t, c.method, "http://"+g.addr+c.target, c.fields...)
		name := fmt.Sprintf("%s %s %v", c.method, c.target, c.fields)
		if ours.StatusCode != theirs.StatusCode || body != want || ours.ContentLength != theirs.ContentLength {
			t.Errorf("%s: %d of %d bytes (%.80q), the server %d of %d bytes (%.80q)", name,
				ours.StatusCode, ours.ContentLength, body, theirs.StatusCode, theirs.ContentLength, want)
		}
		for _, field := range []string{
			"Content-Type", "Content-Range", "Content-Encoding", "Accept-Ranges", "Etag", "Last-Modified", "Location",
			"Vary", "Allow", "Cache-Control", "X-Dir", "X-Content-Type-Options",
		} {
			if got, want := ours.Header.Values(field), theirs.Header.Values(field); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %s %q, the server %q", name, field, got, want)
			}
		}
	}
	// A Send is counted when it has ended, the client may have its bytes before that.
	if !testenv.Eventually(patience, func() bool { return e.GuestStats().Bytes[engine.ViaSendfile] >= 800_000 }) {
		t.Errorf("not by sendfile: %+v", e.GuestStats())
	}
}

// TestHandlerParts checks that of several ranges the long ones are sent as files.
func TestHandlerParts(t *testing.T) {
	checkFDs(t)
	root := t.TempDir()
	p := testenv.NewPattern(4)
	name := p.File(t, root, 300_000).Name()
	age(t, name)
	url, e := serveStock(t, server.Config{Site: server.Site{Root: root}})
	res, body := askStock(t, http.MethodGet, url+"/"+filepath.Base(name), "Range: bytes=0-99,1000-100999,-60000")
	if res.StatusCode != 206 || res.ContentLength != int64(len(body)) {
		t.Fatalf("%d, %v", res.StatusCode, res.Header)
	}
	for _, r := range [][2]int64{{0, 100}, {1000, 100_000}, {240_000, 60_000}} {
		if !strings.Contains(body, string(p.Bytes(r[0], int(r[1])))) {
			t.Errorf("the range %v is not in the body", r)
		}
	}
	testenv.Eventually(patience, func() bool { return e.GuestStats().Sends >= 2 }) // it is counted at its end
	if s := e.GuestStats(); s.Sends != 2 || s.Bytes[engine.ViaSendfile] < 150_000 {
		t.Errorf("%+v", s)
	}
}

// TestHandlerFileChanges has a file change under a response.
func TestHandlerFileChanges(t *testing.T) {
	checkFDs(t)
	const size = 32 << 20
	for name, change := range map[string]func(path string) error{
		"shrinks": func(path string) error { return os.Truncate(path, size/2) },
		"changes": func(path string) error { return os.Chtimes(path, settled, settled) },
	} {
		root := t.TempDir()
		path := filepath.Join(root, "f")
		if err := os.WriteFile(path, bytes.Repeat([]byte{1}, size), 0o644); err != nil {
			t.Fatal(err)
		}
		url, _ := serveStock(t, server.Config{Site: server.Site{Root: root}})
		res, err := testenv.Single.Get(url + "/f")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, res.Body, 1000); err != nil {
			t.Fatal(err)
		}
		if err := change(path); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, res.Body); err == nil {
			t.Errorf("%s: %d bytes look whole", name, n+1000)
		}
		res.Body.Close()
	}
}

// TestAnswerRead reads a body instead of sending it, in small pieces.
func TestAnswerRead(t *testing.T) {
	checkFDs(t)
	root := t.TempDir()
	p := testenv.NewPattern(5)
	name := p.File(t, root, 10_000).Name()
	age(t, name)
	h, err := server.NewHandler(server.Config{Site: server.Site{Root: root}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	ctx := new(fasthttp.RequestCtx)
	ctx.Request.SetRequestURI("/" + filepath.Base(name))
	h.Serve(ctx)
	stream := ctx.Response.BodyStream()
	got, err := io.ReadAll(struct{ io.Reader }{stream})
	if err != nil || len(got) != 10_000 || p.Check(got, 0) != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	ctx.Response.Reset() // closes it
}
