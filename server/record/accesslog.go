package record

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
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
// own; one goroutine writes them out.
type AccessLog struct {
	format  LogFormat
	path    string // of file
	mu      sync.Mutex
	w       io.Writer
	file    *os.File // nil: w is not ours to close
	buffers []*buffer
	err     error
	torn    bool // the last line that was written is not whole
	stuck   bool // the last write has run out of patience

	dropped atomic.Uint64
	full    chan struct{} // a block is to be written
	stop    chan struct{}
	done    chan struct{}
}

// NewAccessLog starts a log in combined format that writes to w. Close ends it.
func NewAccessLog(w io.Writer) *AccessLog { return NewAccessLogIn(LogCombined, w) }

// NewAccessLogIn is NewAccessLog for any format.
func NewAccessLogIn(f LogFormat, w io.Writer) *AccessLog {
	return (&AccessLog{format: f, w: w}).start()
}

func (a *AccessLog) start() *AccessLog {
	a.full, a.stop, a.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
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
	return (&AccessLog{format: f, path: path, file: file, w: file}).start(), nil
}

// openLogFile opens a file, or a FIFO that somebody reads: without O_NONBLOCK it would wait for
// a reader.
func openLogFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NONBLOCK, 0o640)
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
	path = cmp.Or(path, a.path)
	file, err := openLogFile(path)
	if err != nil {
		return err
	}
	a.write(true) // what has ended before is in the old one
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

func (a *AccessLog) newBuffer() *buffer {
	b := &buffer{log: a, time: newLineTime(a.format)}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.buffers = append(a.buffers, b)
	return b
}

func (a *AccessLog) run() {
	defer close(a.done)
	t := time.NewTicker(flushEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			a.flush(true)
		case <-a.full:
			a.flush(false)
		case <-a.stop:
			a.flush(true)
			return
		}
	}
}

// flush writes what is there; all: see buffer.pending.
func (a *AccessLog) flush(all bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.write(all)
}

// write writes what the loops have added, under mu; all: see pending.
func (a *AccessLog) write(all bool) {
	for _, b := range a.buffers {
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
	if a.file != nil {
		patience := writePatience
		if a.stuck {
			patience = stuckPatience
		}
		_ = a.file.SetWriteDeadline(time.Now().Add(patience)) // only FIFOs know deadlines
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

// wake has full blocks written.
func (a *AccessLog) wake() {
	select {
	case a.full <- struct{}{}:
	default: // it will be
	}
}

// maxPieces bounds what is written for one loop before it is the next one's turn.
const maxPieces = 2 * bufferBytes / blockBytes
