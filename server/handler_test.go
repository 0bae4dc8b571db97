package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// echo answers with what it was asked.
func echo(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set("X-Route", string(ctx.Path()))
	ctx.SetContentType("text/x-echo")
	fmt.Fprintf(ctx, "%s %s %s [%s]", ctx.Method(), ctx.RequestURI(), ctx.Request.Header.Peek("X-Ask"), ctx.Request.Body())
}

// onBothModes runs a test with a handler on the event loop and on a goroutine,
// on each driver.
func onBothModes(t *testing.T, test func(t *testing.T, d engine.DriverKind, blocking bool)) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		t.Run("loop", func(t *testing.T) { test(t, d, false) })
		t.Run("blocking", func(t *testing.T) { test(t, d, true) })
	})
}

func TestHandler(t *testing.T) {
	onBothModes(t, func(t *testing.T, d engine.DriverKind, blocking bool) {
		g := start(t, d, server.Config{MaxBody: 100_000, Routes: []server.Route{
			{Prefix: "/echo", Handler: echo, Blocking: blocking},
		}})
		g.write("f.txt", hello)
		c := g.dial()
		r := c.get("/echo/a?b=c", "X-Ask: why")
		r.want(t, 200, "GET /echo/a?b=c why []")
		r.wantField(t, "Content-Type", "text/x-echo")
		r.wantField(t, "X-Route", "/echo/a")
		date, err := time.Parse(http.TimeFormat, r.get("Date"))
		if since := time.Since(date); err != nil || since < 0 || since > patience {
			t.Errorf("Date %q", r.get("Date"))
		}

		c.send(request("POST", "/echo", "Content-Length: 3") + "abc")
		c.read("POST").want(t, 200, "POST /echo  [abc]")
		c.send(request("POST", "/echo", "Transfer-Encoding: chunked") + "2;x=y\r\nab\r\n1\r\nc\r\n0\r\nT: x\r\n\r\n")
		c.read("POST").want(t, 200, "POST /echo  [abc]")
		c.send(request("PUT", "/echo", "Content-Length: 0"))
		c.read("PUT").want(t, 200, "PUT /echo  []")
		c.do("BREW", "/echo").want(t, 200, "BREW /echo  []")

		large := strings.Repeat("0123456789", 10_000)
		c.send(request("POST", "/echo", fmt.Sprintf("Content-Length: %d", len(large))) + large)
		c.read("POST").want(t, 200, "POST /echo  ["+large+"]")

		head := c.do("HEAD", "/echo")
		head.want(t, 200)
		head.wantField(t, "Content-Length", fmt.Sprint(len("HEAD /echo  []")))

		// Between files, on the same connection, all sent at once.
		c.send(request("GET", "/f.txt") + request("GET", "/echo") + request("GET", "/f.txt") +
			request("POST", "/echo", "Content-Length: 1") + "z" + request("GET", "/f.txt"))
		c.read("GET").want(t, 200, hello)
		c.read("GET").want(t, 200, "GET /echo  []")
		c.read("GET").want(t, 200, hello)
		c.read("POST").want(t, 200, "POST /echo  [z]")
		c.read("GET").want(t, 200, hello)

		c.send("GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		r = c.read("GET")
		r.want(t, 200, "GET /echo  []")
		r.wantField(t, "Connection", "keep-alive")
		r = c.get("/echo", "Connection: close")
		r.want(t, 200)
		r.wantField(t, "Connection", "close")
		c.wantEnd()
	})
}

func TestHandlerBodyLimits(t *testing.T) {
	onBothModes(t, func(t *testing.T, d engine.DriverKind, blocking bool) {
		called := make(chan struct{}, 100)
		g := start(t, d, server.Config{MaxBody: 1000, Routes: []server.Route{{
			Prefix: "/up", Blocking: blocking,
			Handler: func(ctx *fasthttp.RequestCtx) { called <- struct{}{}; echo(ctx) },
		}}})
		chunks := strings.Repeat("64\r\n"+strings.Repeat("x", 100)+"\r\n", 11)
		for _, test := range []struct {
			raw    string
			status int
		}{
			{request("POST", "/up", "Content-Length: 1001") + strings.Repeat("x", 1001), 413},
			{request("POST", "/up", "Content-Length: 9000000000"), 413},
			{request("POST", "/up", "Content-Length: 9000000000", "Expect: 100-continue"), 413},
			{request("POST", "/up", "Transfer-Encoding: chunked") + chunks, 413},
			{request("POST", "/up", "Transfer-Encoding: chunked") + "zz\r\n", 400},
			{request("POST", "/up", "Transfer-Encoding: chunked") + "1\r\nab\r\n", 400},
		} {
			c := g.dial()
			c.send(test.raw)
			r := c.read("POST")
			r.want(t, test.status)
			if !r.closes() {
				t.Errorf("%.80q: the connection goes on", test.raw)
			}
			c.wantEnd()
			c.conn.Close()
		}
		// The answer to HEAD has no content, whatever is wrong with the request.
		c := g.dial()
		c.send(request("HEAD", "/up", "Transfer-Encoding: chunked") + "zz\r\n")
		c.read("HEAD").want(t, 400)
		c.wantEnd()
		if len(called) > 0 {
			t.Error("the handler was called")
		}
		c = g.dial()
		c.send(request("POST", "/up", "Content-Length: 1000") + strings.Repeat("x", 1000))
		c.read("POST").want(t, 200)
	})
}

func TestExpectContinue(t *testing.T) {
	onBothModes(t, func(t *testing.T, d engine.DriverKind, blocking bool) {
		g := start(t, d, server.Config{Routes: []server.Route{{Prefix: "/up", Handler: echo, Blocking: blocking}}})
		g.pattern("big.bin", 1, 1<<20)
		c := g.dial()
		for range 2 {
			c.get("/big.bin").want(t, 200) // an interim response after one in many packets
			c.send(request("POST", "/up", "Expect: 100-continue", "Content-Length: 3"))
			c.read("POST").want(t, 100)
			c.send("abc")
			c.read("POST").want(t, 200, "POST /up  [abc]")
		}
		c.send(request("POST", "/up", "Expect: 100-continue", "Transfer-Encoding: chunked"))
		c.read("POST").want(t, 100)
		c.send("3\r\nabc\r\n0\r\n\r\n")
		c.read("POST").want(t, 200, "POST /up  [abc]")
	})
}

func TestRoutesAreLongestPrefix(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		say := func(s string) fasthttp.RequestHandler {
			return func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString(s) }
		}
		g := start(t, d, server.Config{Routes: []server.Route{
			{Prefix: "/a", Handler: say("a")},
			{Prefix: "/a/b/", Handler: say("ab"), Blocking: true},
			{Prefix: "/a/b/c", Handler: say("abc")},
		}})
		g.write("b", "file")
		c := g.dial()
		for target, want := range map[string]string{
			"/a": "a", "/a/x": "a", "/a/b": "a", "/a/b/": "ab", "/a/b/x": "ab", "/a/b/c": "abc", "/b": "file",
			"/x/../a/b/c": "abc", "//a//b//c": "abc", "/%61/%62/x": "ab",
		} {
			c.get(target).want(t, 200, want)
		}
		c.get("/%2e%2e/a").want(t, 400)
	})
}

