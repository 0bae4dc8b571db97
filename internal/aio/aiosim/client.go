package aiosim

import (
	"fmt"
	"net/netip"
	"time"
)

// ClientConfig describes a virtual peer. The zero value connects at once, reads
// as fast as it can and writes nothing.
type ClientConfig struct {
	// Start is when it connects, from when it was made.
	Start time.Duration

	// Latency is the time that bytes and signals take one way; a random time
	// of up to as much again is added to each. Default: 50 us.
	Latency time.Duration

	// ReadRate bounds how fast it reads, in bytes per second. 0: no bound.
	ReadRate int64

	// Window is how many bytes fit between the driver's attempts and the
	// client's reads (send buffer, wire and receive buffer). Default: 256 KiB.
	Window int64

	// ReceiveWindow is how many of its bytes fit between its writes and what
	// the driver has delivered. Default: 64 KiB.
	ReceiveWindow int64

	// Addr is the address that World.PeerAddr tells. Default: a different one
	// for each client, in 10.0.0.0/8.
	Addr netip.AddrPort

	// Script is done step by step. It is cut short when the connection breaks,
	// and when it awaits something after the server has ended the stream.
	// After the script the client goes on reading until the server ends the
	// connection, and closes it then.
	Script []Step

	// Codec, if set, stands between what the client writes and reads and the bytes that
	// travel. Rates and windows are of the latter, all else is of the former.
	Codec Codec

	// OnData, if set, is called with all bytes that are received, valid
	// during the call. It may call methods of the client.
	OnData func(c *Client, p []byte)
}

// Codec is another form of a stream, like records of TLS.
type Codec interface {
	// Seal returns what travels in place of p, which it may not change.
	Seal(p []byte) []byte
	// Open returns what further bytes that have travelled stand for, valid until it is called
	// again. An error is a finding of World.Check.
	Open(p []byte) ([]byte, error)
}

// End is how a connection ended, as its client saw it.
type End uint8

const (
	StillOpen End = iota // the client saw no end, or left before
	SawFIN               // the orderly end of the stream
	SawRST               // the connection was reset
	Refused              // nobody listened
)

func (e End) String() string {
	return [...]string{"still open", "FIN", "RST", "refused"}[e]
}

// Result is what a client saw of its connection.
type Result struct {
	End      End
	Left     bool  // the client closed or reset the connection before it saw an end
	Received int64 // bytes
	// Responses counts the expected responses that arrived whole and right.
	Responses int
	// WrongAt is the position of the first byte that no expected response has
	// there; -1: none. It alone is no error: the connection may have been
	// ended before the wrong response looked whole.
	WrongAt int64
	// WrongBody: a wrong response had the length of a right one. World.Check
	// reports it.
	WrongBody bool
	// Extra: bytes came after the last expected response. World.Check
	// reports it.
	Extra bool
}

// Step is one step of a client's script.
type Step struct {
	op stepOp
	p  []byte
	n  int64
	f  func(*Client)
}

type stepOp uint8

const (
	stepWrite stepOp = iota
	stepSleep
	stepAwait
	stepAwaitResponses
	stepDo
)

// Write sends p, which is not copied.
func Write(p []byte) Step { return Step{op: stepWrite, p: p} }

// Sleep does nothing for d.
func Sleep(d time.Duration) Step { return Step{op: stepSleep, n: int64(d)} }

// Await reads until n bytes were received in all, and no further: a step that
// follows is done at exactly this position of the stream.
func Await(n int64) Step { return Step{op: stepAwait, n: n} }

// AwaitResponses reads until n of the expected responses are there.
func AwaitResponses(n int) Step { return Step{op: stepAwaitResponses, n: int64(n)} }

// Do calls f.
func Do(f func(*Client)) Step { return Step{op: stepDo, f: f} }

// CloseWrite sends FIN after what was written. Reading goes on.
func CloseWrite() Step { return Do((*Client).CloseWrite) }

// Close closes the connection: in order, or with RST if unread bytes are there
// or still come.
func Close() Step { return Do((*Client).Close) }

// Reset ends the connection with RST; bytes under way are lost.
func Reset() Step { return Do((*Client).Reset) }

// StopReading lets the window fill up, StartReading lets it no longer.
func StopReading() Step { return Do((*Client).StopReading) }

// StartReading ends StopReading.
func StartReading() Step { return Do((*Client).StartReading) }

// Client is a virtual peer and its connection.
type Client struct {
	w   *World
	id  int
	cfg ClientConfig
	pc  int // the current step of cfg.Script

	scriptOver bool
	waiting    bool // in a step that waits
	stopped    bool // reads nothing
	left       bool // closed or reset by the client
	leftFirst  bool // before it saw an end
	done       bool
	end        End
	check      verifier

	conn conn
}

// Dial makes a client that connects to ln.
func (w *World) Dial(ln *Listener, cfg ClientConfig) *Client {
	c := w.newClient(cfg)
	c.conn.ln = ln
	w.after(int64(cfg.Start), timer{kind: tConnect, c: c})
	return c
}

// Connected makes a client that is connected already, as if accepted or dialled
// outside of the loop. The caller owns the descriptor, and may give it to Open.
func (w *World) Connected(cfg ClientConfig) (*Client, int32) {
	c := w.newClient(cfg)
	fd := w.newFD(descriptor{conn: c})
	c.conn.fd = fd
	c.conn.connected = true
	w.after(int64(cfg.Start), timer{kind: tStep, c: c})
	return c, fd
}

