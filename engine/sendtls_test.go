package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
)

// secured makes TLS of both ends of a connection.
func secured(t *testing.T, ours, peer net.Conn) (server, client *tls.Conn) {
	t.Helper()
	cert, key := testenv.KeyPair(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	server = tls.Server(ours, &tls.Config{Certificates: []tls.Certificate{pair}})
	client = tls.Client(peer, &tls.Config{InsecureSkipVerify: true})
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := errors.Join(client.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// Send writes to a connection of TLS, by the limits, whether one of a Listener is under it or not.
func TestSendTLS(t *testing.T) {
	const size = 2<<20 + 17
	p := testenv.NewPattern(8)
	for _, listener := range []bool{false, true} {
		for _, limited := range []bool{false, true} {
			t.Run(fmt.Sprintf("listener %v, limited %v", listener, limited), func(t *testing.T) {
				testenv.LeakCheck(t)
				cfg := Config{}
				if limited {
					cfg.Limits = &shape.Config{Client: shape.Limit{Rate: 200e6}}
				}
				e := hostOf(t, cfg)
				var ours, peer net.Conn
				if listener {
					ours, peer = guestPair(t, e)
				} else {
					ours, peer = tcpPair(t)
				}
				server, client := secured(t, ours, peer)
				f := patternFile(t, p, size)
				ctx := WithFlow(context.Background(), Flow{Client: "alice"})
				for _, c := range []struct{ off, n, want int64 }{{0, -1, size}, {4097, 100_000, 100_000}, {size, -1, 0}, {7, 0, 0}, {size + 5, -1, 0}} {
					got := make(chan error, 1)
					go func() { got <- receive(p, client, c.off, c.want) }()
					out, err := e.Send(ctx, server, f, c.off, c.n)
					if err != nil || out.End != Complete || out.Bytes[ViaCopy] != c.want {
						t.Fatalf("%+v: %+v, %v", c, out, err)
					}
					if err := <-got; err != nil {
						t.Errorf("%+v: %v", c, err)
					}
				}
				if limited {
					if n := clientReport(t, e, "alice").Granted; n < size || n > size+size/4 {
						t.Errorf("%d bytes are counted", n)
					}
				}
				out, err := e.Send(ctx, server, f, size-10, 20)
				if !errors.Is(err, io.ErrUnexpectedEOF) || out.Total() != 10 || out.End != FileChanged {
					t.Errorf("%+v, %v", out, err)
				}
			})
		}
	}
}

// What ends a Send ends one over TLS.
func TestSendTLSEnds(t *testing.T) {
	testenv.LeakCheck(t)
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	big := patternFile(t, testenv.NewPattern(9), 8<<20)
	for name, c := range map[string]struct {
		limit shape.Limit
		end   func(e *Engine, cancel context.CancelFunc, server net.Conn)
		want  error
	}{
		"the context":                 {end: func(_ *Engine, cancel context.CancelFunc, _ net.Conn) { cancel() }, want: context.Canceled},
		"the context, held":           {shape.Limit{Rate: 1000, Burst: 1000}, func(_ *Engine, cancel context.CancelFunc, _ net.Conn) { cancel() }, context.Canceled},
		"the engine":                  {end: func(e *Engine, _ context.CancelFunc, _ net.Conn) { e.Close() }, want: ErrEnded},
		"the engine, held":            {shape.Limit{Rate: 1000, Burst: 1000}, func(e *Engine, _ context.CancelFunc, _ net.Conn) { e.Close() }, ErrEnded},
		"the deadline of the socket":  {end: func(_ *Engine, _ context.CancelFunc, s net.Conn) { s.SetWriteDeadline(time.Unix(1, 0)) }, want: os.ErrDeadlineExceeded},
		"the end of the whole socket": {end: func(_ *Engine, _ context.CancelFunc, s net.Conn) { s.(*tls.Conn).NetConn().Close() }, want: net.ErrClosed},
	} {
		cfg := Config{}
		if c.limit.Rate > 0 {
			cfg.Limits = &shape.Config{Client: c.limit}
		}
		e := hostOf(t, cfg)
		ours, peer := tcpPair(t)
		narrow(t, ours, peer)
		server, client := secured(t, ours, peer)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() {
			_, err := e.Send(ctx, server, big, 0, -1)
			ended <- err
		}()
		if _, err := client.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		c.end(e, cancel, server)
		if err := <-ended; !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		cancel()
	}
	e := hostOf(t, Config{})
	ours, peer := tcpPair(t)
	server, _ := secured(t, ours, peer)
	if _, err := e.Send(context.Background(), server, dir, 0, 1); err == nil {
		t.Error("a directory is sent")
	}
	if _, err := e.Send(context.Background(), server, big, -1, 1); err == nil {
		t.Error("what is before the beginning is sent")
	}
}
