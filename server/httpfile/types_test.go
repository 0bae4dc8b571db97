package httpfile

import (
	"mime"
	"strings"
	"testing"
)

func TestContentType(t *testing.T) {
	plain := Config{}
	own := Config{
		Charset: "iso-8859-1", DefaultType: "text/plain",
		ContentTypes: map[string]string{".HTML": "application/x-own", "md": "text/x-own; Charset=koi8-r", "own": "text/own", "/VERSION": "text/own-version"},
	}
	for _, c := range []struct {
		config     Config
		path, want string
	}{
		{plain, "/index.html", "text/html; charset=utf-8"},
		{plain, "/INDEX.HTML", "text/html; charset=utf-8"},
		{plain, "/a.b/c.css", "text/css; charset=utf-8"},
		{plain, "/app.js", "text/javascript; charset=utf-8"},
		{plain, "/app.mjs", "text/javascript; charset=utf-8"},
		{plain, "/app.wasm", "application/wasm"},
		{plain, "/data.json", "application/json"},
		{plain, "/feed.xml", "application/xml"},
		{plain, "/i.svg", "image/svg+xml"},
		{plain, "/i.avif", "image/avif"},
		{plain, "/i.webp", "image/webp"},
		{plain, "/i.jxl", "image/jxl"},
		{plain, "/f.woff2", "font/woff2"},
		{plain, "/v.mp4", "video/mp4"},
		{plain, "/segment1.ts", "video/mp2t"}, // HLS is served more often than TypeScript
		{plain, "/x.tar.gz", "application/gzip"},
		{plain, "/x.zst", "application/zstd"},
		{plain, "/x.deb", "application/vnd.debian.binary-package"},
		{plain, "/x.rpm", "application/x-rpm"},
		{plain, "/x.apk", "application/vnd.android.package-archive"},
		{plain, "/x.iso", "application/x-iso9660-image"},
		{plain, "/x.img", "application/octet-stream"},
		{plain, "/x.whl", "application/zip"},
		{plain, "/x.jar", "application/java-archive"},
		{plain, "/x.pdf", "application/pdf"},
		{plain, "/x", "application/octet-stream"},
		{plain, "/README", "text/plain; charset=utf-8"},
		{plain, "/dists/stable/InRelease", "text/plain; charset=utf-8"},
		{plain, "/SHA256SUMS", "text/plain; charset=utf-8"},
		{plain, "/license/x", "application/octet-stream"},
		{plain, "/x.readme", "application/octet-stream"},
		{plain, "/readme.x", "application/octet-stream"},
		{plain, "/m.usdz", "model/vnd.usdz+zip"},
		{plain, "/m.glb", "model/gltf-binary"},
		{plain, "/m.gltf", "model/gltf+json"},
		{plain, "/p.msixbundle", "application/msixbundle"},
		{plain, "/p.appxbundle", "application/appxbundle"},
		{plain, "/p.appinstaller", "application/appinstaller"},
		{plain, "/p.jnlp", "application/x-java-jnlp-file"},
		{plain, "/p.xspf", "application/xspf+xml"},
		{plain, "/d.odg", "application/vnd.oasis.opendocument.graphics"},
		{plain, "/v.asf", "video/x-ms-asf"},
		{plain, "/LICENSE", "text/plain; charset=utf-8"},
		{plain, "/i.svgz", "image/svg+xml"},
		{plain, "/p.mobileconfig", "application/x-apple-aspen-config"},
		{own, "/Version", "text/own-version; charset=iso-8859-1"},
		{own, "/x.version", "text/plain; charset=iso-8859-1"},
		{plain, "/x.", "application/octet-stream"},
		{plain, "/a.html/x", "application/octet-stream"},
		{plain, "/x.unknown", "application/octet-stream"},
		{plain, "/.html", "application/octet-stream"},
		{plain, "/.x.html", "text/html; charset=utf-8"},
		{plain, "/", "application/octet-stream"},
		{own, "/x.html", "application/x-own"},
		{own, "/x.md", "text/x-own; Charset=koi8-r"},
		{own, "/x.own", "text/own; charset=iso-8859-1"},
		{own, "/x.css", "text/css; charset=iso-8859-1"},
		{own, "/x", "text/plain; charset=iso-8859-1"},
		{Config{Charset: "none"}, "/x.css", "text/css"},
	} {
		if got := testPolicy(t, c.config).ContentType(c.path); got != c.want {
			t.Errorf("%s: %q, want %q", c.path, got, c.want)
		}
	}
}

func TestBuiltinTypes(t *testing.T) {
	if len(builtinTypes) < 400 {
		t.Errorf("only %d types", len(builtinTypes))
	}
	seen := make(map[string]bool)
	for line := range strings.Lines(mimeTypes) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		for _, ext := range words[1:] {
			if seen[ext] {
				t.Errorf("extension %s is there twice", ext)
			}
			seen[ext] = true
		}
	}
	for ext, typ := range builtinTypes {
		if ext != strings.ToLower(ext) || strings.ContainsAny(strings.TrimPrefix(ext, "/"), "./ ") {
			t.Errorf("extension %q cannot match", ext)
		}
		if parsed, params, err := mime.ParseMediaType(typ); err != nil || parsed != typ || len(params) > 0 {
			t.Errorf("%s: %q is no plain media type: %v", ext, typ, err)
		}
	}
}

func TestNosniff(t *testing.T) {
	f := testFacts(t, Config{AllowSniffing: true}, testFile)
	var p Plan
	for _, req := range []string{"GET", "GET\nRange: bytes=0-1,5-6", "GET\nRange: bytes=20-"} {
		if got := planned(t, &p, parseRequest(t, req), f, testNow).fields.Get("X-Content-Type-Options"); got != "" {
			t.Errorf("%q: %q", req, got)
		}
	}
}
