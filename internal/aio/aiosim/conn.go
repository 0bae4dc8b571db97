package aiosim

import (
	"net/netip"
	"syscall"
)

const (
	// corkTime is how long the kernel holds a part of a segment back for
	// MSG_MORE or Cork (TCP_CORK in tcp(7)).
	corkTime = int64(200e6)
	// segment is the size in which bytes leave in spite of both.
	segment = 1448
)

// conn is a connection: what is between a client and the driver's socket.
type conn struct {
	fd        int32
	ln        *Listener // until it is accepted
	connected bool
	slot      *slot // while the driver has it open

	// From the client to the driver.
	out        []byte // written and not yet delivered
	arrived    int    // of out: has reached the driver's socket
	arriving   bool   // a timer runs
	finQueued  bool   // FIN follows out
	finArrived bool
	broken     bool // reset, by the peer or by an injected error
	reported   bool // the driver's user was told ECONNRESET: EPIPE from now on

	// From the driver to the client.
	chunks       []chunk
	head         int   // first of chunks
	queued       int64 // bytes in chunks
	taken        int64 // bytes that the driver put in, ever
	reading      bool  // a timer runs
	readAt       int64 // no read before, for ClientConfig.ReadRate
	corked       bool  // by Cork
	held         int64 // last bytes of queued: less than a segment, not to be read yet
	heldSeq      uint32
	corkTimeouts int
	flying       bool // chunks were sent before the connection was severed
	finSent      bool // FIN follows chunks
	rstSent      bool // RST follows what is left of chunks
	closed       bool // the driver's side is closed
}

// Listener is a virtual listening socket.
type Listener struct {
	// FD is the descriptor for Driver.Listen. It belongs to the user until
	// Listen succeeds.
	FD int32

	w       *World
	slot    *slot
	backlog []*Client
	closed  bool
}

// NewListener makes a listening socket.
func (w *World) NewListener() *Listener {
	ln := &Listener{w: w}
	ln.FD = w.newFD(descriptor{ln: ln})
	w.listeners = append(w.listeners, ln)
	return ln
}

// close refuses who waits and who comes.
func (ln *Listener) close() {
	ln.closed = true
	ln.slot = nil
	for _, c := range ln.backlog {
		c.serverRST()
	}
	ln.backlog = nil
}

// PeerAddr returns the address of the client at the other end of an open
// descriptor.
func (w *World) PeerAddr(fd int32) (netip.AddrPort, syscall.Errno) {
	d := w.fd(fd)
	if d == nil || d.conn == nil {
		return netip.AddrPort{}, syscall.EBADF
	}
	return d.conn.cfg.Addr, 0
}

// delay returns a time that something takes one way.
func (c *Client) delay() int64 {
	l := int64(c.cfg.Latency)
	return l + c.w.below(l+1)
}

// arriveAtListener is the end of the handshake.
func (c *Client) arriveAtListener() {
	if c.left {
		return
	}
	c.w.note(kConnect, 0, int64(c.id), 0, 0, 0)
	ln := c.conn.ln
	if ln.closed {
		c.finish(Refused)
		return
	}
	c.conn.connected = true
	ln.backlog = append(ln.backlog, c)
	if ln.slot != nil {
		c.w.drv.offerAccept(ln.slot)
	}
	c.step()
}

// pump starts the timer with which the next written bytes arrive.
func (c *Client) pump() {
	n := &c.conn
	if n.arriving || n.broken || n.rstSent || n.arrived == len(n.out) && (!n.finQueued || n.finArrived) {
		return
	}
	if n.arrived < len(n.out) && int64(n.arrived) >= c.cfg.ReceiveWindow {
		return // until the driver has delivered some
	}
	n.arriving = true
	c.w.after(c.delay(), timer{kind: tArrive, c: c})
}

