package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/wire"
)

const (
	// logFlush is how often lines are written.
	logFlush = 100 * time.Millisecond
	// logBytes bounds the lines of one loop that wait to be written; beyond it
	// lines are dropped and counted, since the loop must not wait for a disk.
	logBytes = 4 << 20
)

// AccessLog writes a line for each response. Loops add lines to buffers of their
// own; one goroutine writes them out.
type AccessLog struct {
	format  LogFormat
	path    string // of file
	mu      sync.Mutex
	w       io.Writer
	file    *os.File // nil: w is not ours to close
	buffers []*logBuffer
	err     error
	torn    bool // the last line that was written is not whole

	dropped atomic.Uint64
	stop    chan struct{}
	done    chan struct{}
}

// logBuffer is one loop's part of an AccessLog.
type logBuffer struct {
	log  *AccessLog
	mu   sync.Mutex // taken by the loop, and by the writer ten times a second
	buf  []byte
	back []byte // the writer's
}

// NewAccessLog starts a log in combined format that writes to w. Close ends it.
func NewAccessLog(w io.Writer) *AccessLog { return NewAccessLogIn(LogCombined, w) }

// NewAccessLogIn is NewAccessLog for any format.
func NewAccessLogIn(f LogFormat, w io.Writer) *AccessLog {
	a := &AccessLog{format: f, w: w, stop: make(chan struct{}), done: make(chan struct{})}
	go a.run()
	return a
}

// OpenAccessLog starts a log that appends to a file, which it makes if it is not
// there. Close ends it.
func OpenAccessLog(f LogFormat, path string) (*AccessLog, error) {
	file, err := openLogFile(path)
	if err != nil {
		return nil, err
	}
	a := &AccessLog{format: f, path: path, file: file, w: file, stop: make(chan struct{}), done: make(chan struct{})}
	go a.run()
	return a, nil
}

func openLogFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, fmt.Errorf("access log: %w", err)
	}
	return f, nil
}

// Reopen opens the file of OpenAccessLog anew, after it was moved away. Every
// line goes to the old one or the new one. If the new one cannot be opened the
// log goes on with the old one. For a log without a file it does nothing.
func (a *AccessLog) Reopen() error { return a.reopen("") }

// Move is Reopen with another path, which is also that of later calls of Reopen.
func (a *AccessLog) Move(path string) error { return a.reopen(path) }

// reopen opens path, or if it is empty the one of before.
func (a *AccessLog) reopen(path string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return nil
	}
	if path == "" {
		path = a.path
	}
	file, err := openLogFile(path)
	if err != nil {
		return err
	}
	a.write() // what has ended before is in the old one
	old := a.file
	a.file, a.w, a.path, a.torn = file, file, path, false
	if err := old.Close(); err != nil {
		return fmt.Errorf("access log: %w", err)
	}
	return nil
}

// Dropped returns how many lines were lost because w was too slow or failed.
func (a *AccessLog) Dropped() uint64 { return a.dropped.Load() }

// Close writes what is left and ends the log. It returns the first error of
// writing. The server must have ended.
func (a *AccessLog) Close() error {
	close(a.stop)
	<-a.done
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file != nil {
		a.err = errors.Join(a.err, a.file.Close())
		a.file = nil
	}
	return a.err
}

func (a *AccessLog) newBuffer() *logBuffer {
	b := &logBuffer{log: a}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.buffers = append(a.buffers, b)
	return b
}

func (a *AccessLog) run() {
	defer close(a.done)
	t := time.NewTicker(logFlush)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			a.flush()
		case <-a.stop:
			a.flush()
			return
		}
	}
}

func (a *AccessLog) flush() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.write()
}

// write writes what the loops have added, under mu.
func (a *AccessLog) write() {
	for _, b := range a.buffers {
		b.mu.Lock()
		b.buf, b.back = b.back[:0], b.buf
		b.mu.Unlock()
		if len(b.back) == 0 {
			continue
		}
		if err := a.writeLines(b.back); err != nil && a.err == nil {
			a.err = fmt.Errorf("access log: %w", err)
		}
	}
}

// writeLines writes whole lines, and counts those that could not be written. A
// full disk may take a part of one: that is ended before the next.
func (a *AccessLog) writeLines(p []byte) error {
	if a.torn {
		if _, err := a.w.Write([]byte{'\n'}); err != nil {
			a.dropped.Add(uint64(bytes.Count(p, []byte{'\n'})))
			return err
		}
		a.torn = false
	}
	n, err := a.w.Write(p)
	if err != nil {
		a.dropped.Add(uint64(bytes.Count(p[n:], []byte{'\n'})))
		a.torn = n > 0 && p[n-1] != '\n'
	}
	return err
}

// startLog keeps what the line needs of the request, whose bytes go away.
func (s *session) startLog(c *engine.Conn, status, headLen int) {
	x := s.take(c)
	h := &s.head
	x.logged, x.headLen = true, headLen
	x.client = s.client(c)
	if s.log.log.format == LogJSON {
		x.startJSON(h, status)
		return
	}
	x.request = append(x.request[:0], '"')
	x.request = appendEscaped(x.request, requestLine(h.Raw()))
	x.request = append(x.request, '"', ' ')
	x.request = strconv.AppendInt(x.request, int64(status), 10)
	x.suffix = append(x.suffix[:0], ' ')
	x.suffix = appendQuoted(x.suffix, h.Get(wire.Referer))
	x.suffix = append(x.suffix, ' ')
	x.suffix = appendQuoted(x.suffix, h.Get(wire.UserAgent))
	x.suffix = append(x.suffix, '\n')
}

// maxRequestLine bounds the part of a request that is logged, in bytes; what was
// refused may have no end of line.
const maxRequestLine = 9 << 10

// requestLine returns the first line of a request, or of what came in its place.
func requestLine(raw []byte) []byte {
	raw = bytes.TrimPrefix(raw, []byte("\r\n")) // RFC 9112 section 2.2
	if i := bytes.IndexAny(raw, "\r\n"); i >= 0 {
		raw = raw[:i]
	}
	return raw[:min(len(raw), maxRequestLine)]
}

// finish writes the line of a response that has ended.
func (b *logBuffer) finish(x *exchange, o *engine.Outcome, now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.buf) > logBytes {
		b.log.dropped.Add(1)
		return
	}
	if b.log.format == LogJSON {
		b.buf = x.appendJSON(b.buf, o, now)
		return
	}
	p := appendAddr(b.buf, x.client, x.s.onUnix(x.conn))
	p = append(p, " - - ["...)
	p = time.Unix(0, now).AppendFormat(p, "02/Jan/2006:15:04:05 -0700")
	p = append(p, "] "...)
	p = append(p, x.request...)
	p = append(p, ' ')
	p = strconv.AppendInt(p, max(0, o.Total()-int64(x.headLen)), 10)
	b.buf = append(p, x.suffix...)
}

func appendQuoted(dst, v []byte) []byte {
	if len(v) == 0 {
		return append(dst, `"-"`...)
	}
	return append(appendEscaped(append(dst, '"'), v), '"')
}

// appendEscaped writes what could break a line or its quotes as \xHH, as nginx does.
func appendEscaped(dst, v []byte) []byte {
	if bytes.IndexFunc(v, mustEscape) < 0 {
		return append(dst, v...)
	}
	const hex = "0123456789ABCDEF"
	for _, b := range v {
		if mustEscape(rune(b)) {
			dst = append(dst, '\\', 'x', hex[b>>4], hex[b&15])
		} else {
			dst = append(dst, b)
		}
	}
	return dst
}

func mustEscape(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r >= 0x7f }
