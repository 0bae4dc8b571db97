package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func TestService(t *testing.T) {
	dir := t.TempDir()
	p := testenv.NewPattern(1)
	const size = 1 << 20
	name := p.File(t, dir, size).Name()[len(dir):]
	s, err := newService(dir, "100MiB/s")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ln) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path, ranges string) (*http.Response, []byte) {
		req, err := http.NewRequest(http.MethodGet, "http://"+ln.Addr().String()+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if ranges != "" {
			req.Header.Set("Range", ranges)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, body
	}
	if res, body := get(name, ""); len(body) != size || p.Check(body, 0) != nil || res.Header.Get("ETag") == "" {
		t.Errorf("%d bytes, %v", len(body), res.Header)
	}
	if res, body := get(name, "bytes=1000-600999"); res.StatusCode != 206 || len(body) != 600_000 || p.Check(body, 1000) != nil {
		t.Errorf("%d, %d bytes", res.StatusCode, len(body))
	}
	if _, body := get("/healthz", ""); string(body) != "ok\n" {
		t.Errorf("%q", body)
	}
	// A Send is counted when it has ended, the client may have its bytes before that.
	testenv.Eventually(time.Minute, func() bool { return s.engine.GuestStats().Sends >= 2 })
	if n := s.engine.GuestStats(); n.Sends != 2 {
		t.Errorf("%+v", n)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestBadArguments(t *testing.T) {
	if _, err := newService(".", "10"); err == nil {
		t.Error("a rate without a unit was taken")
	}
	if _, err := newService("/nothing/here", "unlimited"); err == nil {
		t.Error("a root that is not there was taken")
	}
}
