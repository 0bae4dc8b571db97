package tls

import (
	"container/list"
	crypto "crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/server/proxyproto"
)

// bridge is a connection during its handshake, and after it if a loop cannot have the
// connection itself (direct). It joins the TLS connection to one of the engine, which serves
// one end of a socket pair as it serves any client. The bridge decrypts what the client
// sends into the other end, and encrypts what comes out of it.
//
//	client === TCP === tls ---- local | peer ---- engine
//	                       <- down        (bridge.run)
//	                       up ->          (a goroutine)
//
// How a response ends is told by Ending: an orderly end becomes close_notify
// and FIN, a reset becomes RST without close_notify.
type bridge struct {
	front   *Front
	tcp     *net.TCPConn
	at      int // the listener
	tls     *crypto.Conn
	patient *patientConn // what tls writes to
	local   *net.UnixConn
	proxied bool
	peer    netip.AddrPort
	policy  *policy // of its handshake
	adopted atomic.Bool
	over    bool          // a loop has the connection itself
	speaker               // of HTTP/2, if the client has chosen that
	gone    chan struct{} // closed when the engine ends its connection

	handshake *list.Element // in front.handshakes, under front.mu; nil: it is over
}

const (
	// downBuffer is what is read from the engine and encrypted at once, in bytes:
	// four records of the largest size.
	downBuffer = 64 << 10
	// upBuffer is for requests, in bytes.
	upBuffer = 4 << 10
)

// downBuffers are lent to bridges that have something to send, so that an idle
// connection holds none.
var downBuffers = sync.Pool{New: func() any { return new([downBuffer]byte) }}

// Listener returns the index of the listener in Config.Listen.
func (b *bridge) Listener() int { return b.at }

// Peer implements loop.Adopted.
func (b *bridge) Peer() netip.AddrPort { return b.peer }

// Rests implements loop.Relay. The loop asks while the pair is full, when down writes.
func (b *bridge) Rests() time.Duration { return b.patient.rests() }

// Control implements loop.Socket: what is measured is the client's connection.
func (b *bridge) Control(f func(fd uintptr)) error {
	raw, err := b.tcp.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(f)
}

// Ending implements loop.Adopted.
func (b *bridge) Ending(reset bool) {
	if reset {
		b.reset()
	}
	close(b.gone)
}

// reset ends the TCP connection with RST. Any goroutine may call it.
func (b *bridge) reset() {
	_ = b.tcp.SetLinger(0) // fails if it is closed already
	_ = b.tcp.Close()
}

// run is the life of a connection.
func (b *bridge) run() {
	err := b.open()
	if isHTTP(err) {
		b.refuseHTTP()
	}
	b.front.opened(b)
	if b.over {
		_ = b.tcp.Close() // the loop has another descriptor of it
		return
	}
	defer b.front.open.Add(-1)
	if err != nil {
		_ = b.tcp.Close()
		b.front.failed.Add(1)
		b.front.cfg.Log.Debug("TLS connection failed", "peer", b.tcp.RemoteAddr().String(), "err", err)
		return
	}
	var up sync.WaitGroup
	up.Add(1)
	go func() {
		defer up.Done()
		b.up()
	}()
	if b.down() {
		b.finish()
	} else {
		b.reset()
	}
	_ = b.tcp.Close() // ends up
	_ = b.local.Close()
	up.Wait()
	<-b.gone
}

// open brings the connection to where requests may come.
func (b *bridge) open() error {
	f := b.front
	if err := b.tcp.SetDeadline(time.Now().Add(f.cfg.Handshake)); err != nil {
		return err
	}
	b.peer = unmap(b.tcp.RemoteAddr())
	b.patient = &patientConn{TCPConn: b.tcp, timeout: f.cfg.Send}
	tap := &tapped{Conn: b.patient}
	if b.proxied {
		rest, err := b.readProxyHeader()
		if err != nil {
			b.reset()
			return err
		}
		tap.Conn = &prefixConn{tap.Conn, rest}
	}
	b.policy = f.policy.Load()
	b.tls = crypto.Server(tap, tap.watch(f.config(b.policy.faces[b.at], time.Now())))
	if err := b.tls.Handshake(); err != nil {
		return err
	}
	if err := b.tcp.SetDeadline(time.Time{}); err != nil {
		return err
	}
	// A client with Nagle's algorithm sends no request before its Finished is acknowledged.
	if err := b.Control(func(fd uintptr) { sys.SetQuickAck(int32(fd)) }); err != nil {
		return err
	}
	if b.tls.ConnectionState().NegotiatedProtocol == protocolHTTP2 {
		b.speaker = speaker{b.front.http2(b.policy.of.HTTP2)}
	}
	if b.handOver(tap) == nil {
		b.over = true
		b.adopted.Store(true)
		return nil
	}
	return b.pair()
}

func unmap(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// pair makes the socket pair and gives one end to the engine.
func (b *bridge) pair() (err error) {
	if b.local, err = AdoptPair(b.front.cfg.Engine, b, 0); err == nil {
		b.adopted.Store(true)
	}
	return err
}

// AdoptPair gives one end of a new socket pair to an engine and returns the other, which is the
// caller's. buffer bounds what lies between them on its way from the engine, in bytes; 0: the system does.
func AdoptPair(e *engine.Engine, a loop.Adopted, buffer int) (*net.UnixConn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket pair: %w", err)
	}
	if buffer > 0 {
		_ = unix.SetsockoptInt(fds[1], unix.SOL_SOCKET, unix.SO_SNDBUF, buffer)
	}
	file := os.NewFile(uintptr(fds[0]), "pair")
	conn, err := net.FileConn(file) // a duplicate
	err = errors.Join(err, file.Close())
	if err == nil {
		if err = e.Adopt(fds[1], a); err == nil {
			return conn.(*net.UnixConn), nil
		}
		_ = conn.Close()
	}
	unix.Close(fds[1])
	return nil, err
}

