package load

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"syscall"

	"github.com/fserve/fserve/bench/sock"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// copyMax is the largest body that is received together with its head by
	// one copying recv. Above it, a recv of exactly the head and a discarding
	// one of the body are cheaper than the copy.
	copyMax = 4 << 10

	// rangeCount is how many different ranges are asked for in turn.
	rangeCount = 4096
)

var (
	errClosed = errors.New("connection closed by the server")
	errExcess = errors.New("more bytes than the Content-Length")
)

// target is what connections ask for and expect. Connections share it.
type target struct {
	requests   [][]byte // rendered; used in turn
	statusLine string   // first bytes that a response must have
	status     int
	bodyLen    int64

	// Set by the first response and by each that differs:
	headLen int // length of the last head
	want    int // how much to ask for at the start of a response
}

func newTarget(c *Config, path string, bodyLen int64) *target {
	t := &target{status: http.StatusOK, bodyLen: bodyLen, want: maxHead}
	var extra string
	if c.Mode == Reconnect {
		extra = "Connection: close\r\n"
	}
	switch {
	case c.Parts > 1:
		t.status = http.StatusPartialContent
		t.requests = c.partRequests(path, extra)
	case c.RangeOf > 0:
		t.status = http.StatusPartialContent
		rng := rand.New(rand.NewPCG(1, 2)) // the same ranges for every server
		for range rangeCount {
			off := rng.Int64N(c.RangeOf/bodyLen) * bodyLen
			r := fmt.Sprintf("%sRange: bytes=%d-%d\r\n", extra, off, off+bodyLen-1)
			t.requests = append(t.requests, render(c.Addr, path, r))
		}
	default:
		t.requests = [][]byte{render(c.Addr, path, extra)}
	}
	t.statusLine = fmt.Sprintf("HTTP/1.1 %d", t.status)
	return t
}

// render returns a request with the fields that a plain download client sends.
func render(addr, path, extra string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + addr +
		"\r\nUser-Agent: fserve-bench\r\nAccept: */*\r\n" + extra + "\r\n")
}

// learn notes the length of a response's head, so that the next response is
// taken without parsing and with as few calls as possible.
func (t *target) learn(headLen int) {
	t.headLen, t.want = headLen, headLen
	if t.bodyLen <= copyMax {
		t.want += int(t.bodyLen)
	}
}

type state uint8

const (
	idle       state = iota // no request in flight
	connecting              // the request could not be sent yet
	inHead                  // the head, or the rest of it, is to come
	inBody                  // left bytes are to come
	closing                 // the response is complete, the end of the stream is to come
)

// conn is one connection.
type conn struct {
	t     *target
	fd    int32
	state state
	next  uint32 // index of the next request, modulo their number
	left  int64  // bytes of the body still to come
	start int64  // when the request was sent, in ns of sys.Nanotime
	part  []byte // beginning of a head that came in pieces
}

// send sends the next request. A connection that is still being made keeps
// state connecting.
func (c *conn) send(now int64) error {
	req := c.t.requests[c.next%uint32(len(c.t.requests))]
	n, e := sys.Send(c.fd, req, false)
	switch {
	case e == syscall.EAGAIN && c.state == connecting:
		return nil
	case e != 0:
		return fmt.Errorf("send: %w", e)
	case n != len(req):
		return fmt.Errorf("send: %d of %d bytes", n, len(req))
	}
	c.next++
	c.state, c.start = inHead, now
	return nil
}

// receiver takes responses off connections. Its buffer is shared, since only
// heads, and bodies that nobody looks at, pass through it.
type receiver struct {
	buf      []byte
	received int64 // bytes so far

	// turn bounds the bytes that one call of receive discards; the rest needs
	// level-triggered events.
	turn int64
}

func newReceiver(turn int64) *receiver {
	return &receiver{buf: make([]byte, maxHead+copyMax), turn: turn}
}

// receive takes what has arrived on c until nothing is left or the response
// is complete (done).
func (r *receiver) receive(c *conn) (done bool, err error) {
	for c.state == inHead {
		want := c.t.want
		n, e := sys.Recv(c.fd, r.buf[:want])
		if e == syscall.EAGAIN {
			return false, nil
		}
		if err := ended(n, e); err != nil {
			return false, err
		}
		r.received += int64(n)
		if err := r.head(c, r.buf[:n]); err != nil {
			return false, err
		}
		if n < want && (c.state == inHead || c.left > 0) {
			return false, nil // drained: edge-triggered events report what comes next
		}
	}
	if err := r.body(c); err != nil || c.left > 0 {
		return false, err
	}
	return true, nil
}

// ended is the error behind a receive that brought nothing.
func ended(n int, e syscall.Errno) error {
	if e != 0 {
		return fmt.Errorf("receive: %w", e)
	}
	if n == 0 {
		return errClosed
	}
	return nil
}

// head takes the first bytes of a response, or the bytes after c.part. If the
// head is as long as the last one only its status is compared; were anything
// else different, the next response would not start where it should.
func (r *receiver) head(c *conn, b []byte) error {
	t := c.t
	if n := t.headLen; n > 0 && len(b) >= n && len(c.part) == 0 &&
		string(b[:len(t.statusLine)]) == t.statusLine && string(b[n-4:n]) == "\r\n\r\n" {
		c.state, c.left = inBody, t.bodyLen-int64(len(b)-n)
		return nil
	}
	return slowHead(c, b)
}

// slowHead parses a head that is new, differs from the last, or is in pieces.
func slowHead(c *conn, b []byte) error {
	c.part = append(c.part, b...)
	h, ok, err := parseHead(c.part)
	if err != nil || !ok {
		return err
	}
	if h.status != c.t.status {
		return fmt.Errorf("status %d instead of %d", h.status, c.t.status)
	}
	if h.length != c.t.bodyLen {
		return fmt.Errorf("Content-Length %d instead of %d", h.length, c.t.bodyLen)
	}
	c.state, c.left = inBody, h.length-int64(len(c.part)-h.size)
	c.part = c.part[:0]
	if c.left < 0 {
		return errExcess
	}
	c.t.learn(h.size)
	return nil
}

// body discards what has arrived of c's body, at most r.turn bytes.
func (r *receiver) body(c *conn) error {
	for budget := r.turn; c.left > 0 && budget > 0; {
		ask := min(c.left, budget)
		n, e := sock.Discard(c.fd, ask)
		if e == syscall.EAGAIN {
			return nil
		}
		if err := ended(int(n), e); err != nil {
			return fmt.Errorf("%w with %d bytes of the body to come", err, c.left)
		}
		r.received += n
		c.left -= n
		budget -= n
		if n < ask {
			return nil
		}
	}
	return nil
}