// A handler sees the path that its route was chosen by, however fasthttp would
// read the target.
func TestHandlerSeesRoutedPath(t *testing.T) {
	onBothModes(t, func(t *testing.T, d engine.DriverKind, blocking bool) {
		g := start(t, d, server.Config{Routes: []server.Route{{Prefix: "/", Blocking: blocking,
			Handler: func(ctx *fasthttp.RequestCtx) {
				fmt.Fprintf(ctx, "%s?%s", ctx.Path(), ctx.URI().QueryString())
			},
		}}})
		c := g.dial()
		for target, want := range map[string]string{
			"/a/.": "/a/?", "/a/..": "/?", "/%61/../b": "/b?", "//a///b": "/a/b?", "/%25%32%65%252e": "/%2e%2e?",
			"/a+b%2bc": "/a+b+c?", "http://h": "/?", "http://h/x/../y?q=1": "/y?q=1", "/\xc3%a9": "/\u00e9?", "/a?b/../c": "/a?b/../c",
		} {
			c.get(target).want(t, 200, want)
		}
		c.send(request("POST", "/x/../a", "Content-Length: 1"))
		g.once(http.MethodGet, "/other").want(t, 200, "/other?") // another request in between
		c.send("z")
		c.read("POST").want(t, 200, "/a?")
	})
}

