package tls

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
)

// exhausted is a listener for whose next connections there are no descriptors.
type exhausted struct {
	net.Listener
	times int
}

func (e *exhausted) Accept() (net.Conn, error) {
	if e.times--; e.times < 0 {
		return nil, net.ErrClosed
	}
	return nil, syscall.EMFILE
}

// A lack of descriptors is logged once, and does not end the listener.
func TestAcceptErrorsAreLoggedOnce(t *testing.T) {
	var out bytes.Buffer
	f := &Front{cfg: Config{Listen: []string{"127.0.0.1:0"}, Log: slog.New(slog.NewTextHandler(&out, nil))}, ended: make(chan struct{})}
	f.running.Add(1)
	f.accepting.Add(1)
	ln := &exhausted{times: 30}
	f.accept(ln, 0)
	if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), "too many open files") || ln.times != -1 {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
}
