package engine

import (
	"bytes"
	"io"
	"net"
	"testing"

	"github.com/fserve/fserve/engine/loop"
)

// endingSession answers a line with 1,000 bytes and closes when they are sent.
type endingSession struct{ answer []byte }

func (s *endingSession) Receive(c *loop.Conn, p []byte, _ int) int {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		return 0
	}
	c.CloseAfter(true)
	c.Respond(&loop.Response{Head: s.answer})
	return i + 1
}
func (s *endingSession) Sent(c *loop.Conn, _ *Outcome) { c.Close() }
func (s *endingSession) Timeout(*loop.Conn)            {}
func (s *endingSession) Closed(*loop.Conn)             {}

// TestCloseInSent: Conn.Close promises that "the peer gets what was sent, then FIN".
// The response was complete when Sent was called, but is still held back: close(2)
// with unread input drops it.
func TestCloseInSent(t *testing.T) {
	eachDriver(t, func(t *testing.T, kind DriverKind) {
		e, err := New(Config{
			Listeners: []string{"127.0.0.1:0"}, Driver: kind, Loops: 1,
			NewSession: func(*loop.Loop) loop.Session { return &endingSession{make([]byte, 1000)} },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		lost := 0
		for range 50 {
			c, err := net.Dial("tcp", e.Addrs()[0].String())
			if err != nil {
				t.Fatal(err)
			}
			go c.Write(append([]byte("f\n"), make([]byte, 4<<20)...))
			if n, _ := io.Copy(io.Discard, c); n != 1000 {
				lost++
			}
			c.Close()
		}
		if lost > 0 {
			t.Errorf("%d of 50 responses are lost", lost)
		}
	})
}

// TestPipesFor: slow receivers leave descriptors to those to come.
func TestPipesFor(t *testing.T) {
	for _, c := range []struct{ descriptors, loops, want int }{
		{90, 1, 2}, {256, 1, 8}, {1024, 4, 8}, {1024, 1, 32}, {1 << 20, 2, 64}, {10, 2, 1},
	} {
		if n := pipesFor(c.descriptors, c.loops); n != c.want {
			t.Errorf("%d pipes for %d descriptors and %d loops, want %d", n, c.descriptors, c.loops, c.want)
		}
	}
}
