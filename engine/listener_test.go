package engine

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine/guest"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
)

// guestPair returns a connection of a Listener of e and its peer.
func guestPair(t *testing.T, e *Engine) (*guest.Conn, *net.TCPConn) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := e.Listener(inner)
	defer ln.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*guest.Conn), peer.(*net.TCPConn)
}

// What servers look for in a connection.
var _ interface {
	net.Conn
	io.ReaderFrom
	CloseWrite() error
	CloseRead() error
	NetConn() net.Conn
} = (*guest.Conn)(nil)

// serveHTTP serves on a Listener of e, and returns the URL.
func serveHTTP(t *testing.T, e *Engine, h http.Handler, configure func(*http.Server)) string {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ConnContext: ConnContext}
	scheme := "http://"
	ln := e.Listener(inner)
	if configure != nil {
		configure(srv)
	}
	if srv.TLSConfig != nil {
		ln, scheme = tls.NewListener(ln, srv.TLSConfig), "https://"
	}
	ended := make(chan struct{})
	go func() { srv.Serve(ln); close(ended) }()
	t.Cleanup(func() {
		srv.Close()
		<-ended
		http.DefaultClient.CloseIdleConnections()
	})
	return scheme + inner.Addr().String()
}

func get(t *testing.T, client *http.Client, url string, fields ...string) (*http.Response, []byte) {
	t.Helper()
	a := testenv.Ask(t, client, http.MethodGet, url, "", fields...)
	return a.Response, []byte(a.Body)
}

// TestListenerServesFiles serves files by net/http, with limits and without.
func TestListenerServesFiles(t *testing.T) {
	const size = 2<<20 + 3
	p := testenv.NewPattern(20)
	for _, limits := range []*shape.Config{nil, {Client: shape.Limit{Rate: 500e6}}} {
		t.Run(fmt.Sprintf("limited %v", limits != nil), func(t *testing.T) {
			testenv.LeakCheck(t)
			e := hostOf(t, Config{Limits: limits})
			dir := t.TempDir()
			name := p.File(t, dir, size).Name()
			url := serveHTTP(t, e, http.FileServer(http.Dir(dir)), nil) + strings.TrimPrefix(name, dir)
			for range 3 {
				res, body := get(t, http.DefaultClient, url)
				if err := p.Check(body, 0); err != nil || len(body) != size || res.StatusCode != 200 {
					t.Fatalf("%d bytes, status %d, %v", len(body), res.StatusCode, err)
				}
			}
			res, body := get(t, http.DefaultClient, url, "Range: bytes=1000-500999")
			if err := p.Check(body, 1000); err != nil || len(body) != 500_000 || res.StatusCode != 206 {
				t.Fatalf("%d bytes, status %d, %v", len(body), res.StatusCode, err)
			}
			// The last byte may be with the client before the Send is counted.
			if !testenv.Eventually(patience, func() bool { return e.GuestStats().Sends == 4 }) {
				t.Errorf("%d Sends, want 4", e.GuestStats().Sends)
			}
			s := e.GuestStats()
			const sniffed = 512 // net/http sends these of each body with the head
			if want := uint64(3*size + 500_000 - 4*sniffed); s.Bytes[aio.ViaSendfile] != want || s.Sends != 4 {
				t.Errorf("%+v, want %d bytes by sendfile", s, want)
			}
			if all := s.Bytes[aio.ViaMemory] + s.Bytes[aio.ViaSendfile]; limits != nil {
				if r := clientReport(t, e, "127.0.0.1"); r.Granted != int64(all) || s.Bytes[aio.ViaMemory] == 0 {
					t.Errorf("%d bytes granted, %d sent", r.Granted, all)
				}
			}
		})
	}
}