func (w *World) newClient(cfg ClientConfig) *Client {
	if cfg.Latency == 0 {
		cfg.Latency = 50 * time.Microsecond
	}
	if cfg.Window == 0 {
		cfg.Window = 256 << 10
	}
	if cfg.ReceiveWindow == 0 {
		cfg.ReceiveWindow = 64 << 10
	}
	c := &Client{w: w, id: len(w.clients), cfg: cfg}
	if !cfg.Addr.IsValid() {
		n := c.id + 1
		c.cfg.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 40000)
	}
	c.check = verifier{w: w, wrongAt: -1}
	w.clients = append(w.clients, c)
	w.undone++
	return c
}

// ID returns the client's number, as the log has it.
func (c *Client) ID() int { return c.id }

// Expect adds one response to what the client is to receive. Nothing is
// compared if nothing is expected.
func (c *Client) Expect(pieces ...Piece) { c.ExpectEither(pieces) }

// ExpectEither adds one response that may be any of several.
func (c *Client) ExpectEither(responses ...[]Piece) {
	c.check.expected = append(c.check.expected, response{either: responses})
}

// ExpectLater adds one response that f gives, as ExpectEither would have it,
// when its first byte arrives. It is for what can change until then, such as
// the versions of a file.
func (c *Client) ExpectLater(f func() [][]Piece) {
	c.check.expected = append(c.check.expected, response{late: f})
}

// Result returns what the client has seen so far.
func (c *Client) Result() Result {
	v := &c.check
	return Result{End: c.end, Left: c.leftFirst, Received: v.pos, Responses: v.whole,
		WrongAt: v.wrongAt, WrongBody: v.wrongBody, Extra: v.extra}
}

// Received returns how many bytes the client has read.
func (c *Client) Received() int64 { return c.check.pos }

// Taken returns how many bytes its socket took from the driver; not all of
// them need have reached the client.
func (c *Client) Taken() int64 { return c.conn.taken }

// Held returns how many of the bytes that its socket took from the driver are
// held back now, since they fill no segment and were sent with more set or
// under a cork. At the end of a response that is a client which waits in vain,
// until Push, a further attempt or 200 ms have come.
func (c *Client) Held() int64 { return c.conn.held }

// CorkTimeouts returns how often bytes were held back until the kernel gave up
// waiting for more (200 ms).
func (c *Client) CorkTimeouts() int { return c.conn.corkTimeouts }

// Done reports whether the script is over and the client has left or has seen
// the end of the connection.
func (c *Client) Done() bool { return c.done }

// Write sends p after what was written before.
func (c *Client) Write(p []byte) {
	if c.left || c.conn.finQueued || c.end == SawRST {
		return
	}
	if k := c.cfg.Codec; k != nil {
		p = k.Seal(p)
	}
	c.w.note(kWrite, 0, int64(c.id), int64(len(p)), 0, 0)
	c.conn.out = append(c.conn.out, p...)
	c.pump()
}

// CloseWrite sends FIN after what was written.
func (c *Client) CloseWrite() {
	c.conn.finQueued = true
	c.pump()
}

// StopReading makes the client read nothing more.
func (c *Client) StopReading() { c.stopped = true }

// StartReading ends StopReading.
func (c *Client) StartReading() {
	c.stopped = false
	c.startRead()
}

// Close closes the connection; see the step of the same name.
func (c *Client) Close() {
	if c.left {
		return
	}
	if c.conn.queued > 0 {
		c.Reset()
		return
	}
	c.leave()
	c.conn.finQueued = true
	c.pump()
}

// Reset ends the connection with RST.
func (c *Client) Reset() {
	if c.left {
		return
	}
	c.leave()
	c.sendRST()
}

func (c *Client) leave() {
	c.w.note(kLeave, 0, int64(c.id), 0, 0, 0)
	c.left, c.leftFirst = true, c.end == StillOpen
	c.scriptOver = true
	c.settle()
}

// step does what the script has to do now.
func (c *Client) step() {
	c.waiting = false
	for !c.scriptOver {
		if c.pc == len(c.cfg.Script) {
			c.scriptOver = true
			break
		}
		s := &c.cfg.Script[c.pc]
		if !c.do(s) {
			return
		}
		c.pc++
	}
	c.settle()
}

// do does one step and reports whether it is over.
func (c *Client) do(s *Step) bool {
	switch s.op {
	case stepWrite:
		c.Write(s.p)
	case stepSleep:
		c.pc++
		c.w.after(s.n, timer{kind: tStep, c: c})
		return false
	case stepAwait:
		c.waiting = c.check.pos < s.n
	case stepAwaitResponses:
		c.waiting = int64(c.check.whole) < s.n
	case stepDo:
		s.f(c)
	}
	if c.waiting && c.end != StillOpen { // it will never come
		c.waiting = false
		c.scriptOver = true
	}
	return !c.waiting
}

// limit returns how many bytes the client can and may read before its next step.
func (c *Client) limit() int64 {
	n := c.conn.queued - c.conn.held
	if c.waiting {
		if s := &c.cfg.Script[c.pc]; s.op == stepAwait {
			return min(n, s.n-c.check.pos)
		}
	}
	return n
}

// settle is called when something changed that may be the client's end.
func (c *Client) settle() {
	if c.scriptOver && c.end != StillOpen && !c.left {
		c.Close()
		return
	}
	over := c.left || c.stopped && c.conn.closed && (c.scriptOver || c.waiting)
	if over && !c.done {
		c.done = true
		c.w.undone--
	}
}

// finish records how the connection ended.
func (c *Client) finish(e End) {
	c.w.note(kEnd, 0, int64(c.id), int64(e), c.check.pos, 0)
	c.end = e
	if e != SawFIN {
		c.scriptOver = true
	}
	if c.waiting {
		c.step()
	}
	c.settle()
}

func (c *Client) String() string {
	r := c.Result()
	return fmt.Sprintf("client %d (%s, %d bytes received, %d of %d responses)",
		c.id, r.End, r.Received, r.Responses, len(c.check.expected))
}
