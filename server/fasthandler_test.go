package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
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

// TestHandlerServe holds what stock fasthttp makes of answers against what they are:
// status, length, content, and a field.
func TestHandlerServe(t *testing.T) {
	checkFDs(t)
	root := dirWith(t, ".404.html", "<p>nothing", "f.txt", hello, "empty", "", "a.css", "a{}", "a.css.br", "br", "bare/x", "x", "with space", "space")
	big := testenv.NewPattern(3).File(t, root, 500_000).Name()
	age(t, big)
	large := "/" + filepath.Base(big)
	url, e := serveStock(t, server.Config{Site: server.Site{
		Root: root, Precompressed: true, Listing: true, ErrorPages: map[int]server.Page{404: {Path: "/.404.html"}},
		Headers: []server.HeaderRule{{Match: "/bare/", Name: "X-Dir", Value: "d"}},
	}})
	for _, c := range []struct {
		request, field string // of the request
		status         int
		length         int64  // of the content by the head, -1: it says nothing
		body           string // its beginning
		answered       string // a field of the answer
	}{
		{"GET /f.txt", "", 200, 20, hello, "Etag: " + etag(20)},
		{"HEAD /f.txt", "", 200, 20, "", "Accept-Ranges: bytes"},
		{"GET /empty", "", 200, 0, "", "Content-Type: application/octet-stream"},
		{"GET " + large, "", 200, 500_000, "", "Last-Modified: " + lastModified},
		{"GET " + large, "Range: bytes=1000-400999", 206, 400_000, "", "Content-Range: bytes 1000-400999/500000"},
		{"GET /f.txt", "Range: bytes=0-4", 206, 5, hello[:5], "Content-Range: bytes 0-4/20"},
		{"GET /f.txt", "Range: bytes=20-", 416, 26, "416", "Content-Range: bytes */20"},
		{"GET /f.txt", "If-None-Match: *", 304, -1, "", "Etag: " + etag(20)},
		{"GET /f.txt", `If-Match: "x"`, 412, 24, "412", "Cache-Control: no-store"},
		{"GET /a.css", "Accept-Encoding: gzip, br", 200, 2, "br", "Content-Encoding: br"},
		{"HEAD /a.css", "Accept-Encoding: br", 200, 2, "", "Vary: Accept-Encoding"},
		{"GET /bare", "", 301, 22, "301", "Location: /bare/"},
		{"GET /bare/", "Accept: application/json", 200, 67, `[{"name":"x"`, "X-Dir: d"},
		{"GET /nothing", "", 404, 10, "<p>nothing", "Content-Type: text/html; charset=utf-8"},
		{"HEAD /nothing", "", 404, 10, "", "Cache-Control: no-store"},
		{"GET /with%20space", "", 200, 5, "space", ""},
		{"GET /bare%2fx", "", 200, 1, "x", ""},
		{"GET /bare/%2e%2e/x", "", 400, 16, "400", ""},
		{"POST /f.txt", "", 405, 23, "405", "Allow: GET, HEAD, OPTIONS"},
		{"OPTIONS /f.txt", "", 204, -1, "", "Allow: GET, HEAD, OPTIONS"},
		{"BREW /f.txt", "", 501, 20, "501", ""},
	} {
		method, target, _ := strings.Cut(c.request, " ")
		var fields []string
		if c.field != "" {
			fields = append(fields, c.field)
		}
		r, body := askStock(t, method, url+target, fields...)
		if n := r.ContentLength; r.StatusCode != c.status || n != c.length && n != max(c.length, 0) || !strings.HasPrefix(body, c.body) {
			t.Errorf("%s %s: %d, %d bytes, %.40q", c.request, c.field, r.StatusCode, n, body)
		}
		if name, value, _ := strings.Cut(c.answered, ": "); r.Header.Get(name) != value {
			t.Errorf("%s %s: %s %q, want %q", c.request, c.field, name, r.Header.Get(name), value)
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

// In a stock server whose listener is the engine's, a handler says whom a response is
// counted by, as one of a Route does; it holds for that response only. Elsewhere it is
// told that it cannot.
func TestStockServerFlows(t *testing.T) {
	checkFDs(t)
	e, err := engine.New(engine.Config{Limits: &shape.Config{Paths: []shape.PathLimit{{Prefix: "/a/"}}}})
	if err != nil {
		t.Fatal(err)
	}
	const size = 100_000
	handler := func(ctx *fasthttp.RequestCtx) {
		var err error
		switch path := string(ctx.Path()); path {
		case "/a/both":
			err = errors.Join(server.SetClient(ctx, "ann"), server.SetLimit(ctx, shape.Limit{Rate: 1 << 30}))
		case "/flow":
			err = engine.SetFlow(ctx, engine.Flow{Client: "bob"})
		case "/file":
			if err := server.ServeFile(ctx, "/f"); !errors.Is(err, server.ErrNoRoute) {
				t.Errorf("ServeFile: %v", err)
			}
		case "/wrong":
			if server.SetLimit(ctx, shape.Limit{Rate: -5}) == nil {
				t.Error("a wrong limit was taken")
			}
		}
		ctx.SetBodyString(fmt.Sprint(err))
		ctx.Response.AppendBody(make([]byte, size))
	}
	var urls []string
	for _, wrap := range []func(net.Listener) net.Listener{e.Listener, func(ln net.Listener) net.Listener { return ln }} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		urls = append(urls, "http://"+ln.Addr().String())
		srv, ended := &fasthttp.Server{Handler: handler, Logger: quiet{}}, make(chan error, 1)
		go func() { ended <- srv.Serve(wrap(ln)) }()
		t.Cleanup(func() {
			if err := errors.Join(srv.Shutdown(), <-ended); err != nil {
				t.Error(err)
			}
		})
	}
	one := &http.Transport{MaxConnsPerHost: 1}
	defer one.CloseIdleConnections()
	ask := func(url, want string) {
		t.Helper()
		if r := testenv.Ask(t, &http.Client{Transport: one}, "GET", url, ""); !strings.HasPrefix(r.Body, want+"\x00") {
			t.Errorf("%s: %.80q, want %q", url, r.Body, want)
		}
	}
	for _, path := range []string{"/a/both", "/", "/flow", "/file", "/wrong"} {
		ask(urls[0]+path, "<nil>")
	}
	ask(urls[1]+"/flow", engine.ErrNoConn.Error())
	ask(urls[1]+"/a/both", engine.ErrNoConn.Error()+"\n"+engine.ErrNoConn.Error())
	if e.GuestStats().Conns != 1 {
		t.Fatalf("%d connections", e.GuestStats().Conns)
	}
	report, _ := e.LimitsReport(10)
	sent := make(map[string]int64)
	for _, n := range append(report.Clients, report.Classes...) {
		sent[n.Name] = n.Granted / size
	}
	if sent["ann"] != 1 || sent["bob"] != 1 || sent["127.0.0.1"] != 3 || sent["/a/"] != 1 {
		t.Errorf("responses are counted for %v", sent)
	}
	one.CloseIdleConnections()
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
}

// What a Handler has no use for is refused, not ignored.
func TestHandlerRefusesWhatIsNotItsOwn(t *testing.T) {
	site := server.Site{Root: t.TempDir()}
	for name, cfg := range map[string]server.Config{
		"Listen": {Site: site, Listen: []string{":0"}}, "Routes": {Site: site, Routes: []server.Route{{Prefix: "/"}}},
		"AccessLog": {Site: site, AccessLog: new(server.AccessLog)}, "MaxBody": {Site: site, MaxBody: 1},
		"Engine": {Site: site, Engine: engine.Config{Limits: &shape.Config{}}}, "TLS": {Site: site, TLS: server.TLS{Listen: []string{":0"}}},
	} {
		if _, err := server.NewHandler(cfg); !errors.Is(err, server.ErrConfig) || !strings.Contains(err.Error(), name+" has no effect") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*server.Site){
		`class "/a/"`: func(s *server.Site) { s.Class = "/a/" }, "log": func(s *server.Site) { s.AccessLog.File = "/log" },
		"log ": func(s *server.Site) { s.NoAccessLog = true }, " log": func(s *server.Site) { s.LogSample = 0.5 },
	} {
		in := site
		change(&in)
		_, err := server.NewHandler(server.Config{Site: site, Locations: []server.Location{{Match: "/x/", Site: in}}})
		if !errors.Is(err, server.ErrConfig) || !strings.Contains(err.Error(), strings.TrimSpace(name)+" has no effect in a Handler") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
