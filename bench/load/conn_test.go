package load

import (
	"context"
	"errors"
	"math"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/fserve/fserve/bench/sock"
	"github.com/fserve/fserve/internal/sys"
)

// pair returns a connection as the generator has them and the server's end.
func pair(t *testing.T, tg *target) (*conn, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	e, err := sock.NewEndpoint(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fd, err := e.Connect(-1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sys.Close(fd) })
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	return &conn{t: tg, fd: fd, state: inHead}, peer
}

// A response may arrive in any pieces. Each piece is received before the next
// one is written.
func TestReceivePieces(t *testing.T) {
	const h = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
	for _, tc := range []struct {
		name   string
		pieces []string
		err    string
	}{
		{"whole", []string{h + "0123456789"}, ""},
		{"head, body", []string{h, "0123456789"}, ""},
		{"head in three", []string{h[:1], h[1:20], h[20:], "0123456789"}, ""},
		{"end of head with body", []string{h[:38], h[38:] + "012", "3456789"}, ""},
		{"body byte by byte", append([]string{h}, strings.Split("0123456789", "")...), ""},
		{"status", []string{"HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\n0123456789"}, "status 404 instead of 200"},
		{"length", []string{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n012345678"}, "Content-Length 9 instead of 10"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, second := range []bool{false, true} {
				tg := newTarget("h", &Group{Path: "/", BodyLen: 10})
				if second {
					tg.learn(len(h)) // as after a first response
				}
				checkPieces(t, tg, tc.pieces, tc.err)
			}
		})
	}
}

func checkPieces(t *testing.T, tg *target, pieces []string, want string) {
	t.Helper()
	c, peer := pair(t, tg)
	var sent, received int64
	for i, p := range pieces {
		if _, err := peer.Write([]byte(p)); err != nil {
			t.Fatal(err)
		}
		sent += int64(len(p))
		done, err := receiveUntil(t, c, &received, sent)
		last := i == len(pieces)-1
		if last && want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("error %v, want %q", err, want)
			}
			return
		}
		if err != nil || done != last {
			t.Fatalf("piece %d: done %v, error %v", i, done, err)
		}
	}
}

// Bytes beyond the Content-Length are noticed at once in a first response,
// and at the start of the next response otherwise.
func TestReceiveExcess(t *testing.T) {
	const h, body = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "0123456789"
	c, peer := pair(t, newTarget("h", &Group{Path: "/", BodyLen: 10}))
	var received int64
	if _, err := peer.Write([]byte(h + body + "a")); err != nil {
		t.Fatal(err)
	}
	if _, err := receiveUntil(t, c, &received, int64(len(h)+11)); !errors.Is(err, errExcess) {
		t.Errorf("first response: error %v, want %v", err, errExcess)
	}

	c.t.learn(len(h))
	*c = conn{t: c.t, fd: c.fd, state: inHead}
	if _, err := peer.Write([]byte(h + body + "a")); err != nil {
		t.Fatal(err)
	}
	if done, err := receiveUntil(t, c, &received, math.MaxInt64); !done || err != nil {
		t.Fatalf("second response: done %v, error %v", done, err)
	}
	c.state = inHead
	if _, err := peer.Write([]byte(h + body)); err != nil {
		t.Fatal(err)
	}
	if _, err := receiveUntil(t, c, &received, math.MaxInt64); err == nil || !strings.Contains(err.Error(), "status line") {
		t.Errorf("third response: error %v", err)
	}
}

// receive receives once there is something.
func receive(t *testing.T, c *conn, most int64) (n int64, done bool, err error) {
	t.Helper()
	if err := c.wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	return c.receive(make([]byte, maxHead+copyMax), most)
}

// receiveUntil receives until the given number of bytes has come in all.
func receiveUntil(t *testing.T, c *conn, received *int64, bytes int64) (done bool, err error) {
	t.Helper()
	for {
		n, done, err := receive(t, c, math.MaxInt64)
		*received += n
		if done || err != nil || *received >= bytes {
			return done, err
		}
	}
}

func TestReceiveEnds(t *testing.T) {
	const h = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
	for _, sent := range []string{"", h[:7], h, h + "012"} {
		c, peer := pair(t, newTarget("h", &Group{Path: "/", BodyLen: 10}))
		if _, err := peer.Write([]byte(sent)); err != nil {
			t.Fatal(err)
		}
		peer.Close()
		var err error
		for err == nil {
			_, _, err = receive(t, c, math.MaxInt64)
		}
		if !errors.Is(err, errClosed) {
			t.Errorf("after %q: error %v, want %v", sent, err, errClosed)
		}
	}
}

// A turn takes no more than its budget; the next one goes on from there.
func TestReceiveTurn(t *testing.T) {
	const size = 100 << 10
	tg := newTarget("h", &Group{Path: "/", BodyLen: size})
	c, peer := pair(t, tg)
	go func() {
		_, _ = peer.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 102400\r\n\r\n"))
		_, _ = peer.Write(make([]byte, size))
	}()
	turns := 0
	for done := false; !done; turns++ {
		var n int64
		var err error
		if n, done, err = receive(t, c, 1000); err != nil {
			t.Fatal(err)
		}
		if turns > 0 && n > 1000 {
			t.Fatalf("turn %d took %d bytes", turns, n)
		}
	}
	if turns < 90 {
		t.Errorf("%d turns", turns)
	}
}

func TestSendErrors(t *testing.T) {
	c, _ := pair(t, newTarget("h", &Group{Path: "/", BodyLen: 10}))
	if err := c.send(5); err != nil || c.state != inHead || c.start != 5 || c.next != 1 {
		t.Errorf("after a send: %+v, error %v", c, err)
	}
	broken := &conn{t: c.t, fd: -1}
	if err := broken.send(5); !errors.Is(err, syscall.EBADF) {
		t.Errorf("error %v, want EBADF", err)
	}
}
