package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"testing"

	"github.com/fserve/fserve/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func TestServe(t *testing.T) {
	testenv.LeakCheck(t)
	dir := t.TempDir()
	p := testenv.NewPattern(1)
	const size = 1 << 20
	name := p.File(t, dir, size).Name()[len(dir):]
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, ln, dir, "100MiB/s") }()
	res, err := http.Get("http://" + ln.Addr().String() + name)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || len(body) != size || p.Check(body, 0) != nil {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestBadLimit(t *testing.T) {
	if err := serve(context.Background(), nil, ".", "10"); err == nil {
		t.Error("a rate without a unit was taken")
	}
}