// TestListenerManyClients has many clients that end as they like, under limits.
func TestListenerManyClients(t *testing.T) {
	testenv.LeakCheck(t)
	const size = 300_000
	p := testenv.NewPattern(21)
	e := hostOf(t, Config{Limits: &shape.Config{Global: shape.Limit{Rate: 200e6}}})
	dir := t.TempDir()
	name := p.File(t, dir, size).Name()
	url := serveHTTP(t, e, http.FileServer(http.Dir(dir)), nil) + strings.TrimPrefix(name, dir)
	addr, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	const clients = 40
	ended := make(chan error, clients)
	for i := range clients {
		go func() {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				ended <- err
				return
			}
			defer c.Close()
			fmt.Fprintf(c, "GET /%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path)
			if i%3 == 0 { // leaves in the middle
				_, err = io.CopyN(io.Discard, c, int64(i)*1000)
				ended <- err
				return
			}
			all, err := io.ReadAll(c)
			if _, body, ok := bytes.Cut(all, []byte("\r\n\r\n")); err == nil && (!ok || len(body) != size || p.Check(body, 0) != nil) {
				err = fmt.Errorf("%d bytes, not the file", len(body))
			}
			ended <- err
		}()
	}
	for range clients {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if !testenv.Eventually(patience, func() bool { r, _ := e.LimitsReport(1); return r.Flows == 0 && e.GuestStats().Conns == 0 }) {
		r, _ := e.LimitsReport(1)
		t.Errorf("%d flows, %+v", r.Flows, e.GuestStats())
	}
}

// TestReadFrom checks which sources are sent as files, and what becomes of their
// offsets.
func TestReadFrom(t *testing.T) {
	const size = 100_000
	p := testenv.NewPattern(22)
	for _, limits := range []*shape.Config{nil, {}} {
		testenv.LeakCheck(t)
		e := hostOf(t, Config{Limits: limits})
		c, peer := guestPair(t, e)
		f := patternFile(t, p, size)
		sends := uint64(0)
		for _, test := range []struct {
			name   string
			copy   func() (int64, error)
			off, n int64
			file   bool
		}{
			{"file", func() (int64, error) { return c.ReadFrom(f) }, 10, size - 10, true},
			{"io.Copy", func() (int64, error) { return io.Copy(c, f) }, 10, size - 10, true},
			{"io.CopyN", func() (int64, error) { return io.CopyN(c, f, 5000) }, 10, 5000, true},
			{"limited beyond the end", func() (int64, error) { return c.ReadFrom(&io.LimitedReader{R: f, N: 2 * size}) }, 10, size - 10, true},
			{"nothing", func() (int64, error) { return c.ReadFrom(io.LimitReader(f, 0)) }, 10, 0, true},
			{"memory", func() (int64, error) { return io.Copy(c, bytes.NewReader(p.Bytes(10, 5000))) }, 10, 5000, false},
			{"reader", func() (int64, error) { return c.ReadFrom(struct{ io.Reader }{io.LimitReader(f, 5000)}) }, 10, 5000, false},
		} {
			if _, err := f.Seek(test.off, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			n, err := test.copy()
			if n != test.n || err != nil {
				t.Errorf("%s: %d, %v", test.name, n, err)
			}
			if err := receive(p, peer, test.off, test.n); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			if test.file {
				sends++
				if off, _ := f.Seek(0, io.SeekCurrent); off != test.off+test.n {
					t.Errorf("%s: the offset is %d", test.name, off)
				}
			}
			if got := e.GuestStats().Sends; got != sends {
				t.Errorf("%s: %d files were sent, want %d", test.name, got, sends)
			}
		}
		limited := &io.LimitedReader{R: f, N: 7000}
		f.Seek(0, io.SeekStart)
		if n, err := c.ReadFrom(limited); n != 7000 || err != nil || limited.N != 0 {
			t.Errorf("%d, %v, %d left", n, err, limited.N)
		}
	}
}

// TestGuestConnWaits interrupts writes of memory and of files that limits hold
// back, and those that the peer does.
func TestGuestConnWaits(t *testing.T) {
	stopped := &shape.Config{Connection: shape.Limit{Rate: shape.Paused}}
	f := func(t *testing.T) *os.File { return patternFile(t, testenv.NewPattern(23), 8<<20) }
	for _, by := range []struct {
		name   string
		limits *shape.Config
	}{{"limits", stopped}, {"peer", nil}, {"peer, with limits", &shape.Config{}}} {
		for _, how := range []struct {
			name  string
			write func(c *guest.Conn, f *os.File) error
		}{
			{"memory", func(c *guest.Conn, _ *os.File) error { _, err := c.Write(make([]byte, 8<<20)); return err }},
			{"file", func(c *guest.Conn, f *os.File) error { _, err := c.ReadFrom(f); return err }},
		} {
			for _, end := range []struct {
				name string
				do   func(e *Engine, c *guest.Conn)
				want error
			}{
				{"closed", func(_ *Engine, c *guest.Conn) { c.Close() }, net.ErrClosed},
				{"deadline", func(_ *Engine, c *guest.Conn) { c.SetWriteDeadline(time.Now().Add(time.Millisecond)) }, os.ErrDeadlineExceeded},
				{"both deadlines", func(_ *Engine, c *guest.Conn) { c.SetDeadline(time.Now()) }, os.ErrDeadlineExceeded},
				{"engine", func(e *Engine, _ *guest.Conn) { e.Close() }, ErrEnded},
			} {
				if end.want == ErrEnded && by.limits == nil && how.name == "memory" {
					continue // it does not need the engine
				}
				t.Run(by.name+", "+how.name+", "+end.name, func(t *testing.T) {
					testenv.LeakCheck(t)
					e := hostOf(t, Config{Limits: by.limits})
					c, peer := guestPair(t, e)
					narrow(t, c.Conn.(*net.TCPConn), peer)
					ended := make(chan error, 1)
					file := f(t)
					go func() { ended <- how.write(c, file) }()
					if !testenv.Eventually(patience, func() bool {
						if by.limits == stopped {
							r, _ := e.LimitsReport(1)
							return r.Flows == 1
						}
						return receivable(t, peer) > 0
					}) {
						t.Fatal("nothing is under way")
					}
					end.do(e, c)
					wantEnd(t, ended, end.want)
					if by.limits != nil {
						if r, _ := e.LimitsReport(1); r.Flows != 0 {
							t.Errorf("%d flows are left", r.Flows)
						}
					}
				})
			}
		}
	}
}

// A deadline that is put off while a write waits for tokens must hold.
func TestDeadlineIsPutOff(t *testing.T) {
	testenv.LeakCheck(t)
	e := hostOf(t, Config{Limits: &shape.Config{Connection: shape.Limit{Rate: shape.Paused}}})
	c, peer := guestPair(t, e)
	c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	ended := make(chan error, 1)
	go func() { _, err := c.Write([]byte("hello")); ended <- err }()
	if !testenv.Eventually(patience, func() bool { r, _ := e.LimitsReport(1); return r.Flows == 1 }) {
		t.Fatal("nothing waits")
	}
	c.SetWriteDeadline(time.Time{})
	select {
	case err := <-ended:
		if err == nil {
			t.Error("not held")
		}
		return // the machine was too slow to put it off
	case <-time.After(100 * time.Millisecond):
	}
	if _, err := e.Limits().SetConnectionDefault(shape.Limit{}); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, ended, nil)
	got := make([]byte, 5)
	if _, err := io.ReadFull(peer, got); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

// Without limits connections outlive the engine.
func TestGuestConnOutlivesEngine(t *testing.T) {
	testenv.LeakCheck(t)
	p := testenv.NewPattern(24)
	for _, limits := range []*shape.Config{nil, {}} {
		e := hostOf(t, Config{Limits: limits})
		c, peer := guestPair(t, e)
		f := patternFile(t, p, 1000)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := c.Write(p.Bytes(0, 100))
		if limits != nil {
			if !errors.Is(err, ErrEnded) {
				t.Errorf("write: %v", err)
			}
			if _, err := c.ReadFrom(f); !errors.Is(err, ErrEnded) {
				t.Errorf("file: %v", err)
			}
			continue
		}
		c.SetWriteDeadline(time.Time{})
		if _, err := c.Write(p.Bytes(0, 100)); err != nil {
			t.Error(err)
		}
		if n, err := io.Copy(c, f); n != 1000 || err != nil {
			t.Errorf("file: %d, %v", n, err)
		}
		_ = peer
	}
}

// TestSetFlow names responses of net/http, on one connection after the other.
func TestSetFlow(t *testing.T) {
	testenv.LeakCheck(t)
	e := hostOf(t, Config{Limits: &shape.Config{Paths: []shape.PathLimit{{Prefix: "/pro/"}}}})
	const size = 50_000
	body := make([]byte, size)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name := r.URL.Query().Get("as"); name != "" {
			if err := SetFlow(r.Context(), Flow{Client: name, Path: "/pro/x"}); err != nil {
				t.Error(err)
			}
		}
		w.Write(body)
	})
	url := serveHTTP(t, e, h, nil)
	one := &http.Transport{MaxConnsPerHost: 1}
	defer one.CloseIdleConnections()
	sent := map[string]int{}
	for _, as := range []string{"ann", "", "bob", "ann", ""} {
		_, got := get(t, &http.Client{Transport: one}, url+"/?as="+as)
		sent[as] += len(got)
	}
	if c := e.GuestStats().Conns; c != 1 {
		t.Fatalf("%d connections", c)
	}
	for as, least := range sent {
		name := as
		if name == "" {
			name = "127.0.0.1"
		}
		if r := clientReport(t, e, name); r.Granted < int64(least) || r.Granted > int64(least)+3*(8<<10) {
			t.Errorf("%s: %d bytes, want %d and a little", name, r.Granted, least)
		}
	}
	r, _ := e.LimitsReport(0)
	for _, c := range r.Classes {
		if c.Name == "/pro/" && c.Granted < 3*size {
			t.Errorf("class: %+v", c)
		}
	}
	if err := SetFlow(context.Background(), Flow{}); !errors.Is(err, ErrNoConn) {
		t.Error(err)
	}
	if err := SetFlow(ConnContext(context.Background(), &guest.Conn{}), Flow{Limit: shape.Limit{Rate: -5}}); err == nil {
		t.Error("a limit that is not valid was taken")
	}
}

