package httpfile

import (
	"syscall"
	"testing"
)

func TestStatusOfErrno(t *testing.T) {
	for _, c := range []struct {
		errno syscall.Errno
		want  int
	}{
		{0, 200},
		{syscall.ENOENT, 404}, {syscall.ENOTDIR, 404}, {syscall.ENAMETOOLONG, 404},
		{syscall.EXDEV, 404}, {syscall.ENXIO, 404}, {syscall.ENODEV, 404},
		{syscall.EACCES, 403}, {syscall.ELOOP, 403},
		{syscall.EMFILE, 503}, {syscall.ENFILE, 503}, {syscall.ENOMEM, 503}, {syscall.EAGAIN, 503},
		{syscall.EIO, 500}, {syscall.EINVAL, 500}, {syscall.EPERM, 500}, {syscall.ESTALE, 500}, {syscall.Errno(9999), 500},
	} {
		if got := StatusOfErrno(c.errno); got != c.want {
			t.Errorf("%v: %d, want %d", c.errno, got, c.want)
		}
	}
}

// TestFail checks every code that Fail may be given, and some that it may not.
func TestFail(t *testing.T) {
	pol := testPolicy(t, Config{})
	req := parseRequest(t, "GET")
	for code := -1; code <= 601; code++ {
		want := code
		if reasons[code] == "" || code < 400 {
			want = 500
		}
		var p Plan
		p.Fail(code, req, pol)
		r := rendered(t, &p, req)
		if r.status != want || memory(&p) != r.line[len("HTTP/1.1 "):]+"\n" {
			t.Errorf("%d: %q with %q", code, r.line, memory(&p))
		}
		if r.fields.Get("Cache-Control") != "no-store" || r.fields.Get("Etag")+r.fields.Get("Last-Modified") != "" {
			t.Errorf("%d: %v", code, r.fields)
		}
		if retry := r.fields.Get("Retry-After"); (retry != "") != (code == 429 || code == 503) {
			t.Errorf("%d: Retry-After %q", code, retry)
		}
	}
}
