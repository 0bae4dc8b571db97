package server

import (
	"bytes"
	"fmt"
	"io"
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

// AccessLog writes a line in combined log format for each response. Loops add
// lines to buffers of their own; one goroutine writes them out.
type AccessLog struct {
	w       io.Writer
	mu      sync.Mutex
	buffers []*logBuffer
	err     error

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

// NewAccessLog starts a log that writes to w. Close ends it.
func NewAccessLog(w io.Writer) *AccessLog {
	a := &AccessLog{w: w, stop: make(chan struct{}), done: make(chan struct{})}
	go a.run()
	return a
}

// Dropped returns how many lines were dropped because w was too slow.
func (a *AccessLog) Dropped() uint64 { return a.dropped.Load() }

// Close writes what is left and ends the log. It returns the first error of
// writing. The server must have ended.
func (a *AccessLog) Close() error {
	close(a.stop)
	<-a.done
	a.mu.Lock()
	defer a.mu.Unlock()
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
	for _, b := range a.buffers {
		b.mu.Lock()
		b.buf, b.back = b.back[:0], b.buf
		b.mu.Unlock()
		if len(b.back) == 0 {
			continue
		}
		if _, err := a.w.Write(b.back); err != nil && a.err == nil {
			a.err = fmt.Errorf("access log: %w", err)
		}
	}
}

// startLog keeps what the line needs of the request, whose bytes go away.
func (s *session) startLog(c *engine.Conn, status, headLen int) {
	x := s.take(c)
	h := &s.head
	x.logged, x.headLen = true, headLen
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
	p := b.buf
	if peer := x.conn.RemoteAddr(); peer.IsValid() {
		p = peer.Addr().AppendTo(p)
	} else {
		p = append(p, '-')
	}
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
