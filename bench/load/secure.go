package load

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/fserve/fserve/bench/sock"
	"github.com/fserve/fserve/internal/sys"
)

// TLS says how the connections of a load are encrypted.
type TLS string

// The ways of encryption. Both are TLS 1.3; the server's certificate is not looked at.
const (
	NewSessions TLS = "new"
	Resumed     TLS = "resumed" // each connection of a client but the first resumes a session
)

// opening bounds the handshakes at once: a server may refuse more.
const opening = 64

// secure is a load over TLS. Each connection has a goroutine, unlike those of loop: what a server
// spends on a request is what such a load is for, and there the client's own cost does not show.
type secure struct {
	Config
	group   *Group
	tls     tls.Config
	opening chan struct{} // as many handshakes at once as it holds

	mu    sync.Mutex
	meter meter
}

// runSecure is Run for loads over TLS, which are of one group of mode Closed, Reconnect or Hold.
func runSecure(ctx context.Context, c Config, began func(int64) error) (*Result, error) {
	s := &secure{Config: c, group: &c.Groups[0], opening: make(chan struct{}, opening), meter: newMeter(0)}
	// One group for all servers: some have no other, and a hybrid with ML-KEM costs 100 us more.
	s.tls = tls.Config{
		MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519},
		InsecureSkipVerify: true, ServerName: "bench.test",
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var clients, ready sync.WaitGroup
	ready.Add(s.group.Conns)
	for i := range s.group.Conns {
		clients.Go(func() {
			err := s.client(ctx, i, ready.Done)
			if err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("connection %d: %w", i, err))
			}
		})
	}
	res, err := s.watch(ctx, &ready, began)
	if failed := context.Cause(ctx); failed != nil {
		err = failed
	}
	cancel(nil)
	clients.Wait()
	return res, err
}

// watch measures what the clients do.
func (s *secure) watch(ctx context.Context, ready *sync.WaitGroup, began func(int64) error) (*Result, error) {
	all := make(chan struct{})
	go func() { ready.Wait(); close(all) }()
	select {
	case <-all:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := rest(ctx, s.Spread+s.Warm); err != nil {
		return nil, err
	}
	before, err := s.readClocks()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.meter.reset()
	s.mu.Unlock()
	start, clock := sys.Nanotime(), Clock()
	if err := began(clock); err != nil {
		return nil, err
	}
	if err := rest(ctx, s.Measure); err != nil {
		return nil, err
	}
	after, err := s.readClocks()
	if err != nil {
		return nil, err
	}
	seconds := time.Duration(sys.Nanotime() - start).Seconds()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.meter.requests == 0 && s.Measure > 0 {
		return nil, errNothing
	}
	return &Result{
		Groups: []Seen{s.meter.seen()}, Seconds: seconds, Began: clock,
		ServerCPU: after.server - before.server, CoreBusy: after.core - before.core, LoadBusy: after.self - before.self,
	}, nil
}

// rest waits.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// client is the life of one. It calls ready when it has its first response.
func (s *secure) client(ctx context.Context, i int, ready func()) error {
	first := sync.OnceFunc(ready)
	defer first()
	cfg := s.tls.Clone()
	if s.TLS == Resumed {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	t := newTarget(s.Addr, s.group)
	buf := make([]byte, 64<<10)
	for resumable := false; ; resumable = true {
		start := sys.Nanotime()
		conn, err := s.dial(ctx, i, cfg)
		if err != nil {
			return err
		}
		if resumable && s.TLS == Resumed && !conn.ConnectionState().DidResume {
			conn.NetConn().Close()
			return errors.New("the server has not resumed the session")
		}
		stop := context.AfterFunc(ctx, func() { conn.NetConn().Close() })
		err = s.talk(ctx, conn, t, start, buf, first)
		stop()
		_ = conn.Close() // the server may have gone first
		if err != nil {
			return err
		}
	}
}

// dial opens a connection, which ends with ctx.
func (s *secure) dial(ctx context.Context, i int, cfg *tls.Config) (*tls.Conn, error) {
	s.opening <- struct{}{}
	defer func() { <-s.opening }()
	from := -1
	if s.group.Clients > 0 {
		from = s.group.Source + i%s.group.Clients
	}
	tcp, err := sock.Dialer(from).DialContext(ctx, "tcp4", s.Addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(tcp, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		tcp.Close()
		return nil, err
	}
	return conn, nil
}

// talk makes the requests of one connection.
func (s *secure) talk(ctx context.Context, conn *tls.Conn, t *target, start int64, buf []byte, done func()) error {
	for {
		if _, err := conn.Write(t.requests[0]); err != nil {
			return err
		}
		n, err := response(conn, t, buf)
		if err != nil {
			return err
		}
		now := sys.Nanotime()
		s.mu.Lock()
		s.meter.record(now, now-start)
		s.meter.bytes += n
		s.mu.Unlock()
		done()
		switch s.group.Mode {
		case Reconnect:
			if _, err := conn.Read(buf); !errors.Is(err, io.EOF) {
				return cmp.Or(err, errUnasked)
			}
			return nil
		case Hold:
			<-ctx.Done()
			return ctx.Err()
		}
		start = now
	}
}

// response takes one response and returns its bytes.
func response(conn net.Conn, t *target, buf []byte) (taken int64, err error) {
	have := 0
	var h head
	for ok := false; !ok; {
		n, err := conn.Read(buf[have:])
		if err != nil {
			return 0, err
		}
		have += n
		if h, ok, err = parseHead(buf[:have]); err != nil {
			return 0, err
		}
	}
	if h.status != t.status || h.length != t.bodyLen {
		return 0, fmt.Errorf("status %d with %d bytes instead of %d with %d", h.status, h.length, t.status, t.bodyLen)
	}
	whole := int64(h.size) + h.length
	for taken = int64(have); taken < whole; {
		n, err := conn.Read(buf[:min(int64(len(buf)), whole-taken)])
		if err != nil {
			return 0, fmt.Errorf("%w with %d bytes of the body to come", err, whole-taken)
		}
		taken += int64(n)
	}
	if taken > whole {
		return 0, errExcess
	}
	return taken, nil
}