// serveFile is a handler that answers with a file and fields of its own.
func serveFile(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.Set("X-Paid", "yes")
	h.Set("Content-Type", "text/wrong")
	h.Set("Content-Length", "7")
	h.Set("ETag", `"wrong"`)
	cookie := fasthttp.AcquireCookie()
	defer fasthttp.ReleaseCookie(cookie)
	cookie.SetKey("session")
	cookie.SetValue(string(ctx.QueryArgs().Peek("who")))
	h.SetCookie(cookie)
	server.ServeFile(ctx, string(ctx.Path()[len("/paid"):]))
}

func TestServeFile(t *testing.T) {
	onBothModes(t, func(t *testing.T, d engine.DriverKind, blocking bool) {
		g := start(t, d, server.Config{Routes: []server.Route{{Prefix: "/paid/", Handler: serveFile, Blocking: blocking}}})
		g.write("f.txt", hello)
		g.write("dir/index.html", "index")
		g.write(".env", secret)
		big := g.pattern("big.bin", 11, 1<<20)
		c := g.dial()
		c.get("/f.txt").want(t, 200, hello) // its answer is kept ready from here on
		for range 2 {
			r := c.get("/paid/f.txt?who=me")
			r.want(t, 200, hello)
			r.wantField(t, "X-Paid", "yes")
			r.wantField(t, "Set-Cookie", "session=me")
			r.wantField(t, "Content-Type", "text/plain; charset=utf-8")
			r.wantField(t, "Etag", etag(20))

			r = c.get("/f.txt") // nothing of the other answer
			r.want(t, 200, hello)
			r.wantField(t, "X-Paid", "")
			r.wantField(t, "Set-Cookie", "")
			c.get("/big.bin", "Range: bytes=0-0").wantField(t, "Set-Cookie", "")
		}
		r := c.get("/paid/big.bin", "Range: bytes=1000-99999")
		r.want(t, 206)
		r.wantField(t, "Content-Range", "bytes 1000-99999/1048576")
		r.wantField(t, "X-Paid", "yes")
		if err := big.Check(r.body, 1000); err != nil {
			t.Error(err)
		}
		c.get("/paid/f.txt", "If-None-Match: "+etag(20)).want(t, 304)
		c.do("HEAD", "/paid/f.txt").want(t, 200)
		c.get("/paid/dir/").want(t, 200, "index")
		c.get("/paid/nothing").want(t, 404)
		c.get("/paid/.env").want(t, 404)
		c.do("POST", "/paid/f.txt").want(t, 405)
		c.send("GET /paid/f.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		c.read("GET").wantField(t, "Connection", "keep-alive")
	})
}

// A name that no request could have is a fault of the handler; in particular it
// does not lead out of the root, even where links may.
func TestServeFileRefusesOddNames(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		name := make(chan string, 1)
		g := start(t, d, server.Config{Site: server.Site{Root: besides(t), Symlinks: engine.SymlinksFollow}, Routes: []server.Route{{
			Prefix: "/h", Handler: func(ctx *fasthttp.RequestCtx) { server.ServeFile(ctx, <-name) },
		}}})
		for _, odd := range []string{"", "f.txt", "/../secret.txt", "/..", "/sub/../../secret.txt", "//f.txt", "/sub//g.txt", "/.", "/./f.txt"} {
			name <- odd
			r := g.once(http.MethodGet, "/h")
			if r.status != 500 || strings.Contains(string(r.body), secret) {
				t.Errorf("ServeFile of %q: %d %q", odd, r.status, r.body)
			}
		}
		for _, fine := range []string{"/f.txt", "/sub/g.txt"} {
			name <- fine
			g.once(http.MethodGet, "/h").want(t, 200)
		}
	})
}