// arrive brings written bytes to the driver's socket.
func (c *Client) arrive() {
	n := &c.conn
	n.arriving = false
	if n.broken || n.rstSent {
		return
	}
	k := min(int64(len(n.out)-n.arrived), c.cfg.ReceiveWindow-int64(n.arrived))
	if k > 0 && n.closed {
		c.arriveAtClosed()
		return
	}
	if k > 1 && c.w.roll(c.w.cfg.Faults.SplitReceive) {
		k = c.w.upTo(k)
	}
	n.arrived += int(k)
	if n.arrived == len(n.out) && n.finQueued && (k == 0 || !c.w.coin()) {
		c.w.note(kFIN, 0, int64(c.id), 0, 0, 0)
		n.finArrived = true
	}
	if n.slot != nil {
		c.w.drv.offerReceive(n.slot)
	}
	c.pump()
}

// arriveAtClosed is what happens to bytes for a socket that is closed.
func (c *Client) arriveAtClosed() {
	c.conn.out, c.conn.arrived = c.conn.out[:0], 0
	if c.w.roll(c.w.cfg.Faults.UnreadReset) {
		c.serverRST()
		return
	}
	c.pump() // the FIN
}

// sendRST lets the client's RST arrive at the driver's socket.
func (c *Client) sendRST() {
	c.w.note(kRST, 0, int64(c.id), 0, 0, 0)
	c.dropQueue(0)
	c.w.after(c.delay(), timer{kind: tPeerRST, c: c})
}

// breakUp ends the connection for the driver's side: the client's RST arrived,
// or an error was injected.
func (c *Client) breakUp() {
	n := &c.conn
	if n.broken || n.closed {
		n.broken = true
		return
	}
	c.w.note(kBreak, 0, int64(c.id), 0, 0, 0)
	n.broken = true
	c.dropQueue(0)
	if c.w.coin() { // what had arrived is lost too
		n.out, n.arrived = n.out[:0], 0
	}
	if n.slot != nil {
		c.w.drv.offerReceive(n.slot)
		c.w.drv.offerReady(n.slot)
	}
}

// injectBreak breaks the connection from within: both sides see a reset.
func (c *Client) injectBreak() {
	c.breakUp()
	n := &c.conn
	if !n.rstSent {
		n.rstSent = true
		c.startRead()
	}
}

// errno returns what a socket call on a broken connection answers.
func (n *conn) errno() syscall.Errno {
	if n.reported {
		return syscall.EPIPE
	}
	n.reported = true
	return syscall.ECONNRESET
}

// serverClose is close(2) on the driver's side.
func (c *Client) serverClose(reset bool) {
	n := &c.conn
	n.closed = true
	n.slot = nil
	unread := n.arrived > 0
	switch {
	case n.broken:
	case reset, unread && c.w.roll(c.w.cfg.Faults.UnreadReset):
		c.serverRST()
	default:
		n.out, n.arrived = n.out[n.arrived:], 0
		n.finSent = true
		c.push()
		c.pump()
	}
	c.settle()
}

// serverRST sends RST to the client. Some of the bytes before it still arrive.
func (c *Client) serverRST() {
	n := &c.conn
	n.closed = true
	n.rstSent = true
	n.out, n.arrived = n.out[:0], 0
	c.dropQueue(c.w.below(n.queued - n.held + 1))
	c.startRead()
	c.settle()
}

// dropQueue keeps only the first bytes of what is on its way to the client,
// for the end of the connection.
func (c *Client) dropQueue(keep int64) {
	n := &c.conn
	n.held = 0
	i := n.head
	for ; i < len(n.chunks) && keep > 0; i++ {
		if over := n.chunks[i].n - keep; over > 0 {
			n.chunks[i] = n.chunks[i].cut(0, keep)
			n.queued -= over
		}
		keep -= n.chunks[i].n
	}
	for _, ch := range n.chunks[i:] {
		n.queued -= ch.n
	}
	n.chunks = n.chunks[:i]
	if n.queued == 0 {
		n.chunks, n.head = n.chunks[:0], 0
	}
}

// put takes bytes from the driver.
func (c *Client) put(ch chunk) {
	if ch.n == 0 {
		return
	}
	n := &c.conn
	n.taken += ch.n
	if c.left { // nobody reads them any more: RST comes back
		c.w.after(c.delay(), timer{kind: tPeerRST, c: c})
		return
	}
	n.chunks = append(n.chunks, ch)
	n.queued += ch.n
}

