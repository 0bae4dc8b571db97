package http2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strconv"
	"sync"
)

// relayed is a request and its response.
type relayed struct {
	relayConn *relayConn
	w         http.ResponseWriter
	r         *http.Request
	whole     bool // it was answered, and the answer was passed on to its end
	keeper
}

// copyBuffer is how much of a body is passed on at once, in bytes: with the head of its frame one
// record of TLS.
const copyBuffer = 16<<10 - 9

var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// serve answers the request. Unless the whole answer was sent it panics with
// http.ErrAbortHandler, which resets the relayed and leaves the others alone.
func (s *relayed) serve() {
	head, ok := appendHead(nil, s.r)
	if !ok {
		s.refuse(http.StatusBadRequest)
		return
	}
	p, resp, err := s.ask(head) //nolint:bodyclose // the pair is what is closed
	switch {
	case s.r.Context().Err() != nil:
		panic(http.ErrAbortHandler)
	case err != nil:
		s.refuse(http.StatusServiceUnavailable)
		return
	}
	ok = s.answer(p, resp)
	switch {
	case !p.release() || !ok:
		p.close()
		panic(http.ErrAbortHandler)
	case resp.Close || s.hasBody():
		p.close()
	default:
		s.relayConn.put(p)
	}
}

// refuse answers what no loop gets.
func (s *relayed) refuse(status int) {
	if status == http.StatusServiceUnavailable {
		s.w.Header().Set("Retry-After", "1")
	}
	http.Error(s.w, fmt.Sprint(status, " ", http.StatusText(status)), status)
}

// hasBody reports whether the request has a body.
func (s *relayed) hasBody() bool { return s.r.ContentLength != 0 }

// ask sends the request to a loop and returns its answer. A pair that was used before may end
// just then, in order and without an answer: then another one is asked. If it was cut the request may
// have had an effect.
func (s *relayed) ask(head []byte) (*pair, *http.Response, error) {
	for used := !s.hasBody(); ; used = false {
		p, err := s.relayConn.take(used)
		if err != nil {
			return nil, nil, err
		}
		resp, err := s.askBy(p, head)
		if err == nil {
			return p, resp, nil
		}
		p.release()
		p.close()
		if !used || p.cut.Load() || s.r.Context().Err() != nil {
			return nil, nil, err
		}
	}
}

func (s *relayed) askBy(p *pair, head []byte) (*http.Response, error) {
	p.serves.Store(s)
	p.release = context.AfterFunc(s.r.Context(), p.close)
	if _, err := p.local.Write(head); err != nil {
		return nil, err
	}
	if s.hasBody() {
		s.relayConn.running.Go(func() { s.sendBody(p) })
	}
	return http.ReadResponse(p.r, s.r)
}

// sendBody passes the body of the request on. The relayed ends it.
func (s *relayed) sendBody(p *pair) {
	if s.r.ContentLength > 0 {
		_, _ = io.Copy(p.local, s.r.Body) // the answer says what is wrong
		return
	}
	w := httputil.NewChunkedWriter(p.local)
	if _, err := io.Copy(w, s.r.Body); err == nil && w.Close() == nil {
		_, _ = io.WriteString(p.local, "\r\n")
	}
}

// answer passes the response on, and reports whether it was the whole.
func (s *relayed) answer(p *pair, resp *http.Response) bool {
	h := s.w.Header()
	h["Content-Type"] = nil // it is not guessed
	for name, values := range resp.Header {
		if name != "Connection" && name != "Keep-Alive" {
			h[name] = values
		}
	}
	s.w.WriteHeader(resp.StatusCode)
	if resp.Body == http.NoBody {
		return true
	}
	buf := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := resp.Body.Read(buf[:])
		if n > 0 {
			if s.write(s.w, buf[:n]) != nil {
				return false
			}
		}
		if err != nil {
			return errors.Is(err, io.EOF) && !p.cut.Load()
		}
	}
}

// appendHead appends the head of a request as HTTP/1.1 has it; false: there is none.
func appendHead(p []byte, r *http.Request) ([]byte, bool) {
	if r.Method == "" || !isWord(r.Method) || !isWord(r.RequestURI) || !isWord(r.Host) {
		return nil, false
	}
	p = append(append(append(append(p, r.Method...), ' '), r.RequestURI...), " HTTP/1.1\r\nHost: "...)
	p = append(append(p, r.Host...), "\r\n"...)
	for name, values := range r.Header {
		switch name {
		case "Host", "Te", "Content-Length":
			continue
		}
		for _, v := range values {
			p = append(append(append(append(p, name...), ": "...), v...), "\r\n"...)
		}
	}
	switch {
	case r.ContentLength > 0:
		p = append(strconv.AppendInt(append(p, "Content-Length: "...), r.ContentLength, 10), "\r\n"...)
	case r.ContentLength < 0:
		p = append(p, "Transfer-Encoding: chunked\r\n"...)
	}
	return append(p, "\r\n"...), true
}