// Whatever a handler does, the request is answered and the others are unharmed.
func TestHandlerFaults(t *testing.T) {
	onBothModes(t, func(t *testing.T, d engine.DriverKind, blocking bool) {
		fault := func(prefix string, h fasthttp.RequestHandler) server.Route {
			return server.Route{Prefix: prefix, Handler: h, Blocking: blocking}
		}
		stream := func(r io.Reader) fasthttp.RequestHandler {
			return func(ctx *fasthttp.RequestCtx) { ctx.SetBodyStream(r, -1) }
		}
		g := start(t, d, server.Config{Routes: []server.Route{
			fault("/panic", func(*fasthttp.RequestCtx) { panic("on purpose") }),
			fault("/nil", func(*fasthttp.RequestCtx) { (*fasthttp.RequestCtx)(nil).SetStatusCode(200) }),
			fault("/broken", stream(io.MultiReader(strings.NewReader("half"), errReader{}))),
			fault("/panicking", stream(panicReader{})),
			fault("/999", func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(999) }),
			fault("/101", func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(101) }),
		}})
		g.write("f.txt", hello)
		other := g.dial()
		for _, target := range []string{"/panic", "/nil", "/broken", "/panicking", "/999", "/101"} {
			for _, method := range []string{"GET", "HEAD", "POST"} {
				c := g.dial()
				r := c.do(method, target)
				r.want(t, 500)
				if method == "HEAD" && len(r.body) > 0 {
					t.Error("content in the answer to HEAD")
				}
				c.wantEnd()
				c.conn.Close()
				other.get("/f.txt").want(t, 200, hello)
			}
		}
		if n := g.logs.count("handler panicked"); n != 9 {
			t.Errorf("%d panics were logged, want 9", n)
		}
	})
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("on purpose") }

type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("on purpose") }

func TestHandlerResponses(t *testing.T) {
	onBothModes(t, func(t *testing.T, d engine.DriverKind, blocking bool) {
		add := func(prefix string, h fasthttp.RequestHandler) server.Route {
			return server.Route{Prefix: prefix, Handler: h, Blocking: blocking}
		}
		large := testenv.NewPattern(12).Bytes(0, 3<<20)
		g := start(t, d, server.Config{Routes: []server.Route{
			add("/204", func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(204); ctx.SetBodyString("not sent") }),
			add("/304", func(ctx *fasthttp.RequestCtx) { ctx.NotModified() }),
			add("/404", func(ctx *fasthttp.RequestCtx) { ctx.Error("no", 404) }),
			add("/302", func(ctx *fasthttp.RequestCtx) { ctx.Redirect("/elsewhere", 302) }),
			add("/stream", func(ctx *fasthttp.RequestCtx) { ctx.SetBodyStream(strings.NewReader("streamed"), -1) }),
			add("/sized", func(ctx *fasthttp.RequestCtx) { ctx.SetBodyStream(strings.NewReader("streamed"), 8) }),
			add("/large", func(ctx *fasthttp.RequestCtx) { ctx.Response.SetBodyRaw(large) }),
			add("/close", func(ctx *fasthttp.RequestCtx) { ctx.SetConnectionClose() }),
			add("/log", func(ctx *fasthttp.RequestCtx) { ctx.Logger().Printf("said by %s", "handler") }),
			add("/empty", func(*fasthttp.RequestCtx) {}),
			add("/addr", func(ctx *fasthttp.RequestCtx) { fmt.Fprintf(ctx, "%v %v", ctx.RemoteAddr(), ctx.LocalAddr()) }),
		}})
		c := g.dial()
		c.get("/204").want(t, 204, "")
		c.get("/304").want(t, 304, "")
		c.get("/404").want(t, 404, "no")
		c.get("/302").want(t, 302)
		c.get("/stream").want(t, 200, "streamed")
		c.get("/sized").want(t, 200, "streamed")
		c.do("HEAD", "/stream").wantField(t, "Content-Length", "8")
		if r := c.get("/large"); !bytes.Equal(r.body, large) {
			t.Errorf("large: %d bytes differ", len(r.body))
		}
		c.get("/log").want(t, 200)
		c.get("/log").want(t, 200)
		c.get("/empty").want(t, 200, "")
		c.get("/addr").want(t, 200, c.conn.LocalAddr().String()+" "+g.addr)
		r := c.get("/close")
		r.want(t, 200)
		r.wantField(t, "Connection", "close")
		c.wantEnd()
	})
}

