package tlsrec

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// pairs are certificates with keys of both kinds.
var pairs = sync.OnceValue(func() (both []tls.Certificate) {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	one, err := x509.CreateCertificate(rand.Reader, template, template, ec.Public(), ec)
	if err != nil {
		panic(err)
	}
	two, err := x509.CreateCertificate(rand.Reader, template, template, rs.Public(), rs)
	if err != nil {
		panic(err)
	}
	return []tls.Certificate{{Certificate: [][]byte{one}, PrivateKey: ec}, {Certificate: [][]byte{two}, PrivateKey: rs}}
})

// tapConn is the server's end of a handshake.
type tapConn struct {
	net.Conn
	tap *Tap
}

func (c tapConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:min(len(p), c.tap.Ask())])
	c.tap.Came(p[:n])
	return n, err
}

func (c tapConn) Write(p []byte) (int, error) {
	c.tap.Went(p)
	return c.Conn.Write(p)
}

// end is a server's end after the handshake.
type end struct {
	net.Conn
	rec *Conn
}

// meet does a handshake between two ends of crypto/tls, of which the server's goes on here.
func meet(t testing.TB, client *tls.Config, tickets bool) (*tls.Conn, *end) {
	t.Helper()
	near, far := pipe(t)
	tap := &Tap{}
	sent := 0
	cfg := &tls.Config{Certificates: pairs(), KeyLogWriter: tap, SessionTicketsDisabled: !tickets}
	cfg.WrapSession = func(cs tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
		sent++
		return cfg.EncryptTicket(cs, s)
	}
	client.InsecureSkipVerify, client.ClientSessionCache = true, tls.NewLRUClientSessionCache(1)
	c, s := tls.Client(far, client), tls.Server(tapConn{near, tap}, cfg)
	done := make(chan error, 1)
	go func() { done <- c.Handshake() }()
	if err := s.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	state := s.ConnectionState()
	if want := tickets && state.Version == tls.VersionTLS13; (sent > 0) != want && state.Version == tls.VersionTLS13 {
		t.Fatalf("%d tickets", sent)
	}
	rec, err := tap.Conn(state.Version, state.CipherSuite, sent)
	if err != nil {
		t.Fatal(err)
	}
	return c, &end{near, rec}
}

// pipe returns both ends of a connection on loopback.
func pipe(t testing.TB) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if far, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if near, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{near, far} {
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	}
	return near, far
}

// next reads a record.
func (e *end) next() ([]byte, error) {
	record := make([]byte, HeaderLen)
	if _, err := io.ReadFull(e, record); err != nil {
		return nil, err
	}
	n, err := e.rec.Length(record)
	if err != nil {
		return nil, err
	}
	record = append(record, make([]byte, n-HeaderLen)...)
	_, err = io.ReadFull(e, record[HeaderLen:])
	return record, err
}

// read reads n bytes of application data.
func (e *end) read(n int) (got []byte, err error) {
	for len(got) < n {
		record, err := e.next()
		if err != nil {
			return got, err
		}
		content, err := e.rec.Open(record)
		if got = append(got, content...); err != nil {
			return got, err
		}
	}
	return got, nil
}

// seal returns p in records of up to most bytes of content.
func (e *end) seal(p []byte, most int) (out []byte) {
	for first := true; first || len(p) > 0; first = false {
		if e.rec.NeedsUpdate() {
			var err error
			if out, err = e.rec.AppendUpdate(out); err != nil {
				panic(err)
			}
		}
		k, at := min(len(p), most), len(out)
		out = append(out, make([]byte, e.rec.Prefix())...)
		out = append(out, p[:k]...)
		out = append(out, make([]byte, e.rec.Suffix())...)
		e.rec.Seal(out[at:])
		p = p[k:]
	}
	return out
}

// clients offer one suite each.
func clients() map[string]*tls.Config {
	all := make(map[string]*tls.Config)
	for id, u := range suites {
		cfg := &tls.Config{MinVersion: u.version, MaxVersion: u.version, CipherSuites: []uint16{id}}
		all[tls.CipherSuiteName(id)] = cfg
	}
	return all
}

// Both directions, in records of all sizes, with and without tickets, in each suite that
// crypto/tls has. The suites of TLS 1.3 cannot be chosen there: TestSuites13 has the others.
func TestAgainstCryptoTLS(t *testing.T) {
	for name, cfg := range clients() {
		for _, tickets := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", name, tickets), func(t *testing.T) {
				c, e := meet(t, cfg.Clone(), tickets)
				exchange(t, c, e)
			})
		}
	}
}

// exchange sends bytes both ways.
func exchange(t *testing.T, c *tls.Conn, e *end) {
	t.Helper()
	rnd := mrand.New(mrand.NewPCG(1, 2))
	for _, n := range []int{1, 100, MaxPlain - 1, MaxPlain, MaxPlain + 1, 100_000} {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(rnd.Uint32())
		}
		go c.Write(p)
		if got, err := e.read(n); err != nil || !bytes.Equal(got, p) {
			t.Fatalf("%d bytes: received %d, %v", n, len(got), err)
		}
		go e.Write(e.seal(p, 1+rnd.IntN(MaxPlain)))
		got := make([]byte, n)
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, p) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.read(1); err != io.EOF {
		t.Errorf("after close_notify: %v", err)
	}
	e.Write(e.rec.AppendAlert(nil, CloseNotify))
	if n, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%d bytes, %v: want close_notify", n, err)
	}
	e.rec.Wipe()
	if e.rec.in != (half{}) || e.rec.out != (half{}) {
		t.Error("secrets are left")
	}
}