// sent is called after an attempt put n bytes: those that do not fill a segment
// wait for more if they were sent so, or under a cork, unless the buffer is full.
func (c *Client) sent(n int64, more bool) {
	h := &c.conn
	if more || h.corked {
		c.hold((h.held + n) % segment)
	} else {
		h.held = 0
	}
	if c.room() == 0 {
		h.held = 0
	}
	c.startRead()
}

// hold holds back the last n bytes, for at most corkTime.
func (c *Client) hold(n int64) {
	h := &c.conn
	h.held = min(n, h.queued)
	h.heldSeq++
	if h.held > 0 {
		c.w.after(corkTime, timer{kind: tCork, c: c, use: h.heldSeq})
	}
}

// push lets go of what is held back.
func (c *Client) push() {
	c.conn.held = 0
	c.startRead()
}

func (c *Client) cork(on bool) {
	c.conn.corked = on
	if !on {
		c.push()
	}
}

func (c *Client) corkTimeout(seq uint32) {
	n := &c.conn
	if n.held > 0 && n.heldSeq == seq {
		n.corkTimeouts++
		c.push()
	}
}

// readable reports whether the client has something to read: bytes or an end.
func (c *Client) readable() bool {
	n := &c.conn
	switch {
	case c.end != StillOpen || c.left:
		return false
	case n.rstSent && (c.stopped || n.queued == 0):
		return true
	case c.stopped, n.queued == 0 && !n.finSent:
		return false
	case n.queued == 0:
		return true
	}
	return c.limit() > 0
}

// startRead starts the timer of the next read.
func (c *Client) startRead() {
	if c.conn.reading || !c.readable() {
		return
	}
	c.conn.reading = true
	c.w.after(max(c.delay(), c.conn.readAt-c.w.now), timer{kind: tRead, c: c})
}

// read is the client's read(2).
func (c *Client) read() {
	n := &c.conn
	n.reading = false
	switch {
	case !c.readable():
		return
	case n.rstSent && (c.stopped || n.queued == 0):
		c.finish(SawRST)
		return
	case n.queued == 0:
		c.finish(SawFIN)
		return
	}
	k := c.limit()
	if k > 1 && c.w.roll(c.w.cfg.Faults.SplitRead) {
		k = c.w.upTo(k)
	}
	if r := c.cfg.ReadRate; r > 0 {
		k = min(k, max(r/50, 1)) // about 20 ms of it
		n.readAt = c.w.now + k*1e9/r
	}
	c.consume(k)
	c.startRead()
}

// consume reads k bytes and lets the script go on.
func (c *Client) consume(k int64) {
	n := &c.conn
	c.w.note(kRead, 0, int64(c.id), k, c.check.pos+k, 0)
	for k > 0 && n.queued > 0 { // the client may end the connection on what it sees
		ch := &n.chunks[n.head]
		part := ch.cut(0, min(k, ch.n)).captured()
		*ch = ch.cut(part.n, ch.n-part.n)
		if ch.n == 0 {
			*ch = chunk{}
			n.head++
		}
		if n.queued -= part.n; n.queued == 0 {
			n.chunks, n.head = n.chunks[:0], 0
		}
		k -= part.n
		c.see(part)
	}
	if n.slot != nil {
		c.w.drv.offerReady(n.slot)
	}
	if c.waiting {
		c.step()
	}
}

// see compares bytes that were read.
func (c *Client) see(ch chunk) {
	if k := c.cfg.Codec; k != nil {
		p := make([]byte, ch.n)
		ch.fill(p)
		content, err := k.Open(p)
		if err != nil {
			c.w.violate("%v: %v", c, err)
		}
		if len(content) == 0 {
			return
		}
		ch = memory(content)
	}
	v := &c.check
	bad := v.wrongBody || v.extra
	v.take(ch)
	if !bad && v.wrongBody {
		c.w.violate("%v took a wrong response for whole: its byte %d is wrong", c, v.wrongAt)
	}
	if !bad && v.extra {
		c.w.violate("%v received more than was expected", c)
	}
	if c.cfg.OnData != nil {
		p := make([]byte, ch.n)
		ch.fill(p)
		c.cfg.OnData(c, p)
	}
}

// room returns how many bytes the socket has room for.
func (c *Client) room() int64 { return max(c.cfg.Window-c.conn.queued, 0) }
