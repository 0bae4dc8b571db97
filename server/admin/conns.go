package admin

import (
	"net"
	"sync"
)

// maxConns bounds the connections of the listener.
const maxConns = 128

// bounded is a listener with a bound to its open connections. For one more, that one is
// closed which has waited longest for a request, of those first that have never shown what
// a request needs: however many others hold on to, probes get in. If a request is being
// answered on all of them, Accept waits.
type bounded struct {
	net.Listener

	mu    sync.Mutex
	conns map[*boundedConn]struct{}
	clock uint64     // counts the waits for a request
	freed *sync.Cond // a connection is gone, or waits, or the listener is closed
	shut  bool
}

// boundedConn is a connection of a bounded listener.
type boundedConn struct {
	net.Conn
	of *bounded

	// Guarded by bounded.mu.
	since  uint64 // the wait for a request; 0: one is being answered
	proven bool   // a request that needs a token was let in
}

func newBounded(l net.Listener) *bounded {
	b := &bounded{Listener: l, conns: make(map[*boundedConn]struct{})}
	b.freed = sync.NewCond(&b.mu)
	return b
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	c, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.shut && len(b.conns) >= maxConns && !b.dropOne() {
		b.freed.Wait()
	}
	if b.shut {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	b.clock++
	bc := &boundedConn{Conn: c, of: b, since: b.clock}
	b.conns[bc] = struct{}{}
	return bc, nil
}

// dropOne closes a connection that waits for a request, if there is one. The caller holds mu.
func (b *bounded) dropOne() bool {
	var first *boundedConn
	for c := range b.conns {
		switch {
		case c.since == 0:
		case first == nil, first.proven && !c.proven, first.proven == c.proven && c.since < first.since:
			first = c
		}
	}
	if first == nil {
		return false
	}
	delete(b.conns, first)
	_ = first.Conn.Close() // who serves it finds out
	return true
}

// Close implements net.Listener.
func (b *bounded) Close() error {
	b.mu.Lock()
	b.shut = true
	b.freed.Broadcast()
	b.mu.Unlock()
	return b.Listener.Close()
}

// answering notes that a request is being answered, until the function returned is called.
func (c *boundedConn) answering() (done func()) {
	b := c.of
	b.mu.Lock()
	defer b.mu.Unlock()
	c.since = 0
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.clock++
		c.since = b.clock
		b.freed.Signal()
	}
}

// prove notes that a request was let in that needs a token, where there is one.
func (c *boundedConn) prove() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.proven = true
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c)
	c.of.freed.Signal()
	c.of.mu.Unlock()
	return c.Conn.Close()
}
