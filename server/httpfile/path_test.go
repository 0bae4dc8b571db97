package httpfile

import (
	"bytes"
	"net/url"
	"strings"
	"testing"
)

func TestNormalizePath(t *testing.T) {
	const noQuery = "-"
	for _, c := range []struct {
		target, path, query string
	}{
		{"/", "/", noQuery},
		{"/f", "/f", noQuery},
		{"/a/b.txt", "/a/b.txt", noQuery},
		{"/dir/", "/dir/", noQuery},
		{"/f?", "/f", ""},
		{"/f?a=b&c=%20d?e/../", "/f", "a=b&c=%20d?e/../"},
		{"/f?rate=50%", "/f", "rate=50%"},
		{"/a+b;c=d,e", "/a+b;c=d,e", noQuery},

		// Decoded once
		{"/a%20b", "/a b", noQuery},
		{"/%66%6F%6f", "/foo", noQuery},
		{"/%C3%A4", "/ä", noQuery},
		{"/ä", "/ä", noQuery},
		{"/%ff", "/\xff", noQuery},
		{"/%c0%ae%c0%ae/f", "/\xc0\xae\xc0\xae/f", noQuery}, // overlong dots are bytes of a name
		{"/%252e%252e/f", "/%2e%2e/f", noQuery},
		{"/%25", "/%", noQuery},
		{"/%23%3F", "/#?", noQuery},

		{"/systemd\\x2d.txt", "/systemd\\x2d.txt", noQuery},
		{"/systemd%5Cx2d.txt", "/systemd\\x2d.txt", noQuery},
		{"/..\\f", "/..\\f", noQuery},
		{"/%5c..%5cf", "/\\..\\f", noQuery},
		{"/a%09b%0d%0a%1f%7f", "/a\tb\r\n\x1f\x7f", noQuery},

		// Normalised once
		{"/@scope%2fname", "/@scope/name", noQuery},
		{"/a%2Fb", "/a/b", noQuery},
		{"/%2f", "/", noQuery},
		{"/%2f/a%2f%2F/b%2f", "/a/b/", noQuery},
		{"/a%2f.%2fb", "/a/b", noQuery},
		{"/a%252fb", "/a%2fb", noQuery},
		{"/%2fhost/f", "/host/f", noQuery},
		{"/a%2f.git", "/a/.git", noQuery},
		{"//", "/", noQuery},
		{"//host/f", "/host/f", noQuery},
		{"/a//b///c", "/a/b/c", noQuery},
		{"/a//", "/a/", noQuery},
		{"/./a/././b", "/a/b", noQuery},
		{"/.", "/", noQuery},
		{"/a/.", "/a/", noQuery},
		{"/a/%2e/b", "/a/b", noQuery},
		{"/a/../b", "/b", noQuery},
		{"/a/..", "/", noQuery},
		{"/a/b/..", "/a/", noQuery},
		{"/a/b/../", "/a/", noQuery},
		{"/a/b/../../c", "/c", noQuery},
		{"/a//../b", "/b", noQuery},
		{"/a/./../b", "/b", noQuery},
		{"/...", "/...", noQuery},
		{"/..a", "/..a", noQuery},
		{"/a../b", "/a../b", noQuery},
		{"/.well-known/x", "/.well-known/x", noQuery},
		{"/%2ehidden", "/.hidden", noQuery},
	} {
		path, query, err := parsePath(nil, []byte(c.target))
		got := noQuery
		if query != nil {
			got = string(query)
		}
		if err != nil || string(path) != c.path || got != c.query {
			t.Errorf("%q: path %q, query %q, %v; want %q, %q", c.target, path, got, err, c.path, c.query)
		}
	}
}

