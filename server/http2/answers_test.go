package http2_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// ask is a request of a test.
type ask struct {
	method, path, body string
	chunked            bool
	fields             []string // name, value, ...
}

// answer is what a client got.
type answer struct {
	status int
	fields http.Header
	body   []byte
	err    error
}

func (g *rig) do(c *http.Client, a ask) (out answer) {
	g.Helper()
	var body io.Reader
	if a.body != "" {
		body = strings.NewReader(a.body)
		if a.chunked {
			body = io.MultiReader(body) // of which nobody knows the length
		}
	}
	r, err := http.NewRequestWithContext(g.Context(), a.method, g.url(a.path), body)
	if err != nil {
		g.Fatal(err)
	}
	for i := 0; i < len(a.fields); i += 2 {
		if a.fields[i] == "Host" {
			r.Host = a.fields[i+1]
		} else {
			r.Header.Add(a.fields[i], a.fields[i+1])
		}
	}
	resp, err := c.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	out = answer{status: resp.StatusCode, fields: resp.Header}
	out.body, out.err = io.ReadAll(resp.Body)
	if resp.ProtoMajor == 1 && resp.Close {
		out.fields.Del("Connection")
	}
	out.fields.Del("Date")
	if resp.ContentLength >= 0 && a.method != "HEAD" && out.fields.Get("Content-Length") == "" {
		out.fields.Set("Content-Length", fmt.Sprint(resp.ContentLength))
	}
	return out
}

// asks are about everything that an answer may depend on.
func asks(etag string, size int) (list []ask) {
	paths := []string{"/f.txt", "/empty", "/big.bin", "/mid.bin", "/dir", "/dir/", "/none", "/%2e%2e/etc/passwd", "/a%20b", "/f.txt?q=1", "/old"}
	for _, p := range paths {
		for _, m := range []string{"GET", "HEAD", "OPTIONS", "DELETE"} {
			list = append(list, ask{method: m, path: p})
		}
	}
	for _, r := range []string{"bytes=0-0", "bytes=1048576-", "bytes=-1000", fmt.Sprintf("bytes=%d-", size), "bytes=1-2,1000-2000,-5", "bytes=x", "lines=1-2", "bytes=0-99999999999"} {
		for _, path := range []string{"/big.bin", "/f.txt", "/mid.bin"} {
			list = append(list, ask{method: "GET", path: path, fields: []string{"Range", r}})
		}
		list = append(list, ask{method: "GET", path: "/big.bin", fields: []string{"Range", r, "If-Range", etag}},
			ask{method: "GET", path: "/big.bin", fields: []string{"Range", r, "If-Range", `"other"`}})
	}
	for _, f := range []string{"If-None-Match", "If-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		for _, v := range []string{etag, "*", `"x"`, settled.Format(http.TimeFormat), "Sat, 01 Jan 2000 00:00:00 GMT"} {
			list = append(list, ask{method: "GET", path: "/big.bin", fields: []string{f, v}}, ask{method: "HEAD", path: "/big.bin", fields: []string{f, v}})
		}
	}
	return append(list,
		ask{method: "GET", path: "/f.txt", fields: []string{"Host", "other.example"}},
		ask{method: "GET", path: "/f.txt", fields: []string{"Host", "Other.example:8443"}},
		ask{method: "GET", path: "/f.txt", fields: []string{"Te", "trailers", "Cookie", "a=b"}},
		ask{method: "GET", path: "/f.txt", fields: []string{"X-Long", strings.Repeat("x", 20_000)}},
		ask{method: "GET", path: "/" + strings.Repeat("y", 9_000)},
		ask{method: "BREW", path: "/f.txt"},
		ask{method: "POST", path: "/f.txt", body: "unwanted"},
		ask{method: "POST", path: "/echo", body: "small"}, ask{method: "POST", path: "/echo", body: "small", chunked: true},
		ask{method: "POST", path: "/echo", body: strings.Repeat("large", 100_000)}, ask{method: "POST", path: "/echo", body: strings.Repeat("large", 100_000), chunked: true},
		ask{method: "GET", path: "/echo"}, ask{method: "GET", path: "/stream"}, ask{method: "HEAD", path: "/echo"}, ask{method: "GET", path: "/nothing"},
	)
}

