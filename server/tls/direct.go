package tls

import (
	"bytes"
	crypto "crypto/tls"
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/internal/tlsrec"
)

// direct is a connection of which a loop has the TCP socket itself, and the keys: it seals and
// opens the records. No goroutine is left of it, and no memory but this.
type direct struct {
	front *Front
	rec   *tlsrec.Conn // nil: the loop has it
	peer  netip.AddrPort
	local net.Addr
	at    int // the listener
	state crypto.ConnectionState

	byKernel bool
	speaker
}

// Peer implements loop.Adopted.
func (d *direct) Peer() netip.AddrPort { return d.peer }

// Ending implements loop.Adopted.
func (d *direct) Ending(bool) {
	d.front.count(d, -1)
	d.front.open.Add(-1)
}

// Records implements loop.Secured.
func (d *direct) Records() *tlsrec.Conn {
	rec := d.rec
	d.rec = nil
	return rec
}

// Listener returns the index of the listener in Config.Listen.
func (d *direct) Listener() int { return d.at }

// LocalAddr returns the address at which the connection was accepted.
func (d *direct) LocalAddr() net.Addr { return d.local }

// ConnectionState describes the TLS connection.
func (d *direct) ConnectionState() crypto.ConnectionState { return d.state }

// tapped is a connection during its handshake.
type tapped struct {
	net.Conn
	tap     tlsrec.Tap
	tickets int
}

func (c *tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:min(len(p), c.tap.Ask())])
	c.tap.Came(p[:n])
	return n, err
}

func (c *tapped) Write(p []byte) (int, error) {
	c.tap.Went(p)
	return c.Conn.Write(p)
}

// watch returns cfg for the handshake of this connection.
func (c *tapped) watch(cfg *crypto.Config) *crypto.Config {
	cfg = cfg.Clone()
	cfg.KeyLogWriter = &c.tap
	cfg.WrapSession = func(cs crypto.ConnectionState, s *crypto.SessionState) ([]byte, error) {
		c.tickets++
		return cfg.EncryptTicket(cs, s)
	}
	return cfg
}

// errBridge: the connection needs the bridge.
var errBridge = errors.New("not for a loop")

// handOver gives the TCP connection itself to the engine. On error nothing has changed.
func (b *bridge) handOver(c *tapped) error {
	if p, ok := c.Conn.(*prefixConn); ok && len(p.prefix) > 0 {
		return errBridge
	}
	state := b.tls.ConnectionState()
	rec, err := c.tap.Conn(state.Version, state.CipherSuite, c.tickets)
	if err != nil {
		return err
	}
	state.TLSUnique = bytes.Clone(state.TLSUnique) // a part of what is to be freed
	fd, err := sys.Dup(b.tcp)
	if err != nil {
		return err
	}
	f := b.front
	f.sealByKernel(fd, rec)
	d := &direct{front: f, rec: rec, peer: b.peer, local: b.tcp.LocalAddr(), at: b.at, state: state, speaker: b.speaker}
	d.byKernel = rec.ByKernel()
	f.count(d, 1)
	if err := f.cfg.Engine.Adopt(fd, d); err != nil {
		f.count(d, -1)
		unix.Close(fd)
		return err
	}
	return nil
}