// readProxyHeader reads the PROXY header before the handshake, and returns what
// was read behind it.
func (b *bridge) readProxyHeader() (rest []byte, err error) {
	t := &b.front.cfg.Trust
	if t.Any() && !t.Contains(b.peer.Addr()) {
		return nil, errors.New("PROXY header: the peer is no trusted proxy")
	}
	buf := make([]byte, 0, proxyproto.MaxLen)
	for {
		n, err := b.tcp.Read(buf[len(buf):cap(buf)])
		if err != nil {
			return nil, fmt.Errorf("PROXY header: %w", err)
		}
		buf = buf[:len(buf)+n]
		n, client, named, err := proxyproto.Parse(buf)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			if named {
				b.peer = client
			}
			return buf[n:], nil
		}
	}
}

// down encrypts what the engine sends, until it ends. It reports whether the
// client has got all of that.
func (b *bridge) down() bool {
	raw, err := b.local.SyscallConn()
	if err != nil {
		return false
	}
	for {
		buf, n, err := receive(raw)
		if buf != nil {
			if n > 0 {
				_, err = b.tls.Write(buf[:n])
			}
			downBuffers.Put(buf)
		}
		if err != nil || n == 0 {
			return err == nil
		}
	}
}

// receive waits for bytes and reads them to a buffer that it takes when they
// are there.
func receive(raw syscall.RawConn) (buf *[downBuffer]byte, n int, err error) {
	var e error
	err = raw.Read(func(fd uintptr) bool {
		buf = downBuffers.Get().(*[downBuffer]byte)
		for {
			if n, e = unix.Read(int(fd), buf[:]); !errors.Is(e, unix.EINTR) {
				break
			}
		}
		if errors.Is(e, unix.EAGAIN) {
			downBuffers.Put(buf)
			buf = nil
			return false
		}
		return true
	})
	if errors.Is(e, unix.ECONNRESET) {
		// The engine has left bytes of the client unread. Had it meant a reset,
		// Ending would have been told so before.
		n, e = 0, nil
	}
	return buf, max(n, 0), errors.Join(err, e)
}

// finish ends the connection in order. If the engine has only ended its own
// half it drops what the client still sends (RFC 9112 section 9.6), and it says
// when that is over.
func (b *bridge) finish() {
	_ = b.tls.CloseWrite() // to a client that may be gone
	_ = b.tcp.CloseWrite()
	<-b.gone
}

// up decrypts what the client sends, until it ends.
func (b *bridge) up() {
	buf := make([]byte, upBuffer)
	for {
		n, err := b.tls.Read(buf)
		if n > 0 {
			if _, err := b.local.Write(buf[:n]); err != nil {
				return // the engine has ended
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			_ = b.local.CloseWrite() // a client may end its half and await answers
			return
		default:
			_ = b.local.Close() // the engine sees a client that is gone
			return
		}
	}
}

// patientConn gives up on a write when the client has taken nothing for so long. A socket that was
// full takes no more before a third of it is empty, for which a slow client may need longer: what
// counts is what the client has acknowledged.
type patientConn struct {
	*net.TCPConn
	timeout time.Duration
	moved   atomic.Int64 // monotonic ns: when a write has begun, or was seen to go on
}

// looks is how often, within its time-out, a write that waits is looked at.
const looks = 4

func (c *patientConn) Write(p []byte) (done int, err error) {
	c.moved.Store(sys.Nanotime())
	for left := int64(0); ; {
		if err := c.SetWriteDeadline(time.Now().Add(c.timeout / looks)); err != nil {
			return done, err
		}
		n, err := c.TCPConn.Write(p[done:])
		done += n
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return done, err
		}
		before := left
		if left = c.unacknowledged(); n > 0 || left < before {
			c.moved.Store(sys.Nanotime())
		} else if c.rests() >= c.timeout {
			return done, err
		}
	}
}

// rests returns for how long the write that is under way has not gone on.
func (c *patientConn) rests() time.Duration { return time.Duration(sys.Nanotime() - c.moved.Load()) }

// unacknowledged returns how many bytes the kernel has that the client has not acknowledged.
func (c *patientConn) unacknowledged() (n int64) {
	raw, err := c.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { n = sys.Unsent(int32(fd)) }) // closed: the next write says so
	}
	return n
}

// prefixConn reads some bytes first that were read from the connection before.
type prefixConn struct {
	net.Conn
	prefix []byte
}

func (c *prefixConn) Read(p []byte) (int, error) {
	if len(c.prefix) > 0 {
		n := copy(p, c.prefix)
		c.prefix = c.prefix[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// LocalAddr returns the address at which the client's connection was accepted.
func (b *bridge) LocalAddr() net.Addr { return b.tcp.LocalAddr() }

// ConnectionState describes the TLS connection.
func (b *bridge) ConnectionState() crypto.ConnectionState { return b.tls.ConnectionState() }