// A handler that gives up on its own work answers in time, and what the work
// still holds is not given to the next request.
func TestTimeoutHandler(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		release, ended := make(chan struct{}), make(chan struct{})
		slow := func(ctx *fasthttp.RequestCtx) {
			defer close(ended)
			<-release
			for range 1000 {
				ctx.Response.Header.Set("X-Late", "yes")
				ctx.SetBodyString("late")
			}
		}
		g := start(t, d, server.Config{Routes: []server.Route{{
			Prefix: "/t", Blocking: true,
			Handler: fasthttp.TimeoutWithCodeHandler(slow, 50*time.Millisecond, "too slow", 504),
		}, {Prefix: "/echo", Handler: echo}}})
		c := g.dial()
		c.send(request("POST", "/t", "Content-Length: 4") + "body")
		c.read("POST").want(t, 504, "too slow")
		close(release)
		for range 100 {
			r := c.get("/echo")
			r.want(t, 200, "GET /echo  []")
			r.wantField(t, "X-Late", "")
		}
		<-ended
	})
}

// A client that leaves while its handler works leaves nothing behind, and
// neither does the end of the server.
func TestClientLeavesBlockingHandler(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		entered, release := make(chan struct{}), make(chan struct{})
		g := start(t, d, server.Config{Routes: []server.Route{{
			Prefix: "/slow", Blocking: true,
			Handler: func(ctx *fasthttp.RequestCtx) {
				entered <- struct{}{}
				<-release
				if string(ctx.Path()) == "/slow/file" {
					server.ServeFile(ctx, "/big.bin")
				} else {
					ctx.Response.SetBodyRaw(make([]byte, 4<<20))
				}
			},
		}}})
		g.pattern("big.bin", 13, 4<<20)
		g.write("f.txt", hello)
		for _, target := range []string{"/slow/memory", "/slow/file"} {
			for _, leave := range []func(c *client){
				func(c *client) { c.conn.Close() },
				func(c *client) { c.conn.SetLinger(0); c.conn.Close() },
			} {
				c := g.dialWith(16 << 10)
				c.send(request("GET", target))
				<-entered
				g.once(http.MethodGet, "/f.txt").want(t, 200, hello) // the loop is free
				leave(c)
				release <- struct{}{}
				g.wantOpen(0)
			}
		}
		// One that stays gets its answer, and another is cut off by the end.
		c := g.dial()
		c.send(request("GET", "/slow/file"))
		<-entered
		release <- struct{}{}
		c.read("GET").want(t, 200)
		c.send(request("GET", "/slow/memory"))
		<-entered
		closed := make(chan error)
		go func() { closed <- g.srv.Close() }() // it waits for the handler
		release <- struct{}{}
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if _, err := readResponse(c.r, "GET"); err == nil {
			t.Log("the response was sent before the end")
		}
	})
}
