package loop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/internal/tlsrec"
)

// securedPeer stands behind a connection on which TLS is spoken.
type securedPeer struct{ rec *tlsrec.Conn }

func (securedPeer) Peer() netip.AddrPort    { return netip.AddrPort{} }
func (securedPeer) Ending(bool)             {}
func (p securedPeer) Records() *tlsrec.Conn { return p.rec }

// adoptSealed gives the loop one end of a TCP connection on which TLS is spoken, and returns the other.
func (l *realLoop) adoptSealed(t *testing.T) (net.Conn, *tlsrec.Conn) {
	t.Helper()
	s := tlsrec.Secrets{
		Version: tls.VersionTLS13, Suite: tls.TLS_AES_128_GCM_SHA256,
		Client: bytes.Repeat([]byte{1}, 32), Server: bytes.Repeat([]byte{2}, 32),
	}
	server, err := tlsrec.New(&s)
	s.Client, s.Server = s.Server, s.Client
	client, err2 := tlsrec.New(&s)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return l.adoptTCP(t, securedPeer{server}), client
}

// TestSlowReadersHoldLittle: what a reader that takes nothing leaves is a buffer of the pool, and
// where many have left much it is a record.
func TestSlowReadersHoldLittle(t *testing.T) {
	answer := bytes.Repeat([]byte("0123456789abcde\n"), 1<<20)
	eachDriver(t, func(t *testing.T, driver makeDriver) {
		l := startLoop(t, driver, "", &answering{answer: func(c *Conn, _ string) { c.Respond(&Response{Body: []Segment{{Mem: answer}}}) }})
		for _, test := range []struct {
			left int64 // by others
			most int
		}{{0, 128 << 10}, {sealedMemory + 1, 16 << 10}} {
			l.Ask(func(loop *Loop) { loop.sealer.pool.held.Add(test.left) })
			conn, rec := l.adoptSealed(t)
			if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			ask := make([]byte, rec.Prefix()+2+rec.Suffix())
			copy(ask[rec.Prefix():], "f\n")
			rec.Seal(ask)
			if _, err := conn.Write(ask); err != nil {
				t.Fatal(err)
			}
			held := func() (n int) {
				l.Ask(func(loop *Loop) { loop.each(func(c *Conn) { n += cap(c.sealed.pending) }) })
				return n
			}
			if !testenv.Eventually(patience, func() bool { return held() > 0 }) {
				t.Fatal("the socket takes all")
			}
			if n := held(); n > test.most {
				t.Errorf("where others have left %d bytes %d are held, want at most %d", test.left, n, test.most)
			}
			if got := openAll(t, conn, rec, len(answer)); !bytes.Equal(got, answer) {
				t.Error("other bytes have come")
			}
			l.Ask(func(loop *Loop) { loop.sealer.pool.held.Add(-test.left) })
			conn.Close()
			if !testenv.Eventually(patience, func() bool { return l.open() == 0 }) {
				t.Fatal("a connection is left")
			}
		}
	})
}

func (l *realLoop) open() (n int) {
	l.Ask(func(loop *Loop) {
		loop.each(func(c *Conn) {
			if c.sealed != nil {
				n++
			}
		})
	})
	return n
}

// openAll reads n bytes of content.
func openAll(t *testing.T, conn net.Conn, rec *tlsrec.Conn, n int) (all []byte) {
	t.Helper()
	buf := make([]byte, 32<<10)
	for len(all) < n {
		if _, err := io.ReadFull(conn, buf[:tlsrec.HeaderLen]); err != nil {
			t.Fatal(err)
		}
		size, err := rec.Length(buf[:tlsrec.HeaderLen])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, buf[tlsrec.HeaderLen:size]); err != nil {
			t.Fatal(err)
		}
		content, err := rec.Open(buf[:size])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, content...)
	}
	return all
}