// Keys change when a key has sealed enough, and crypto/tls follows.
func TestRekey(t *testing.T) {
	c, e := meet(t, &tls.Config{}, true)
	e.rec.RekeyAfter = 3
	p := bytes.Repeat([]byte("0123456789"), 20)
	go e.Write(e.seal(p, 1))
	got := make([]byte, len(p))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, p) {
		t.Fatal(err)
	}
}

// peer is the other side of an end, as only a test needs it.
func (e *end) peer(t *testing.T) *Conn {
	t.Helper()
	p := *e.rec
	p.in, p.out = e.rec.out, e.rec.in
	return &p
}

// Suites that crypto/tls does not choose against itself, with bad input of each kind.
func TestBadInput(t *testing.T) {
	for id, u := range suites {
		s := &Secrets{Version: u.version, Suite: id, Client: secretOf(u, 1), Server: secretOf(u, 2), Master: secretOf(u, 3), ClientRandom: secretOf(u, 4), ServerRandom: secretOf(u, 5)}
		t.Run(tls.CipherSuiteName(id), func(t *testing.T) {
			for _, c := range badInput {
				if c.version != 0 && c.version != u.version {
					continue
				}
				rec, err := New(s)
				if err != nil {
					t.Fatal(err)
				}
				e := &end{rec: rec}
				p := &end{rec: e.peer(t)}
				if got, err := feed(e.rec, c.input(p)); !errors.Is(err, c.want) || len(got) > 0 && c.want != nil {
					t.Errorf("%s: %q, %v; want %v", c.name, got, err, c.want)
				}
			}
		})
	}
}

func secretOf(u *suite, b byte) []byte { return bytes.Repeat([]byte{b}, u.hash().Size()) }

// feed opens all records of p.
func feed(c *Conn, p []byte) (got []byte, err error) {
	for len(p) > 0 {
		n, err := c.Length(p)
		if err != nil || n == 0 || n > len(p) {
			return got, err
		}
		content, err := c.Open(p[:n])
		if err != nil {
			return got, err
		}
		got, p = append(got, content...), p[n:]
	}
	return got, nil
}

func (e *end) control(typ byte, content ...byte) []byte { return e.rec.control(nil, typ, content...) }

func repeat(n int, f func() []byte) (all []byte) {
	for range n {
		all = append(all, f()...)
	}
	return all
}

