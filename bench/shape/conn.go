package shape

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"syscall"

	"github.com/fserve/fserve/bench/sock"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// maxHead bounds a response's head, in bytes.
	maxHead = 4 << 10

	// discardMost is how much is taken at once, in bytes: others wait meanwhile.
	discardMost = 4 << 20
)

var (
	errExcess = errors.New("bytes that nobody asked for")
	errClosed = errors.New("connection closed by the server")
	errHead   = fmt.Errorf("response head over %d bytes", maxHead)
)

// exchange is one connection with at most one request under way.
type exchange struct {
	fd   int32
	req  []byte
	busy bool   // a response is to come
	body bool   // its head has come
	left int64  // bytes of its body that are to come
	part []byte // beginning of a head that came in pieces
}

// ask sends the request.
func (x *exchange) ask() error {
	n, e := sys.Send(x.fd, x.req, false)
	switch {
	case e != 0:
		return fmt.Errorf("send: %w", e)
	case n != len(x.req):
		return fmt.Errorf("send: %d of %d bytes", n, len(x.req))
	}
	x.busy, x.body = true, false
	return nil
}

// take takes what has arrived, at most so many bytes of a body. done says that the
// response is complete.
func (x *exchange) take(most int64, buf []byte) (n int64, done bool, err error) {
	if !x.body {
		return x.takeHead(buf)
	}
	n, e := sock.Discard(x.fd, min(x.left, most))
	if err := ended(n, e); err != nil || n == 0 {
		return 0, false, err
	}
	x.left -= n
	return n, x.finish(), nil
}

// takeHead takes the first bytes of a response. Those of the body that come with
// them count too.
func (x *exchange) takeHead(buf []byte) (n int64, done bool, err error) {
	got, e := sys.Recv(x.fd, buf[:maxHead])
	if err := ended(int64(got), e); err != nil || got == 0 {
		return 0, false, err
	}
	x.part = append(x.part, buf[:got]...)
	end := bytes.Index(x.part, []byte("\r\n\r\n"))
	if end < 0 {
		if len(x.part) > maxHead {
			return 0, false, errHead
		}
		return int64(got), false, nil
	}
	length, err := bodyLength(x.part[:end+4])
	if err != nil {
		return 0, false, err
	}
	x.body, x.left = true, length-int64(len(x.part)-end-4)
	x.part = x.part[:0]
	if x.left < 0 {
		return 0, false, errors.New("more bytes than the Content-Length")
	}
	return int64(got), x.finish(), nil
}

func (x *exchange) finish() bool {
	if x.left == 0 {
		x.busy = false
	}
	return !x.busy
}

// unasked handles an event of a connection that expects no response: its end, or bytes of
// a server that sends too much.
func (x *exchange) unasked(buf []byte) error {
	n, e := sys.Recv(x.fd, buf[:1])
	if err := ended(int64(n), e); err != nil || n == 0 {
		return err
	}
	return errExcess
}

// bodyLength reads a response's head.
func bodyLength(head []byte) (int64, error) {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), nil)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength < 0 {
		return 0, fmt.Errorf("status %s, Content-Length %q", resp.Status, resp.Header.Get("Content-Length"))
	}
	return resp.ContentLength, nil
}

// ended is the error behind a receive; nil if there was nothing yet.
func ended(n int64, e syscall.Errno) error {
	switch {
	case e == syscall.EAGAIN:
		return nil
	case e != 0:
		return fmt.Errorf("receive: %w", e)
	case n == 0:
		return errClosed
	}
	return nil
}

// request returns a request with the fields that a plain download client sends.
func request(addr, path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + addr + "\r\nUser-Agent: fserve-bench\r\nAccept: */*\r\n\r\n")
}

// String names a connection in errors.
func (c *conn) String() string { return "connection " + strconv.Itoa(c.index) }
