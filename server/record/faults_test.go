package record

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
)

// logged are lines of a log.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// A path is logged once a minute, and no more than a hundred paths are.
func TestFaultsAreBounded(t *testing.T) {
	out := &logged{}
	f := NewFaults(slog.New(slog.NewTextHandler(out, nil)))
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	note := func(at time.Duration, path string) {
		f.Note(start.Add(at), []byte(path), netip.MustParseAddr("192.0.2.1"), 403, syscall.EACCES)
	}
	want := func(what string, lines int) {
		t.Helper()
		if !testenv.Eventually(20*time.Second, func() bool { return strings.Count(out.String(), "\n") == lines }) {
			t.Fatalf("%s: %d lines, want %d:\n%s", what, strings.Count(out.String(), "\n"), lines, out)
		}
	}
	for range 5 {
		note(0, "/a b")
	}
	want("one path", 1)
	if got := out.String(); !strings.Contains(got, `level=WARN msg="request failed" path="/a b" reason="permission denied" status=403 client=192.0.2.1`) {
		t.Error(got)
	}
	for i := range 300 {
		note(time.Second, fmt.Sprintf("/%d", i))
	}
	want("many paths", maxFaults)
	note(faultWindow+time.Second, "/a b")
	want("a minute later", maxFaults+2)
	if !strings.Contains(out.String(), "requests=201") {
		t.Errorf("those beyond are not counted:\n%s", out)
	}
}
