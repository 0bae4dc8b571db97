package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func TestShop(t *testing.T) {
	testenv.LeakCheck(t)
	dir := t.TempDir()
	p := testenv.NewPattern(1)
	const size = 60_000
	path := p.File(t, dir, size).Name()[len(dir):]
	s, err := newShop(dir, []byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv, ended := s.server(), make(chan error, 1)
	go func() { ended <- srv.Serve(s.engine.Listener(ln)) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(link string) (int, []byte) {
		t.Helper()
		res, err := client.Get("http://" + ln.Addr().String() + link)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, body
	}
	hour := time.Now().Add(time.Hour)
	for user, tier := range map[string]string{"ann": "free", "bob": "paid"} {
		if status, body := get(s.link(user, tier, path, hour)); status != 200 || len(body) != size || p.Check(body, 0) != nil {
			t.Errorf("%s: %d, %d bytes", user, status, len(body))
		}
	}
	good := s.link("ann", "free", path, hour)
	for name, c := range map[string]struct {
		link   string
		status int
	}{
		"better tier":  {strings.Replace(good, "tier=free", "tier=paid", 1), 403},
		"another user": {strings.Replace(good, "user=ann", "user=bob", 1), 403},
		"no tier":      {s.link("ann", "gold", path, hour), 403},
		"unsigned":     {path, 403},
		"expired":      {s.link("ann", "free", path, time.Now().Add(-time.Hour)), 410},
		"no such file": {s.link("ann", "free", "/nothing", hour), 404},
	} {
		if status, _ := get(c.link); status != c.status {
			t.Errorf("%s: %d, want %d", name, status, c.status)
		}
	}
	report, _ := s.engine.LimitsReport(10)
	rates := map[string]shape.Rate{}
	for _, c := range report.Clients {
		rates[c.Name] = c.Limit
		if c.Granted < size && c.Custom {
			t.Errorf("%s has got %d bytes", c.Name, c.Granted)
		}
	}
	if rates["ann"] != tiers["free"].Rate || rates["bob"] != tiers["paid"].Rate {
		t.Errorf("rates: %v", rates)
	}
	srv.Close()
	if err := <-ended; err != http.ErrServerClosed {
		t.Error(err)
	}
	if err := s.engine.Close(); err != nil {
		t.Error(err)
	}
	if err := s.files.Close(); err != nil {
		t.Error(err)
	}
}

func TestKeyIsNeeded(t *testing.T) {
	if _, err := newShop(".", nil); err == nil {
		t.Error("a shop without a key")
	}
}
