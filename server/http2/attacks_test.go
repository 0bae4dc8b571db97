package http2_test

import (
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/server"
)

// attack runs what a client does for as long as the server lets it, and sees that others are
// served as ever.
func attack(t *testing.T, do func(g *rig, c *raw)) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("large", make([]byte, large))
		g.write("f", []byte("f"))
		c := g.raw(0)
		do(g, c)
		if r := g.do(g.client(true), ask{method: "GET", path: "/f"}); r.status != 200 || string(r.body) != "f" {
			t.Errorf("another client: %d %v", r.status, r.err)
		}
		c.Close()
		g.wantLoops("responses", 0, sending)
	})
}

// floods is how many frames an attack sends at most.
const floods = 200_000

// Streams that are reset as soon as they begin (CVE-2023-44487) do not add up.
func TestRapidReset(t *testing.T) {
	attack(t, func(g *rig, c *raw) {
		most := 0
		for i := range uint32(floods) {
			if c.put(frameHeaders, endHeaders|endStream, 2*i+1, head("GET", "/large")) != nil || c.put(frameReset, 0, 2*i+1, make([]byte, 4)) != nil {
				return // it was told to keep calm
			}
			if i%1000 == 0 {
				most = max(most, g.loops(func(s *loop.Stats) int { return s.Open }))
			}
		}
		if most > 200 { // 100, and those that loops are just closing
			t.Errorf("%d streams were served at once", most)
		}
	})
}

// Answers without bodies end their streams at once: a client that reads none of them, and asks on, is
// refused before they take much memory.
func TestHeadsThatNobodyReads(t *testing.T) {
	attack(t, func(_ *rig, c *raw) {
		for i := range uint32(floods) {
			if c.put(frameHeaders, endHeaders|endStream, 2*i+1, head("HEAD", "/f")) != nil {
				return
			}
		}
		t.Error("it goes on for ever")
	})
}

// A head without end (CONTINUATION) is not read to its end.
func TestContinuationFlood(t *testing.T) {
	attack(t, func(_ *rig, c *raw) {
		c.send(frameHeaders, endStream, 1, head("GET", "/f"))
		field := append([]byte{0x00, 1, 'x', 0x7f, 0xf1, 0x3e}, make([]byte, 0x7f+0x71+0x3e<<7)...) // never indexed, a long value
		for i := range field[6:] {
			field[6+i] = 'y'
		}
		for range 1000 {
			if c.put(frameContinuation, 0, 1, field) != nil {
				return
			}
		}
		t.Error("8 MB of a head were read")
	})
}

// PINGs of a client that reads no answers do not go on for ever. The same settings again and again
// have one answer.
func TestFloodsOfControl(t *testing.T) {
	t.Run("PING", func(t *testing.T) {
		attack(t, func(_ *rig, c *raw) {
			for range 10 * floods {
				if c.put(framePing, 0, 0, make([]byte, 8)) != nil {
					return
				}
			}
			t.Error("it goes on for ever")
		})
	})
	t.Run("SETTINGS", func(t *testing.T) {
		attack(t, func(_ *rig, c *raw) {
			for range floods {
				if c.put(frameSettings, 0, 0, nil) != nil {
					return
				}
			}
		})
	})
}

// Requests that would be another one by HTTP/1.1 do not come to a loop.
func TestNoRequestIsSplit(t *testing.T) {
	g := start(t, engine.DriverFallback, server.Config{})
	g.write("f", []byte("f"))
	c := g.raw(100_000)
	stream := uint32(1)
	for _, h := range [][]byte{
		head("GET /f HTTP/1.1\r\nHost: x\r\n\r\nGET", "/f"), head("GET /f", "/f"), head("G\tET", "/f"), head("GET", "/f HTTP/1.1\r\n\r\n"), head("GET", "/f x"),
		append(head("GET", "/f"), 0x00, 3, 'x', '-', 'y', 3, 'a', '\n', 'b'), append(head("GET", "/f"), 0x00, 2, 'x', ':', 1, 'a'),
		append(head("GET", "/f"), 0x00, 10, 'c', 'o', 'n', 'n', 'e', 'c', 't', 'i', 'o', 'n', 5, 'c', 'l', 'o', 's', 'e'),
		append(head("GET", "/f"), 0x00, 2, 't', 'e', 4, 'g', 'z', 'i', 'p'),
	} {
		c.send(frameHeaders, endHeaders|endStream, stream, h)
		for {
			f, err := c.next()
			if err != nil {
				t.Fatalf("%q: %v", h, err)
			}
			if f.stream != stream || f.typ != frameHeaders && f.typ != frameReset {
				continue
			}
			// The status is the first field: 400 is the 12th of the static table.
			if f.typ == frameHeaders && f.payload[0] != 0x80|12 {
				t.Errorf("%q: answered with %x", h, f.payload)
			}
			break
		}
		stream += 2
	}
	c.wantAlive()
	if n := g.loops(func(s *loop.Stats) int { return int(s.Responses) }); n != 0 {
		t.Errorf("%d came to a loop", n)
	}
}
