package server_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// client is one connection to the server, in the hands of one goroutine. It
// sends bytes as they are and reads responses strictly.
type client struct {
	t    testing.TB
	conn *net.TCPConn
	r    *bufio.Reader
}

func (g *rig) dial() *client {
	g.t.Helper()
	return g.dialWith(0)
}

// dialWith is dial with a receive buffer of so many bytes (0: the kernel's
// choice). With a small one the server cannot send far ahead of the reader.
func (g *rig) dialWith(buffer int) *client {
	g.t.Helper()
	conn, err := dialer(buffer).Dial("tcp", g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	c := &client{t: g.t, conn: conn.(*net.TCPConn), r: bufio.NewReaderSize(conn, 32<<10)}
	g.t.Cleanup(func() { conn.Close() })
	c.patient()
	return c
}

// patient bounds what the connection waits for from now on: each exchange has its own
// time, for on a busy machine many of them may take long together.
func (c *client) patient() {
	c.t.Helper()
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		c.t.Errorf("deadline: %v", err)
	}
}

// dialer makes connections with a receive buffer of so many bytes (0: the kernel's
// choice, which grows as the reader reads: to 32 MiB since Linux 6.16).
func dialer(buffer int) *net.Dialer {
	d := &net.Dialer{Timeout: patience}
	if buffer > 0 {
		d.Control = func(_, _ string, c syscall.RawConn) error {
			var opt error
			err := c.Control(func(fd uintptr) {
				opt = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, buffer)
			})
			return errors.Join(err, opt)
		}
	}
	return d
}

// send sends bytes as they are.
func (c *client) send(raw string) {
	c.t.Helper()
	c.patient()
	if _, err := c.conn.Write([]byte(raw)); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// request renders a request; fields are complete lines without their ends.
func request(method, target string, fields ...string) string {
	lines := append([]string{method + " " + target + " HTTP/1.1", "Host: files.example"}, fields...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// do sends a request and reads the response to it.
func (c *client) do(method, target string, fields ...string) *response {
	c.t.Helper()
	c.send(request(method, target, fields...))
	return c.read(method)
}

func (c *client) get(target string, fields ...string) *response {
	c.t.Helper()
	return c.do(http.MethodGet, target, fields...)
}

// read reads one response; method is that of the request.
func (c *client) read(method string) *response {
	c.t.Helper()
	c.patient()
	r, err := readResponse(c.r, method)
	if err != nil {
		c.t.Fatalf("response to %s: %v", method, err)
	}
	return r
}

// wantEnd fails the test unless the server ends the connection in order and
// has sent nothing more.
func (c *client) wantEnd() {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	if err != nil || len(rest) > 0 {
		c.t.Errorf("after the last response: %d bytes %.200q, %v; want the end of the connection", len(rest), rest, err)
	}
}

// wantReset fails the test unless the connection breaks; it returns how many
// bytes came before that.
func (c *client) wantReset() int64 {
	c.t.Helper()
	n, err := io.Copy(io.Discard, c.r)
	if !errors.Is(err, syscall.ECONNRESET) {
		c.t.Errorf("connection ended with %v after %d bytes, want a reset", err, n)
	}
	return n
}

// once makes a connection for one request.
func (g *rig) once(method, target string, fields ...string) *response {
	g.t.Helper()
	c := g.dial()
	defer c.conn.Close()
	return c.do(method, target, fields...)
}

// response is a response as it was on the wire.
type response struct {
	status int
	fields textproto.MIMEHeader
	length int64 // Content-Length, -1: none
	body   []byte
}

func (r *response) get(field string) string { return r.fields.Get(field) }

// closes reports whether the response says that the connection ends.
func (r *response) closes() bool { return r.get("Connection") == "close" }

var (
	statusLine = regexp.MustCompile(`^HTTP/1\.1 ([1-5][0-9][0-9]) [ -~]+$`)
	fieldLine  = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([^\x00-\x08\x0a-\x1f\x7f]*)$")
)

// readResponse reads one response, to a request with this method, and refuses
// what fserve must never send. io.EOF means that there was none. A response
// whose content is cut off is returned together with the error.
func readResponse(r *bufio.Reader, method string) (*response, error) {
	a, err := readHead(r)
	if err != nil {
		return nil, err
	}
	if err := a.check(method); err != nil {
		return nil, fmt.Errorf("%w in %d %v", err, a.status, a.fields)
	}
	if method == http.MethodHead || a.length <= 0 {
		return a, nil
	}
	var body bytes.Buffer
	_, err = io.CopyN(&body, r, a.length)
	a.body = body.Bytes()
	if err != nil {
		return a, fmt.Errorf("%d of %d bytes of content: %w", len(a.body), a.length, noEOF(err))
	}
	return a, nil
}

func readHead(r *bufio.Reader) (*response, error) {
	if _, err := r.Peek(1); err != nil {
		return nil, err
	}
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	m := statusLine.FindStringSubmatch(line)
	if m == nil {
		return nil, fmt.Errorf("bad status line %q", line)
	}
	a := &response{fields: make(textproto.MIMEHeader), length: -1}
	a.status, _ = strconv.Atoi(m[1]) // three digits
	for {
		line, err := readLine(r)
		if err != nil {
			return nil, err
		}
		if line == "" {
			return a, nil
		}
		m := fieldLine.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("bad field line %q", line)
		}
		a.fields.Add(m[1], m[2])
	}
}

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("line %q cut off: %w", line, noEOF(err))
	}
	if !strings.HasSuffix(line, "\r\n") {
		return "", fmt.Errorf("line %q does not end in CRLF", line)
	}
	return line[:len(line)-2], nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// check holds a head against what every response of fserve promises.
func (r *response) check(method string) error {
	for name, values := range r.fields {
		if len(values) > 1 && name != "Set-Cookie" && name != "Vary" {
			return fmt.Errorf("repeated %s", name)
		}
	}
	if r.get("Transfer-Encoding") != "" {
		return errors.New("a Transfer-Encoding")
	}
	if r.status < 200 {
		if len(r.fields) > 0 {
			return errors.New("fields")
		}
		return nil
	}
	if _, err := time.Parse(http.TimeFormat, r.get("Date")); err != nil {
		return fmt.Errorf("bad Date (%w)", err)
	}
	length := r.get("Content-Length")
	if r.status == http.StatusNoContent || r.status == http.StatusNotModified {
		if length != "" {
			return errors.New("a Content-Length")
		}
		return nil
	}
	n, err := strconv.ParseInt(length, 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("bad Content-Length to %s", method)
	}
	r.length = n
	return nil
}

// want fails the test unless the response has a status and, if given, a body.
func (r *response) want(t testing.TB, status int, body ...string) {
	t.Helper()
	if r.status != status {
		t.Errorf("status %d, want %d (fields %v, body %.200q)", r.status, status, r.fields, r.body)
	}
	if len(body) > 0 && string(r.body) != body[0] {
		t.Errorf("body %.200q, want %.200q", r.body, body[0])
	}
}

// wantField fails the test unless the response has a field with a value; the
// value "" means that it must not be there.
func (r *response) wantField(t testing.TB, field, value string) {
	t.Helper()
	if got := r.get(field); got != value {
		t.Errorf("%s: %q, want %q", field, got, value)
	}
}
