package server_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/httpfile"
)

func TestHeaderRules(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		long := strings.Repeat("long ", 600) + "value" // more than there is room for before a small file
		g := start(t, d, server.Config{
			Site: server.Site{
				Precompressed: true,
				Headers: []server.HeaderRule{
					{Match: "/a/", Name: "X-Dir", Value: "a"},
					{Match: "*.css", Name: "x-dir", Value: "second"},
					{Match: "*.css", Name: "X-Kind", Value: "style: yes, \"quoted\""},
					{Match: "/long", Name: "X-Long", Value: long},
					{Match: "/nothing", Name: "X-Nothing", Value: "here"},
				},
			},
			Routes: []server.Route{{Prefix: "/h/", Handler: func(ctx *fasthttp.RequestCtx) {
				ctx.Response.Header.Set("X-Kind", "handler")
				server.ServeFile(ctx, "/a/f.css")
			}}},
		})
		g.coded("a/f.css")
		g.write("g.css", hello)
		g.write("long", hello)
		g.pattern("a/big.bin", 3, 1<<20)
		c := g.dial()
		for range 3 { // small files are answered from what was rendered, from the second time on
			for _, test := range []struct {
				target    string
				fields    []string
				status    int
				dir, kind string
			}{
				{"/a/f.css", nil, 200, "a", `style: yes, "quoted"`},
				{"/a/f.css", []string{"Accept-Encoding: br"}, 200, "a", `style: yes, "quoted"`},
				{"/a/f.css", []string{"Range: bytes=0-1"}, 206, "a", `style: yes, "quoted"`},
				{"/a/f.css", []string{"If-None-Match: *"}, 304, "a", `style: yes, "quoted"`},
				{"/a/f.css", []string{`If-Match: "x"`}, 412, "a", `style: yes, "quoted"`},
				{"/g.css", nil, 200, "second", `style: yes, "quoted"`},
				{"/a/big.bin", nil, 200, "a", ""},
				{"/a/nothing", nil, 404, "a", ""},
				{"/a/", nil, 403, "a", ""},
				{"/nope", nil, 404, "", ""},
				{"/h/x", nil, 200, "a", "handler"},
			} {
				r := c.get(test.target, test.fields...)
				r.want(t, test.status)
				r.wantField(t, "X-Dir", test.dir)
				r.wantField(t, "X-Kind", test.kind)
			}
			r := c.get("/long")
			r.want(t, 200, hello)
			r.wantField(t, "X-Long", long)
			r = c.get("/nothing")
			r.want(t, 404)
			r.wantField(t, "X-Nothing", "here")
		}
	})
}

func TestHeaderRulesAreChecked(t *testing.T) {
	for _, rule := range []server.HeaderRule{
		{Match: "/", Name: "", Value: "v"},
		{Match: "/", Name: "X Y", Value: "v"},
		{Match: "/", Name: "X:", Value: "v"},
		{Match: "/", Name: "X\r\nY", Value: "v"},
		{Match: "/", Name: "X", Value: ""},
		{Match: "/", Name: "X", Value: "a\r\nY: b"},
		{Match: "/", Name: "X", Value: "a\nb"},
		{Match: "/", Name: "X", Value: "a\x00b"},
		{Match: "/", Name: "X", Value: "v "},
		{Match: "", Name: "X", Value: "v"},
		{Match: "a", Name: "X", Value: "v"},
		{Match: "/a*b*", Name: "X", Value: "v"},
		{Match: "/", Name: "content-length", Value: "0"},
		{Match: "/", Name: "TRANSFER-ENCODING", Value: "chunked"},
		{Match: "/", Name: "Connection", Value: "close"},
		{Match: "/", Name: "keep-alive", Value: "timeout=5"},
		{Match: "/", Name: "Upgrade", Value: "h2c"},
		{Match: "/", Name: "Trailer", Value: "X"},
		{Match: "/", Name: "TE", Value: "trailers"},
		{Match: "/", Name: "Date", Value: "now"},
		{Match: "/", Name: "ETag", Value: `"x"`},
		{Match: "/", Name: "Content-Encoding", Value: "br"},
		{Match: "/", Name: "Cache-Control", Value: "no-cache"},
	} {
		srv, err := server.New(server.Config{Site: server.Site{
			Root: t.TempDir(), Headers: []server.HeaderRule{{Match: "/", Name: "X-Fine", Value: "yes"}, rule},
		}, Listen: []string{"127.0.0.1:0"},
			Engine: engine.Config{Driver: engine.DriverFallback, Loops: 1}})
		if err == nil {
			srv.Close()
		}
		if !errors.Is(err, server.ErrConfig) {
			t.Errorf("%+v: %v, want an ErrConfig", rule, err)
		}
	}
}

// What httpfile decides by rules arrives on the wire.
func TestFileRules(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{Site: server.Site{
			Index: []string{"none.html", "main.html"}, Files: httpfile.Config{
				Server:        "files/1",
				CacheControl:  []httpfile.Rule{{Match: "/assets/", Value: "public, max-age=31536000, immutable"}, {Match: "*.html", Value: "no-cache"}},
				Disposition:   []httpfile.Rule{{Match: "*.iso", Value: "attachment"}},
				DownloadParam: "dl",
				ContentTypes:  map[string]string{"iso": "application/x-disc"},
				Dotfiles:      true,
			},
		}})
		g.write("assets/x.html", hello)
		g.write("sub/main.html", hello)
		g.write("d.iso", hello)
		g.write(".dot", hello)
		c := g.dial()
		for _, test := range []struct{ target, field, value string }{
			{"/assets/x.html", "Cache-Control", "public, max-age=31536000, immutable"},
			{"/sub/", "Cache-Control", "no-cache"},
			{"/d.iso", "Cache-Control", ""},
			{"/d.iso", "Content-Type", "application/x-disc"},
			{"/d.iso", "Content-Disposition", `attachment; filename="d.iso"`},
			{"/sub/?dl", "Content-Disposition", `attachment; filename="main.html"`},
			{"/.dot", "Server", "files/1"},
		} {
			r := c.do(http.MethodGet, test.target)
			r.want(t, 200, hello)
			r.wantField(t, test.field, test.value)
		}
	})
}