// handlers answer what files do not.
func handlers() []server.Route {
	return []server.Route{
		{Prefix: "/echo", Handler: func(ctx *fasthttp.RequestCtx) {
			ctx.Response.Header.Set("X-Host", string(ctx.Host()))
			ctx.SetBody(append([]byte("got "), ctx.PostBody()...))
		}},
		{Prefix: "/stream", Handler: func(ctx *fasthttp.RequestCtx) {
			ctx.SetBodyStream(strings.NewReader(strings.Repeat("streamed ", 50_000)), -1)
		}},
		{Prefix: "/nothing", Handler: func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(http.StatusNoContent) }},
	}
}

// Every answer by HTTP/2 is the one by HTTP/1.1.
func TestAnswersAsHTTP1(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{
			Routes: handlers(),
			Hosts:  []server.Host{{Names: []string{"other.example"}, Site: server.Site{Respond: server.Respond{Status: 200, Body: "other"}}}},
		})
		const size = 3<<20 + 4321
		g.write("f.txt", []byte("hello"))
		g.write("a b", []byte("space"))
		g.write("empty", nil)
		g.write("dir/index.html", []byte("index"))
		g.write("big.bin", testenv.NewPattern(7).Bytes(0, size))
		g.write("mid.bin", testenv.NewPattern(8).Bytes(0, 100_000))
		one, two := g.client(false), g.client(true)
		etag := g.do(one, ask{method: "HEAD", path: "/big.bin"}).fields.Get("Etag")
		list := asks(etag, size)
		if etag == "" || len(list) < 100 {
			t.Fatalf("ETag %q, %d requests", etag, len(list))
		}
		for _, a := range list {
			want, got := g.do(one, a), g.do(two, a)
			hideBoundary(&want)
			hideBoundary(&got)
			if len(a.body) > 100 {
				a.body = a.body[:100]
			}
			if got.err != nil || want.err != nil || got.status != want.status || !bytes.Equal(got.body, want.body) {
				t.Errorf("%+v: %d, %d bytes, %v; by HTTP/1.1 %d, %d bytes, %v", a, got.status, len(got.body), got.err, want.status, len(want.body), want.err)
			}
			if !maps.EqualFunc(got.fields, want.fields, slices.Equal) {
				t.Errorf("%+v:\n%v, by HTTP/1.1\n%v", a, got.fields, want.fields)
			}
		}
	})
}

// hideBoundary replaces what differs between any two answers of several ranges.
func hideBoundary(a *answer) {
	_, boundary, ok := strings.Cut(a.fields.Get("Content-Type"), "boundary=")
	if !ok {
		return
	}
	a.body = bytes.ReplaceAll(a.body, []byte(boundary), nil)
	a.fields.Set("Content-Type", "multipart/byteranges")
}

// The log names the protocol, the client and the port of the listener.
func TestLogOfStreams(t *testing.T) {
	for format, want := range map[server.LogFormat]string{
		server.LogCombined: `"GET /none HTTP/2.0" 404`,
		server.LogJSON:     `"target":"/none","protocol":"HTTP/2.0","status":404,"port":PORT,`,
	} {
		var out bytes.Buffer
		log := server.NewAccessLogIn(format, &out)
		g := start(t, engine.DriverFallback, server.Config{AccessLog: log})
		g.do(g.client(true), ask{method: "GET", path: "/none"})
		if err := errors.Join(g.srv.Close(), log.Close()); err != nil {
			t.Fatal(err)
		}
		_, port, _ := strings.Cut(g.addr, ":")
		if line := out.String(); !strings.Contains(line, strings.Replace(want, "PORT", port, 1)) || !strings.Contains(line, "127.0.0.1") || strings.Count(line, "\n") != 1 {
			t.Errorf("%s: want %s", line, want)
		}
	}
}
