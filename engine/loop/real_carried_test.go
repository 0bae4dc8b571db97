package loop

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/internal/testenv"
)

// lanes is a Multiplexer: a line goes to the connection that its first byte names, "x" and a name
// cuts one, and what comes back stands behind its name and its length.
type lanes struct {
	c       *Conn
	byName  map[byte]*lane
	waiting []*lane
	out     []byte
	over    bool
}

const laneRoom = 8 << 10 // bytes that wait to be sent, and a piece

func (m *lanes) Peer() netip.AddrPort      { return netip.MustParseAddrPort("192.0.2.1:5") }
func (m *lanes) Speak(c *Conn) Multiplexer { m.c = c; return m }
func (m *lanes) Timeout(*Conn)             {}
func (m *lanes) Idle() bool                { return len(m.byName) == 0 }
func (m *lanes) Refuse(*Conn)              {}
func (m *lanes) Drain(*Conn, bool)         {}

func (m *lanes) Receive(c *Conn, p []byte) (int, bool) {
	i := bytes.IndexByte(p, '\n')
	switch {
	case i < 0:
		return 0, false
	case p[0] == 'x':
		v := m.byName[p[1]]
		delete(m.byName, p[1])
		Cut(v.c)
		return i + 1, false
	}
	v := m.byName[p[0]]
	if v == nil {
		v = &lane{of: m, name: p[0]}
		v.c = Carry(c, v, v)
		m.byName[p[0]] = v
	}
	Feed(v.c, p[2:i+1])
	return i + 1, true
}

func (m *lanes) Flush(c *Conn) bool {
	n, failed := Write(c, m.out)
	if m.out = m.out[n:]; len(m.out) == 0 {
		for _, v := range m.waiting {
			Unblock(v.c)
		}
		m.waiting = nil
	}
	return !failed
}

func (m *lanes) Ending(*Conn) {
	m.over, m.waiting = true, nil
	for _, v := range m.byName {
		Cut(v.c)
	}
}

// Ending is both Multiplexer's and, for the connection, Adopted's.
type adoptedLanes struct{ *lanes }

func (adoptedLanes) Ending(bool) {}

// lane is a connection that is carried.
type lane struct {
	of   *lanes
	c    *Conn
	name byte
	at   int // of the piece in out for which Room has lent memory
}

func (v *lane) Peer() netip.AddrPort { return v.of.Peer() }
func (v *lane) Ending(bool)          {}
func (v *lane) Resume()              {}

func (v *lane) Closed(bool) {
	if !v.of.over && v.of.byName[v.name] == v {
		delete(v.of.byName, v.name)
	}
}

func (v *lane) Room(most int) []byte {
	m := v.of
	if len(m.out) >= laneRoom || Blocked(m.c) {
		m.waiting = append(m.waiting, v)
		Touch(m.c)
		return nil
	}
	most = min(most, laneRoom)
	v.at = len(m.out)
	m.out = append(append(m.out, v.name, 0, 0), make([]byte, most)...)
	return m.out[v.at+3:]
}

func (v *lane) Filled(n int) {
	m := v.of
	m.out = m.out[:v.at+3+n]
	binary.BigEndian.PutUint16(m.out[v.at+1:], uint16(n))
	Touch(m.c)
}

func (v *lane) Send(head, body []byte) (n int) {
	for _, p := range [][]byte{head, body} {
		for len(p) > 0 {
			k := copy(v.Room(len(p)), p)
			if k == 0 {
				return n
			}
			v.Filled(k)
			n, p = n+k, p[k:]
		}
	}
	return n
}

// TestCarried: connections that another one carries are served as any, each whole and none before it
// is its turn; one that is cut ends alone, and all end with the one that carries them.
func TestCarried(t *testing.T) {
	path := t.TempDir()
	const size = 6 << 20 // more than sockets hold
	file := testenv.NewPattern(3).Bytes(0, size)
	if err := os.WriteFile(path+"/f", file, 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := openfile.OpenRoot(path, openfile.SymlinksInside)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	eachDriver(t, func(t *testing.T, driver makeDriver) {
		testenv.LeakCheck(t)
		var gone, whole atomic.Int64
		session := &answering{sent: func(o *outcome.Outcome) {
			switch o.End {
			case outcome.PeerGone:
				gone.Add(1)
			case outcome.Complete:
				whole.Add(1)
			}
		}}
		session.answer = func(c *Conn, line string) {
			if line == "memory" {
				c.Respond(&Response{Head: []byte("head "), Body: []Segment{{Mem: []byte(strings.Repeat("body ", 10_000))}}})
				return
			}
			c.Respond(&Response{Body: []Segment{{File: openHere(t, c, root, "f"), N: size}}})
		}
		r := startLoop(t, driver, "", session)
		conn := r.adoptTCP(t, adoptedLanes{&lanes{byName: make(map[byte]*lane)}})
		fmt.Fprint(conn, "a file\nb memory\nc file\nd file\nd unread\n")
		if !testenv.Eventually(patience, func() bool { return r.sending()+int(whole.Load()) == 4 }) { // the short one may be over
			t.Fatalf("%d responses", r.sending())
		}
		fmt.Fprint(conn, "xd\n")
		if !testenv.Eventually(patience, func() bool { return gone.Load() == 1 }) {
			t.Fatalf("%d of one are cut", gone.Load())
		}
		wantLanes(t, conn, map[byte][]byte{'a': file, 'b': []byte("head " + strings.Repeat("body ", 10_000)), 'c': file})
		fmt.Fprint(conn, "a file\nc file\n")
		if !testenv.Eventually(patience, func() bool { return r.sending() == 2 }) || whole.Load() != 3 {
			t.Errorf("%d responses, %d were whole", r.sending(), whole.Load())
		}
		conn.Close()
		if !testenv.Eventually(patience, func() bool { return gone.Load() == 3 && r.open() == 0 }) {
			t.Errorf("%d connections, %d responses cut", r.open(), gone.Load())
		}
	})
}

// sending returns the number of responses under way.
func (l *realLoop) sending() int { return l.Stats().Sending }

// wantLanes reads until all that is wanted has come; what comes of others is dropped.
func wantLanes(t *testing.T, conn net.Conn, want map[byte][]byte) {
	t.Helper()
	for len(want) > 0 {
		var head [3]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, binary.BigEndian.Uint16(head[1:]))
		if _, err := io.ReadFull(conn, p); err != nil {
			t.Fatal(err)
		}
		if rest, ok := want[head[0]]; ok {
			if !bytes.HasPrefix(rest, p) {
				t.Fatalf("other bytes of %c", head[0])
			}
			if want[head[0]] = rest[len(p):]; len(rest) == len(p) {
				delete(want, head[0])
			}
		}
	}
}
