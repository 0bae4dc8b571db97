package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
)

func TestDownloads(t *testing.T) {
	root := t.TempDir()
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	if err := os.WriteFile(filepath.Join(root, "f.bin"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	e, err := newEngine("200MiB/s")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv, ended := newServer(root, true), make(chan error, 1)
	go func() { ended <- srv.Serve(e.Listener(ln)) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, path := range []string{"/f.bin", "/save/f.bin", "/users/ann/f.bin"} {
		res, err := client.Get("http://" + ln.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || !bytes.Equal(body, content) {
			t.Errorf("%s: %d bytes, %v", path, len(body), err)
		}
		if save := strings.Contains(res.Header.Get("Content-Disposition"), "f.bin"); save != (path == "/save/f.bin") {
			t.Errorf("%s: %v", path, res.Header)
		}
	}
	report, _ := e.LimitsReport(10)
	granted := map[string]int64{}
	for _, c := range report.Clients {
		granted[c.Name] = c.Granted
	}
	if n := int64(len(content)); granted["ann"] < n || granted["127.0.0.1"] < 2*n {
		t.Errorf("granted: %v", granted)
	}
	// A Send is counted when it has ended, the client may have its bytes before that.
	for deadline := time.Now().Add(time.Minute); e.GuestStats().Sends < 3 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if s := e.GuestStats(); s.Sends != 3 || s.Bytes[engine.ViaSendfile] < 3*uint64(len(content))*99/100 {
		t.Errorf("not by sendfile: %+v", s)
	}
	srv.Close()
	if err := <-ended; err != http.ErrServerClosed {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
