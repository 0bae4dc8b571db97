package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/bench/sock"
	"github.com/fserve/fserve/internal/sys"
)

// copyMax is the largest body that is received together with its head by
// one copying recv. Above it, a recv of exactly the head and a discarding
// one of the body are cheaper than the copy.
const copyMax = 4 << 10

var (
	errClosed  = errors.New("connection closed by the server")
	errExcess  = errors.New("more bytes than the Content-Length")
	errUnasked = errors.New("bytes that nobody asked for")
)

// target is what the connections of a group ask for and expect.
type target struct {
	requests   [][]byte // rendered; used in turn
	files      uint32   // > 0: a number below it is put into the only request each time
	digits     []byte   // of that request, where the number is
	statusLine string   // first bytes that a response must have
	status     int
	bodyLen    int64

	// Set by the first response and by each that differs:
	headLen int // length of the last head
	want    int // how much to ask for at the start of a response
}

func newTarget(addr string, g *Group) *target {
	t := &target{status: http.StatusOK, bodyLen: g.BodyLen, want: maxHead}
	fields := ""
	if g.Mode == Reconnect {
		fields = "Connection: close\r\n"
	}
	switch {
	case g.Files > 0:
		target := Name(g.Path, 0)
		t.requests, t.files = [][]byte{render(addr, target, fields)}, uint32(g.Files)
		end := len("GET ") + len(target)
		t.digits = t.requests[0][end-nameDigits : end]
	case g.Ranges.Of == 0:
		t.requests = [][]byte{render(addr, g.Path, fields)}
	default:
		t.status = http.StatusPartialContent
		for _, v := range g.Ranges.values(g.BodyLen) {
			t.requests = append(t.requests, render(addr, g.Path, fields+"Range: "+v+"\r\n"))
		}
	}
	t.statusLine = fmt.Sprintf("HTTP/1.1 %d", t.status)
	return t
}

// render returns a request with the fields that a plain download client sends,
// and further ones.
func render(addr, path, fields string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + addr +
		"\r\nUser-Agent: fserve-bench\r\nAccept: */*\r\n" + fields + "\r\n")
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
	group *group
	flow  *flow // what it receives in slots of time; nil: not counted
	fd    int32 // -1: not open
	id    int32 // its events carry it
	state state
	next  uint32 // index of the next request, modulo their number; of several files, what the next is drawn with
	left  int64  // bytes of the body still to come
	start int64  // when the request was sent, in ns of sys.Nanotime
	part  []byte // beginning of a head that came in pieces
}

// send sends the next request. A connection that is still being made keeps
// state connecting.
func (c *conn) send(now int64) error {
	req := c.request()
	n, e := sys.Send(c.fd, req, false)
	switch {
	case e == syscall.EAGAIN && c.state == connecting:
		return nil
	case e != 0:
		return fmt.Errorf("send: %w", e)
	case n != len(req):
		return fmt.Errorf("send: %d of %d bytes", n, len(req))
	}
	c.state, c.start = inHead, now
	return nil
}

// request returns the next request.
func (c *conn) request() []byte {
	t := c.t
	if t.files == 0 {
		c.next++
		return t.requests[c.next%uint32(len(t.requests))]
	}
	c.next ^= c.next << 13 // xorshift: every number but 0 in turn
	c.next ^= c.next >> 17
	c.next ^= c.next << 5
	putName(t.digits, uint32(uint64(c.next)*uint64(t.files)>>32))
	return t.requests[0]
}

// receive takes what has arrived until nothing is left, the response is complete
// (done) or most bytes of its body are taken; the rest then needs level-triggered
// events. n is the number of bytes taken. Heads, and bodies that nobody looks at,
// pass through buf, which has room for maxHead and copyMax.
func (c *conn) receive(buf []byte, most int64) (n int64, done bool, err error) {
	for c.state == inHead {
		want := c.t.want
		got, e := sys.Recv(c.fd, buf[:want])
		if e == syscall.EAGAIN {
			return n, false, nil
		}
		if err := ended(int64(got), e); err != nil {
			return n, false, err
		}
		n += int64(got)
		if err := c.head(buf[:got]); err != nil {
			return n, false, err
		}
		if got < want && (c.state == inHead || c.left > 0) {
			return n, false, nil // drained: edge-triggered events report what comes next
		}
	}
	body, err := c.body(most)
	return n + body, err == nil && c.left == 0, err
}

// ended is the error behind a receive that brought nothing.
func ended(n int64, e syscall.Errno) error {
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
func (c *conn) head(b []byte) error {
	t := c.t
	if n := t.headLen; n > 0 && len(b) >= n && len(c.part) == 0 &&
		string(b[:len(t.statusLine)]) == t.statusLine && string(b[n-4:n]) == "\r\n\r\n" {
		c.state, c.left = inBody, t.bodyLen-int64(len(b)-n)
		return nil
	}
	return c.slowHead(b)
}

// slowHead parses a head that is new, differs from the last, or is in pieces.
func (c *conn) slowHead(b []byte) error {
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

// body discards what has arrived of the body, at most so many bytes, and returns
// how many there were.
func (c *conn) body(most int64) (taken int64, err error) {
	for c.left > 0 && taken < most {
		ask := min(c.left, most-taken)
		n, e := sock.Discard(c.fd, ask)
		if e == syscall.EAGAIN {
			return taken, nil
		}
		if err := ended(n, e); err != nil {
			return taken, fmt.Errorf("%w with %d bytes of the body to come", err, c.left)
		}
		c.left -= n
		taken += n
		if n < ask {
			return taken, nil
		}
	}
	return taken, nil
}

// unasked handles an event of a connection that expects no response: its end, or
// bytes of a server that sends too much.
func (c *conn) unasked() error {
	n, e := sock.Discard(c.fd, 1)
	if e == syscall.EAGAIN {
		return nil
	}
	if err := ended(n, e); err != nil {
		return err
	}
	return errUnasked
}

// wait waits until the connection can go on: is made, or has received something.
func (c *conn) wait(ctx context.Context) error {
	p := []unix.PollFd{{Fd: c.fd, Events: unix.POLLIN}}
	if c.state == connecting {
		p[0].Events = unix.POLLOUT
	}
	for end := sys.Nanotime() + int64(connectTime); ; {
		n, err := unix.Poll(p, int(tick.Milliseconds()))
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("poll: %w", err)
		case n > 0:
			return nil // an error of the connection shows at the next call
		case ctx.Err() != nil:
			return ctx.Err()
		case sys.Nanotime() > end:
			return fmt.Errorf("waiting for the server: %w", unix.ETIMEDOUT)
		}
	}
}