func TestNormalizePathRefused(t *testing.T) {
	for _, c := range []struct {
		target string
		err    error
	}{
		{"/..", ErrOutsideRoot},
		{"/../f", ErrOutsideRoot},
		{"/../", ErrOutsideRoot},
		{"/a/../../f", ErrOutsideRoot},
		{"/a/../..", ErrOutsideRoot},
		{"/./../f", ErrOutsideRoot},
		{"//../f", ErrOutsideRoot},
		{"/%2e%2e/f", ErrEncodedDotDot},
		{"/%2E%2E/f", ErrEncodedDotDot},
		{"/.%2e/f", ErrEncodedDotDot},
		{"/%2e./f", ErrEncodedDotDot},
		{"/a/%2e%2e/b", ErrEncodedDotDot},
		{"/a/..%2fb", ErrEncodedDotDot},
		{"/a%2f../b", ErrEncodedDotDot},
		{"/a%2F..", ErrEncodedDotDot},
		{"/a/b/..%2f..", ErrEncodedDotDot},
		{"/a/..%2", ErrBadEscape},
		{"/%2f%00", ErrBadByte},
		{"/f%00", ErrBadByte},
		{"/f\x00.txt", ErrBadByte},
		{"/a\x7f", ErrBadByte},
		{"/a b", ErrBadByte},
		{"/a\tb", ErrBadByte},
		{"/a#b", ErrBadByte},
		{"/%", ErrBadEscape},
		{"/%4", ErrBadEscape},
		{"/%zz", ErrBadEscape},
		{"/%4/f", ErrBadEscape},
		{"/%g0", ErrBadEscape},
		{"/%0g", ErrBadEscape},
		{"/%u0041", ErrBadEscape},
		{"*", ErrTargetForm},
		{"f", ErrTargetForm},
		{"host:443", ErrTargetForm},
		{"http:/f", ErrTargetForm},
		{"http://", ErrTargetForm},
		{"http:///f", ErrTargetForm},
		{"http://user@host/f", ErrTargetForm},
		{"http://ho st/f", ErrTargetForm},
		{"ftp://host/f", ErrTargetForm},
		{"file:///etc/passwd", ErrTargetForm},
	} {
		path, query, err := parsePath(nil, []byte(c.target))
		if err != c.err || path != nil || query != nil {
			t.Errorf("%q: %q, %q, %v; want %v", c.target, path, query, err, c.err)
		}
	}
	if got := ErrOutsideRoot.Error(); got != "request target: path leaves the root" {
		t.Error(got)
	}
	if _, err := NormalizePath(nil, []byte("f")); err != ErrTargetForm {
		t.Errorf("a raw path without its slash: %v", err)
	}
}

// TestNormalizePathMemory checks where the path is kept.
func TestNormalizePathMemory(t *testing.T) {
	target := []byte("/a/b")
	path, _, err := parsePath(make([]byte, 0, 8), target)
	if err != nil || &path[0] != &target[0] {
		t.Errorf("a clean path was copied: %q, %v", path, err)
	}
	dst := make([]byte, 3, 8)
	path, _, err = parsePath(dst, []byte("/a%20b/c"))
	if err != nil || &path[0] != &dst[0] || string(path) != "/a b/c" {
		t.Errorf("room was not used: %q, %v", path, err)
	}
}

// modelPath resolves a target by splitting it at its slashes.
func modelPath(target string) (path string, ok bool) {
	raw, _, _ := strings.Cut(target, "?")
	if raw == "" {
		return "/", true
	}
	if raw[0] != '/' {
		return "", false
	}
	var stack []string
	dir := true
	for i := range len(raw) {
		if raw[i] <= ' ' || raw[i] == 0x7f || raw[i] == '#' {
			return "", false
		}
	}
	const mark = "\x00" // that a slash was encoded, on both sides of it
	for _, slash := range []string{"%2f", "%2F"} {
		raw = strings.ReplaceAll(raw, slash, mark+"/"+mark)
	}
	for marked := range strings.SplitSeq(strings.TrimPrefix(raw, "/"), "/") {
		seg := strings.ReplaceAll(marked, mark, "")
		name, err := url.PathUnescape(seg)
		if err != nil || strings.Contains(name, "\x00") {
			return "", false
		}
		switch dir = true; name {
		case "", ".":
		case "..":
			if marked != ".." || len(stack) == 0 {
				return "", false
			}
			stack = stack[:len(stack)-1]
		default:
			stack, dir = append(stack, name), false
		}
	}
	path = "/" + strings.Join(stack, "/")
	if dir && len(stack) > 0 {
		path += "/"
	}
	return path, true
}

