package difftest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// request is what is written to a fresh connection.
type request struct {
	name    string
	raw     string
	methods []string // of the requests in raw, in order; GET if there are more responses
	// ends: the client closes its side after raw. Else it asks for keptPath,
	// to learn whether the connection goes on.
	ends bool
	tls  string // the name that the handshake is for; empty: there is none
}

func (q *request) method(i int) string {
	if i < len(q.methods) {
		return q.methods[i]
	}
	return http.MethodGet
}

// answer is what came back.
type answer struct {
	responses []*response
	kept      bool
	fault     string // what cannot be read as HTTP/1.1, or is cut off
}

// response is a response as it was on the wire.
type response struct {
	proto   string // HTTP/1.1; HTTP/0.9 has a body and nothing else
	status  int
	fields  textproto.MIMEHeader
	framing string // "length", "chunked", "close", "none"
	length  int64  // Content-Length, -1: none
	body    []byte
}

func (p *response) get(field string) string { return strings.Join(p.fields.Values(field), ", ") }

// certificate is the field in which exchange keeps the name that the server has shown.
const certificate = "Certificate"

const keptRequest = "GET " + keptPath + " HTTP/1.1\r\nHost: kept\r\nConnection: close\r\n\r\n"

// exchange writes a request and reads until the server closes the connection
// or has answered that it is still there.
func exchange(addr string, q *request) (*answer, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	served := ""
	if q.tls != "" {
		secure := tls.Client(conn, &tls.Config{ServerName: q.tls, InsecureSkipVerify: true})
		if err := secure.Handshake(); err != nil {
			return nil, err
		}
		conn, served = secure, secure.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	written := make(chan struct{})
	go func() { // the server need not read all of it before it answers
		defer close(written)
		if q.ends {
			io.WriteString(conn, q.raw)
			conn.(interface{ CloseWrite() error }).CloseWrite()
		} else {
			io.WriteString(conn, q.raw+keptRequest)
		}
	}()
	a, readErr := readAnswer(conn, q)
	conn.Close()
	<-written // how far it got is the server's choice: it may stop reading
	for _, p := range a.responses {
		if served != "" {
			p.fields.Set(certificate, served)
		}
	}
	return a, readErr
}

// readAnswer reads all responses. Only a server that does neither answer nor
// close is an error.
func readAnswer(conn net.Conn, q *request) (*answer, error) {
	a := &answer{}
	r := bufio.NewReader(conn)
	for final := 0; ; {
		p, err := readResponse(r, q.method(final))
		if p != nil && p.status == 200 && string(p.body) == keptContent {
			a.kept = true
			return a, nil
		}
		if p != nil {
			a.responses = append(a.responses, p)
		}
		var slow net.Error
		switch {
		case errors.As(err, &slow) && slow.Timeout():
			return a, fmt.Errorf("neither answered nor closed: %w", err)
		case p == nil || p.framing == "close":
			if err != nil && !ended(err) {
				a.fault = err.Error()
			}
			return a, nil
		case err != nil:
			a.fault = "cut off"
			return a, nil
		}
		if p.status >= 200 {
			final++
		}
	}
}

// ended reports whether err is the connection's end: in order, or by a reset,
// which is what closing gives while bytes of the client lie unread.
func ended(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.As(err, &op)
}

// readResponse reads one response. A response that is cut off is returned
// together with an error.
func readResponse(r *bufio.Reader, method string) (*response, error) {
	if _, err := r.Peek(1); err != nil {
		return nil, err
	}
	if start, _ := r.Peek(5); string(start) != "HTTP/" {
		body, err := io.ReadAll(r)
		return &response{proto: "HTTP/0.9", status: 200, length: -1, framing: "close", body: body}, err
	}
	text := textproto.NewReader(r)
	line, err := text.ReadLine()
	if err != nil {
		return nil, fmt.Errorf("status line: %w", err)
	}
	p := &response{length: -1}
	if n, err := fmt.Sscanf(line, "%s %d", &p.proto, &p.status); n != 2 || err != nil {
		return nil, fmt.Errorf("status line %q", line)
	}
	if p.fields, err = text.ReadMIMEHeader(); err != nil {
		return nil, fmt.Errorf("head of %d: %w", p.status, err)
	}
	return p, p.readBody(r, method)
}

// readBody frames the content by RFC 9112 section 6.3.
func (p *response) readBody(r *bufio.Reader, method string) (err error) {
	if v := p.get("Content-Length"); v != "" {
		if p.length, err = strconv.ParseInt(v, 10, 64); err != nil {
			return fmt.Errorf("length %q", v)
		}
	}
	switch {
	case method == http.MethodHead && p.length >= 0:
		p.framing = "length"
	case method == http.MethodHead || p.status < 200 || p.status == 204 || p.status == 304:
		p.framing = "none"
		if p.length >= 0 {
			p.framing = "length"
		}
	case p.get("Transfer-Encoding") != "":
		p.framing = "chunked"
		p.body, err = readChunked(r)
	case p.length >= 0:
		p.framing = "length"
		p.body = make([]byte, p.length)
		_, err = io.ReadFull(r, p.body)
	default:
		p.framing = "close"
		p.body, err = io.ReadAll(r)
	}
	return err
}

func readChunked(r *bufio.Reader) (body []byte, err error) {
	text := textproto.NewReader(r)
	for {
		line, err := text.ReadLine()
		if err != nil {
			return body, err
		}
		n, err := strconv.ParseInt(strings.TrimSpace(line), 16, 32)
		if err != nil {
			return body, err
		}
		chunk := make([]byte, n)
		if _, err := io.ReadFull(r, chunk); err != nil {
			return body, err
		}
		body = append(body, chunk...)
		if end, err := text.ReadLine(); err != nil || end != "" {
			return body, fmt.Errorf("chunk ends in %q, %w", end, err)
		}
		if n == 0 {
			return body, nil
		}
	}
}
