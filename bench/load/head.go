package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// maxHead bounds a response's head, in bytes.
const maxHead = 8 << 10

var (
	errHeadTooLong = fmt.Errorf("response head over %d bytes", maxHead)
	errNoLength    = errors.New("response without Content-Length")
	errChunked     = errors.New("response with Transfer-Encoding")
)

// head is what the generator wants to know of a response's head.
type head struct {
	status int
	length int64 // Content-Length
	size   int   // bytes of the head, the empty line included
}

// parseHead parses the head at the start of b. ok is false while its end has
// not arrived.
func parseHead(b []byte) (h head, ok bool, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) >= maxHead {
			return h, false, errHeadTooLong
		}
		return h, false, nil
	}
	h.size = end + 4
	lines := bytes.Split(b[:end], []byte("\r\n"))
	if h.status, err = parseStatus(lines[0]); err != nil {
		return h, false, err
	}
	h.length, err = contentLength(lines[1:])
	return h, err == nil, err
}

// parseStatus returns the status code of "HTTP/1.1 200 OK".
func parseStatus(line []byte) (int, error) {
	rest, ok := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	if !ok || len(rest) < 3 || len(rest) > 3 && rest[3] != ' ' {
		return 0, fmt.Errorf("status line %q", line)
	}
	code, err := strconv.Atoi(string(rest[:3]))
	if err != nil {
		return 0, fmt.Errorf("status line %q", line)
	}
	return code, nil
}

// contentLength finds the one Content-Length among header lines.
func contentLength(lines [][]byte) (int64, error) {
	length := int64(-1)
	for _, line := range lines {
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return 0, fmt.Errorf("header line %q", line)
		}
		switch {
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			return 0, errChunked
		case bytes.EqualFold(name, []byte("Content-Length")):
			n, err := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
			if err != nil || n < 0 || length >= 0 {
				return 0, fmt.Errorf("header line %q", line)
			}
			length = n
		}
	}
	if length < 0 {
		return 0, errNoLength
	}
	return length, nil
}
