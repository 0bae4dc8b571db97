package http2

import (
	"bufio"
	crypto "crypto/tls"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/server/tls"
)

// pair is a connection to a loop, which serves one relayed after another.
type pair struct {
	of    *relayConn
	local *net.UnixConn
	r     *bufio.Reader
	leads bool
	// release ends what makes the end of the relayed that of the pair; false: it was ended.
	release func() bool
	ended   bool                    // by the loop; under relayConn.mu
	cut     atomic.Bool             // what the loop has sent is not the whole
	serves  atomic.Pointer[relayed] // the last one
}

const (
	// pairBuffer bounds what a loop has sent and a relayed has not read yet, in bytes.
	pairBuffer = 128 << 10
	// headBuffer is for heads of responses, in bytes. Longer ones are read in pieces.
	headBuffer = 4 << 10
)

func newPair(c *relayConn, leads bool) (*pair, error) {
	p := &pair{of: c, leads: leads}
	var a loop.Adopted = p
	if leads {
		a = leader{p}
	}
	local, err := tls.AdoptPair(c.of.cfg.Engine, a, pairBuffer)
	if err != nil {
		return nil, err
	}
	p.local, p.r = local, bufio.NewReaderSize(local, headBuffer)
	return p, nil
}

// close ends the pair. A relayed that waits for it goes on. Any goroutine may call it.
func (p *pair) close() { _ = p.local.Close() }

// Peer implements loop.Adopted.
func (p *pair) Peer() netip.AddrPort { return p.of.client.Peer }

// Ending implements loop.Adopted.
func (p *pair) Ending(reset bool) {
	if reset {
		p.cut.Store(true)
	}
	go p.of.drop(p)
}

// Rests implements loop.Relay. The loop asks while it sends, which is to a relayed.
func (p *pair) Rests() time.Duration {
	return time.Duration(sys.Nanotime() - p.serves.Load().moved.Load())
}

// HTTP2 returns the number of the client's connection.
func (p *pair) HTTP2() uint64 { return p.of.number }

// Listener returns the index of the client's listener among those of TLS.
func (p *pair) Listener() int { return p.of.client.Listener }

// LocalAddr returns the address at which the client's connection was accepted.
func (p *pair) LocalAddr() net.Addr { return p.of.client.Conn.LocalAddr() }

// ConnectionState describes the client's connection.
func (p *pair) ConnectionState() crypto.ConnectionState { return p.of.client.Conn.ConnectionState() }

// leader is the pair of a connection by which that is measured: by each of them it would count
// as often.
type leader struct{ *pair }

// Control implements loop.Socket.
func (l leader) Control(f func(fd uintptr)) error { return l.of.client.Control(f) }
