package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// flushEvery is how often what the loops have added is written, if it does not fill
// a block before.
const flushEvery = 100 * time.Millisecond

// writePatience is how long whoever reads a FIFO may take nothing before lines are dropped;
// stuckPatience, when that has happened before.
const (
	writePatience = 500 * time.Millisecond
	stuckPatience = 10 * time.Millisecond
)

// AccessLog writes a line for each response. Loops add lines to buffers of their
// own; the goroutine of its Logs writes them out.
type AccessLog struct {
	of       *Logs
	alone    bool // Close ends of, too
	target   Target
	format   LogFormat
	template *Template // nil: format
	block    int       // bytes of a block of lines

	buffersMu sync.Mutex // held for moments only
	buffers   []*buffer

	unused bool // since the last Logs.Keep; guarded by Logs.mu

	// These are guarded by Logs.writing.
	w     io.Writer
	file  io.Closer // nil: w is not ours to close
	err   error
	torn  bool // the last line that was written is not whole
	stuck bool // the last write has run out of patience

	gone    atomic.Bool // it is closed
	dropped atomic.Uint64
}

// NewAccessLog starts a log in combined format that writes to w. Close ends it.
func NewAccessLog(w io.Writer) *AccessLog { return NewAccessLogIn(LogCombined, w) }

// NewAccessLogIn is NewAccessLog for any format.
func NewAccessLogIn(f LogFormat, w io.Writer) *AccessLog {
	s := NewLogs()
	a := &AccessLog{of: s, alone: true, format: f, w: w, block: blockBytes}
	s.mu.Lock() // its goroutine runs already
	defer s.mu.Unlock()
	s.logs = []*AccessLog{a}
	return a
}

// OpenAccessLog starts a log by itself. Close ends it.
func OpenAccessLog(t Target) (*AccessLog, error) {
	s := NewLogs()
	a, err := s.Open(t)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	a.alone = true
	return a, nil
}

// open opens what the target names.
func (a *AccessLog) open() error {
	if a.target.File == Stdout {
		a.w = os.Stdout
		return nil
	}
	if rest, ok := strings.CutPrefix(a.target.File, SyslogPrefix); ok {
		s, err := openSyslog(rest, &a.dropped)
		if err != nil {
			return fmt.Errorf("access log: %w", err)
		}
		a.w, a.file = s, s
		return nil
	}
	file, err := openLogFile(a.target.File)
	if err != nil {
		return fmt.Errorf("access log: %w", err)
	}
	a.w, a.file = file, file
	return nil
}

// openLogFile opens a file, or a FIFO that somebody reads: without O_NONBLOCK it would wait for
// a reader.
func openLogFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NONBLOCK, 0o640)
}

// Reopen opens the file of the log, and of the Logs that it is one of, anew; see Logs.Reopen.
func (a *AccessLog) Reopen() error { return a.of.Reopen() }

// reopen opens the target anew, under Logs.writing.
func (a *AccessLog) reopen() error {
	if a.file == nil {
		return nil
	}
	a.write(true) // what has ended before is in the old one
	w, old := a.w, a.file
	if err := a.open(); err != nil {
		a.w, a.file = w, old
		return err
	}
	a.torn = false
	if err := old.Close(); err != nil {
		return fmt.Errorf("access log: %w", err)
	}
	return nil
}

// Dropped returns how many lines were lost because w was too slow or failed.
func (a *AccessLog) Dropped() uint64 { return a.dropped.Load() }

// Close ends a log that was started by itself. It returns the first error of writing. The
// server must have ended.
func (a *AccessLog) Close() error {
	if !a.alone {
		return nil
	}
	return a.of.Close()
}

// close closes the log, under Logs.writing. What is added later is lost.
func (a *AccessLog) close() error {
	a.gone.Store(true)
	if a.file != nil {
		a.err = errors.Join(a.err, a.file.Close())
		a.file = nil
	}
	return a.err
}

func (a *AccessLog) newBuffer() *buffer {
	b := &buffer{log: a, time: newLineTime(a.format), local: lineTime{format: localTime}, iso: lineTime{format: isoTime}}
	a.buffersMu.Lock()
	defer a.buffersMu.Unlock()
	a.buffers = append(a.buffers, b)
	return b
}

// write writes what the loops have added, under Logs.writing; all: see buffer.pending.
func (a *AccessLog) write(all bool) {
	a.buffersMu.Lock()
	buffers := a.buffers // only ever appended to
	a.buffersMu.Unlock()
	for _, b := range buffers {
		for range maxPieces {
			p := b.pending(all)
			if len(p) == 0 {
				break
			}
			a.writeLines(p)
		}
	}
}

// writeLines writes whole lines, and counts those that could not be written. A
// full disk may take a part of one: that is ended before the next.
func (a *AccessLog) writeLines(p []byte) {
	n, err := 0, error(nil)
	if f, ok := a.file.(*os.File); ok {
		patience := writePatience
		if a.stuck {
			patience = stuckPatience
		}
		_ = f.SetWriteDeadline(time.Now().Add(patience)) // only FIFOs know deadlines
	}
	if a.torn {
		_, err = a.w.Write([]byte{'\n'})
		a.torn = err != nil
	}
	if err == nil {
		n, err = a.w.Write(p)
		a.torn = err != nil && n > 0 && p[n-1] != '\n'
	}
	a.stuck = errors.Is(err, os.ErrDeadlineExceeded)
	if err == nil {
		return
	}
	a.dropped.Add(uint64(bytes.Count(p[n:], []byte{'\n'})))
	if a.err == nil {
		a.err = fmt.Errorf("access log: %w", err)
	}
}

// maxPieces bounds what is written for one loop before it is the next one's turn.
const maxPieces = 2 * maxBlocks