// TestListenerTLS limits what goes through TLS around a Listener.
func TestListenerTLS(t *testing.T) {
	testenv.LeakCheck(t)
	const size = 300_000
	p := testenv.NewPattern(25)
	e := hostOf(t, Config{Limits: &shape.Config{Client: shape.Limit{Rate: 500e6}}})
	dir := t.TempDir()
	name := p.File(t, dir, size).Name()
	files := http.FileServer(http.Dir(dir))
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := SetFlow(r.Context(), Flow{Client: "tls"}); err != nil {
			t.Error(err)
		}
		files.ServeHTTP(w, r)
	})
	url := serveHTTP(t, e, h, func(s *http.Server) { s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}} })
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	_, body := get(t, &http.Client{Transport: tr}, url+strings.TrimPrefix(name, dir))
	if err := p.Check(body, 0); err != nil || len(body) != size {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if r := clientReport(t, e, "tls"); r.Granted < size {
		t.Errorf("%+v", r)
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)},
		&x509.Certificate{}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestGuestSend sends explicitly to a connection of a Listener, and goes on with it
// after a cancellation.
func TestGuestSend(t *testing.T) {
	testenv.LeakCheck(t)
	p := testenv.NewPattern(26)
	e := hostOf(t, Config{Limits: &shape.Config{}})
	c, peer := guestPair(t, e)
	f := patternFile(t, p, 8<<20)
	if out, err := e.Send(WithFlow(context.Background(), Flow{Client: "me"}), c, f, 5, 1000); err != nil || out.Bytes[ViaSendfile] != 1000 {
		t.Errorf("%+v, %v", out, err)
	}
	if err := receive(p, peer, 5, 1000); err != nil {
		t.Error(err)
	}
	if r := clientReport(t, e, "me"); r.Granted != 1000 {
		t.Errorf("%+v", r)
	}
	narrow(t, c.Conn.(*net.TCPConn), peer)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	var out Outcome
	go func() {
		var err error
		out, err = e.Send(ctx, c, f, 0, -1)
		ended <- err
	}()
	if err := receive(p, peer, 0, 10_000); err != nil {
		t.Fatal(err)
	}
	cancel()
	wantEnd(t, ended, context.Canceled)
	if err := receive(p, peer, 10_000, out.Total()-10_000); err != nil {
		t.Error(err)
	}
	if _, err := c.Write(p.Bytes(0, 10)); err != nil {
		t.Errorf("the deadline was not restored: %v", err)
	}
}

// TestUnixListener serves over a Unix socket, which net has no sendfile for
// that servers would find.
func TestUnixListener(t *testing.T) {
	testenv.LeakCheck(t)
	p := testenv.NewPattern(27)
	e := hostOf(t, Config{})
	inner, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	ln := e.Listener(inner)
	defer ln.Close()
	peer, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f := patternFile(t, p, 100_000)
	got := make(chan error, 1)
	go func() { got <- receive(p, peer, 0, 100_000) }()
	if n, err := io.Copy(c, f); n != 100_000 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
	if s := e.GuestStats(); s.Bytes[ViaSendfile] != 100_000 {
		t.Errorf("%+v", s)
	}
}