var badInput = []struct {
	name    string
	version uint16 // 0: both
	want    error
	input   func(p *end) []byte
}{
	{"data", 0, nil, func(p *end) []byte { return p.seal([]byte("abc"), 2) }},
	{"a bad tag", 0, BadRecordMAC, func(p *end) []byte { r := p.seal([]byte("abc"), 9); r[len(r)-1] ^= 1; return r }},
	{"a bad byte", 0, BadRecordMAC, func(p *end) []byte { r := p.seal([]byte("abc"), 9); r[p.rec.Prefix()] ^= 1; return r }},
	{"no room for a tag", 0, BadRecordMAC, func(*end) []byte { return []byte{23, 3, 3, 0, 1, 0} }},
	{"nothing at all", 0, BadRecordMAC, func(*end) []byte { return []byte{23, 3, 3, 0, 0} }},
	{"a record twice", 0, BadRecordMAC, func(p *end) []byte {
		r := p.seal(nil, 9)
		return append(bytes.Clone(r), r...)
	}},
	{"too long", 0, RecordOverflow, func(*end) []byte { return []byte{23, 3, 3, 0x48, 1} }},
	{"too long for 1.3", tls.VersionTLS13, RecordOverflow, func(*end) []byte { return []byte{23, 3, 3, 0x41, 1} }},
	{"too much content", 0, RecordOverflow, func(p *end) []byte { return p.control(typeData, make([]byte, MaxPlain+1)...) }},
	{"another version", 0, ProtocolVersion, func(*end) []byte { return []byte{23, 2, 0, 0, 40} }},
	{"HTTP", 0, UnexpectedMessage, func(*end) []byte { return []byte("GET / HTTP/1.1\r\n") }},
	{"an outer type", tls.VersionTLS13, UnexpectedMessage, func(*end) []byte { return []byte{22, 3, 3, 0, 40} }},
	{"an inner type", 0, UnexpectedMessage, func(p *end) []byte { return p.control(20, 1) }},
	{"only padding", tls.VersionTLS13, UnexpectedMessage, func(p *end) []byte { return p.control(0, 0, 0) }},
	{"padding", tls.VersionTLS13, nil, func(p *end) []byte { return p.control(0, 'a', typeData, 0, 0, 0) }},
	{"empty records", 0, nil, func(p *end) []byte { return repeat(maxUseless, func() []byte { return p.seal(nil, 1) }) }},
	{"too many of them", 0, UnexpectedMessage, func(p *end) []byte { return repeat(maxUseless+1, func() []byte { return p.seal(nil, 1) }) }},
	{"a fatal alert", 0, PeerAlert(40), func(p *end) []byte { return p.control(typeAlert, 2, 40) }},
	{"a warning", tls.VersionTLS12, nil, func(p *end) []byte { return p.control(typeAlert, 1, 41) }},
	{"a warning in 1.3", tls.VersionTLS13, PeerAlert(41), func(p *end) []byte { return p.control(typeAlert, 1, 41) }},
	{"half an alert", 0, DecodeError, func(p *end) []byte { return p.control(typeAlert, 2) }},
	{"close_notify", 0, io.EOF, func(p *end) []byte { return p.rec.AppendAlert(nil, CloseNotify) }},
	{"renegotiation", tls.VersionTLS12, NoRenegotiation, func(p *end) []byte { return p.control(typeHandshake, clientHello, 0, 0, 0) }},
	{"another message", 0, UnexpectedMessage, func(p *end) []byte { return p.control(typeHandshake, 11, 0, 0, 0) }},
	{"an empty message", 0, UnexpectedMessage, func(p *end) []byte { return p.control(typeHandshake) }},
	{"KeyUpdate", tls.VersionTLS13, nil, func(p *end) []byte {
		p.rec.asked = true
		return append(p.seal([]byte("a"), 1), p.seal([]byte("b"), 1)...)
	}},
	{"KeyUpdate in pieces", tls.VersionTLS13, nil, func(p *end) []byte {
		r := append(p.control(typeHandshake, keyUpdate, 0), p.control(typeHandshake, 0, 1, 1)...)
		if err := p.rec.out.update(p.rec.suite); err != nil {
			panic(err)
		}
		return append(r, p.seal([]byte("b"), 1)...)
	}},
	{"data within it", tls.VersionTLS13, UnexpectedMessage, func(p *end) []byte {
		return append(p.control(typeHandshake, keyUpdate, 0), p.seal([]byte("a"), 1)...)
	}},
	{"KeyUpdate and more", tls.VersionTLS13, UnexpectedMessage, func(p *end) []byte { return p.control(typeHandshake, keyUpdate, 0, 0, 1, 0, 1) }},
	{"KeyUpdate of another length", tls.VersionTLS13, DecodeError, func(p *end) []byte { return p.control(typeHandshake, keyUpdate, 0, 0, 2, 0) }},
	{"KeyUpdate that asks for something", tls.VersionTLS13, IllegalParameter, func(p *end) []byte { return p.control(typeHandshake, keyUpdate, 0, 0, 1, 2) }},
	{"a flood of KeyUpdates", tls.VersionTLS13, UnexpectedMessage, func(p *end) []byte {
		return repeat(maxUseless+1, func() []byte {
			r, err := p.rec.AppendUpdate(nil)
			if err != nil {
				panic(err)
			}
			return r
		})
	}},
}

// What the peer asks for is done before the next data.
func TestAnswersKeyUpdate(t *testing.T) {
	s := &Secrets{Version: tls.VersionTLS13, Suite: tls.TLS_CHACHA20_POLY1305_SHA256}
	s.Client, s.Server = secretOf(suites[s.Suite], 1), secretOf(suites[s.Suite], 2)
	rec, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	e := &end{rec: rec}
	p := &end{rec: e.peer(t)}
	if _, err := feed(e.rec, p.control(typeHandshake, keyUpdate, 0, 0, 1, 1)); err != nil || !e.rec.NeedsUpdate() {
		t.Fatalf("%v, needs an update: %v", err, e.rec.NeedsUpdate())
	}
	if got, err := feed(p.rec, e.seal([]byte("abc"), 2)); string(got) != "abc" || err != nil || p.rec.out.seq != 1 {
		t.Errorf("%q, %v", got, err)
	}
}

func TestUnsupported(t *testing.T) {
	for _, s := range []Secrets{
		{Version: tls.VersionTLS12, Suite: tls.TLS_AES_128_GCM_SHA256},
		{Version: tls.VersionTLS13, Suite: tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
		{Version: tls.VersionTLS12, Suite: tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA},
	} {
		if _, err := New(&s); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%x %x: %v", s.Version, s.Suite, err)
		}
	}
	for id, u := range suites {
		if _, err := New(&Secrets{Version: u.version, Suite: id}); err == nil || errors.Is(err, ErrUnsupported) {
			t.Errorf("%x without secrets: %v", id, err)
		}
	}
}

// Nothing is allocated for a record.
func TestAllocations(t *testing.T) {
	_, e := meet(t, &tls.Config{}, true)
	record := make([]byte, e.rec.Prefix()+1000+e.rec.Suffix())
	peer := e.peer(t)
	if n := testing.AllocsPerRun(100, func() {
		e.rec.Seal(record)
		if _, err := peer.Open(record); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