func FuzzPath(f *testing.F) {
	for _, target := range []string{
		"/", "/a/b.txt?q=1", "/../f", "/%2e%2e/f", "/a/../b", "/a/%2e/b/.", "//host//f/", "/a%2fb", "/a\\b", "/%00", "/%252e%252e/%25",
		"http://host/a?b", "https://[::1]:80?q", "http://", "*", "/a//../b/", "/.well-known/x", "/%c3%a4/\xff", "/a/b/../../c/..", "/a?b#c", "/%4",
	} {
		f.Add(target)
	}
	f.Fuzz(checkPath)
}

// checkPath compares NormalizePath with the model, and reads back what AppendLocation makes of the path.
func checkPath(t *testing.T, target string) {
	path, query, err := parsePath(nil, []byte(target))
	want, ok := modelPath(target)
	if ok != (err == nil) || string(path) != want {
		t.Fatalf("%q: %q, %v; want %q, %v", target, path, err, want, ok)
	}
	if !ok {
		return
	}
	again, err := NormalizePath(nil, AppendLocation(nil, path, nil))
	if err != nil || !bytes.Equal(again, path) {
		t.Fatalf("%q is written and read back as %q, %v", path, again, err)
	}
	location := AppendLocation(nil, path, query)
	checkLocation(t, location)
	if back, backQuery, err := parsePath(nil, location); err != nil || !bytes.Equal(back, path) || (backQuery == nil) != (query == nil) {
		t.Fatalf("location %q is read back as %q, %q, %v", location, back, backQuery, err)
	}
	checkHidden(t, path)
}

// checkHidden compares Hidden with what its comment says, segment by segment.
func checkHidden(t *testing.T, path []byte) {
	t.Helper()
	want := false
	for i, seg := range strings.Split(string(path[1:]), "/") {
		if strings.HasPrefix(seg, ".") && (i > 0 || seg != ".well-known") {
			want = true
		}
	}
	pol, err := NewPolicy(Config{})
	if err != nil || pol.Hidden(path) != want {
		t.Fatalf("%q is hidden: %v, %v", path, !want, err)
	}
}

// checkLocation checks what makes a Location safe: this host, visible ASCII.
func checkLocation(t *testing.T, location []byte) {
	t.Helper()
	if !bytes.HasPrefix(location, []byte("/")) || bytes.HasPrefix(location, []byte("//")) || bytes.HasPrefix(location, []byte("/\\")) {
		t.Fatalf("location %q may name a host", location)
	}
	for _, c := range location {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' || c == '\\' {
			t.Fatalf("location %q holds %q", location, c)
		}
	}
}

func TestRedirectDir(t *testing.T) {
	pol := testPolicy(t, Config{})
	for _, c := range []struct{ target, want string }{
		{"/dir", "/dir/"},
		{"/dir?", "/dir/?"},
		{"/dir?a=b&c=d%20e", "/dir/?a=b&c=d%20e"},
		{"/dir?<script>", "/dir/?%3Cscript%3E"},
		{"/dir?\xff\"", "/dir/?%FF%22"},
		{"//host", "/host/"},
		{"//host/dir", "/host/dir/"},
		{"/.//host", "/host/"},
		{"/a/..//host", "/host/"},
		{"/a%20b", "/a%20b/"},
		{"/a%3Fb%23c%25", "/a%3Fb%23c%25/"},
		{"/ä", "/%C3%A4/"},
		{"/a:b@c", "/a:b@c/"},
		{"/dir/", "/dir/"},
		{"/", "/"},
	} {
		req := parseRequest(t, "GET "+c.target)
		var p Plan
		p.RedirectDir(req, pol)
		if got := rendered(t, &p, req).fields.Get("Location"); got != c.want || p.Status != 301 {
			t.Errorf("%q: %d %q, want %q", c.target, p.Status, got, c.want)
		}
	}
	// Even a path that was not normalised gives no host.
	for _, path := range []string{"//host", "/\\host", "\\\\host", "///", ""} {
		var p Plan
		req := &Request{Method: MethodGet, Path: []byte(path)}
		p.RedirectDir(req, pol)
		checkLocation(t, []byte(rendered(t, &p, req).fields.Get("Location")))
	}
}
