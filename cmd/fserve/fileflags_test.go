package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
)

func TestFileFlagsAreChecked(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "p.html"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	const usage, config = 2, 78
	for _, test := range []struct {
		flag, value string
		code        int
		says        string
	}{
		{"--cache-control", "/assets/", usage, "PATTERN=VALUE"},
		{"--cache-control", "=no-cache", usage, "PATTERN=VALUE"},
		{"--cache-control", "/=", usage, "PATTERN=VALUE"},
		{"--cache-control", "", usage, "PATTERN=VALUE"},
		{"--cache-control", "/a*b*=no-cache", config, "one *"},
		{"--cache-control", "assets/=no-cache", config, "not a path"},
		{"--cache-control", "/=no\x01cache", config, "control character"},
		{"--attachment", "iso", config, "not a path"},
		{"--attachment", "", config, "not a path"},
		{"--download-param", "a=b", config, "not a token"},
		{"--mime", "iso", usage, "EXT=TYPE"},
		{"--mime", "iso=nonsense", config, "not type/subtype"},
		{"--mime", "a/b=text/plain", config, "neither an extension nor"},
		{"--header", "/", usage, "PATTERN=NAME: VALUE"},
		{"--header", "/=X-A", usage, "PATTERN=NAME: VALUE"},
		{"--header", "/=X A: b", config, "not a field name"},
		{"--header", "/=X-A:", config, "no value"},
		{"--header", "a/=X-A: b", config, "not a path"},
		{"--header", "/=X-A: a\rb", config, "control character"},
		{"--header", "/=Content-Length: 0", config, "cannot be set"},
		{"--header", "/=connection: close", config, "cannot be set"},
		{"--error-page", "404", usage, "STATUS=/PATH"},
		{"--error-page", "x=/p.html", usage, "STATUS=/PATH"},
		{"--error-page", "200=/p.html", config, "not the status of a failure"},
		{"--error-page", "404=/none.html", config, "no such file"},
		{"--error-page", "404=p.html", config, "not an absolute path"},
		{"--symlinks", "some", usage, "inside, follow, deny"},
		{"--index", "a/b", config, "not a file name"},
		{"--index", "", config, "not a file name"},
		{"--server-field", "a\x01b", config, "control character"},
		{"--listing", "maybe", usage, "listing"},
	} {
		arg := test.flag + "=" + test.value
		r := fserve(t, nil, "--root", root, "--listen", "127.0.0.1:0", arg)
		if r.code != test.code || !strings.Contains(r.stderr, test.says) || r.stdout != "" {
			t.Errorf("fserve %q: %+v; want code %d and %q", arg, r, test.code, test.says)
		}
	}
	for _, twice := range []string{"--mime=iso=a/b", "--error-page=404=/p.html"} {
		if r := fserve(t, nil, "--root", root, twice, twice); r.code != usage || !strings.Contains(r.stderr, "given twice") {
			t.Errorf("fserve %q twice: %+v", twice, r)
		}
	}
}

func TestFileFlags(t *testing.T) {
	root, past := t.TempDir(), time.Now().Add(-time.Hour)
	for name, content := range map[string]string{
		"assets/a.js": "js", "assets/a.js.gz": "packed", "start.htm": "start", "404.html": "sorry", "d.iso": "disc",
		".dot/x": "x", "dir/f": "f",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, past, past); err != nil { // a sidecar must not be older than its source
			t.Fatal(err)
		}
	}
	if err := os.Symlink("start.htm", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	onBoth(t, func(t *testing.T, driver string) {
		p := serve(t, []string{"FSERVE_HEADER=*.js=X-One: 1\n*.js=X-Two: 2, two"}, "--root", root, driver, "--precompressed", "--listing", "--dotfiles",
			"--index", "none.htm", "--index", "start.htm", "--symlinks", "deny", "--server-field", "files",
			"--cache-control", "/assets/=public, max-age=31536000, immutable", "--cache-control", "*.iso=no-cache",
			"--attachment", "*.iso", "--download-param", "dl", "--mime", "iso=application/x-disc", "--mime", ".htm=text/x-start",
			"--error-page", "404=/404.html", "--error-page", "416=/404.html")
		for _, test := range []struct {
			target, body string
			status       int
			field, value string
		}{
			{"/assets/a.js", "packed", 200, "Content-Encoding", "gzip"},
			{"/assets/a.js", "packed", 200, "Cache-Control", "public, max-age=31536000, immutable"},
			{"/assets/a.js", "packed", 200, "X-One", "1"},
			{"/assets/a.js", "packed", 200, "X-Two", "2, two"},
			{"/", "start", 200, "Content-Type", "text/x-start; charset=utf-8"},
			{"/start.htm?dl", "start", 200, "Content-Disposition", `attachment; filename="start.htm"`},
			{"/d.iso", "disc", 200, "Content-Disposition", `attachment; filename="d.iso"`},
			{"/d.iso", "disc", 200, "Content-Type", "application/x-disc"},
			{"/d.iso", "disc", 200, "Cache-Control", "no-cache"},
			{"/link", "sorry", 404, "Server", "files"},
			{"/.dot/x", "x", 200, "X-One", ""},
		} {
			a := get(t, p.url(test.target), "Accept-Encoding: gzip")
			if a.StatusCode != test.status || a.Body != test.body || a.Header.Get(test.field) != test.value {
				t.Errorf("%s: %d %q %s: %q; want %d %q and %q", test.target, a.StatusCode, a.Body, test.field,
					a.Header.Get(test.field), test.status, test.body, test.value)
			}
		}
		if a := get(t, p.url("/dir/")); a.StatusCode != 200 || !strings.Contains(a.Body, `<a href="f">`) {
			t.Errorf("listing: %d %q", a.StatusCode, a.Body)
		}
		off := serve(t, nil, "--root", root, driver)
		if a := get(t, off.url("/assets/a.js"), "Accept-Encoding: gzip"); a.Body != "js" || a.Header.Get("Vary") != "" {
			t.Errorf("without sidecars: %q, Vary %q", a.Body, a.Header.Get("Vary"))
		}
	})
}

// get asks for a URL on a connection of its own.
func get(t *testing.T, url string, fields ...string) testenv.Answer {
	t.Helper()
	return testenv.Ask(t, testenv.Single, "GET", url, "", fields...)
}
