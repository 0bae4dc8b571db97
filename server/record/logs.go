package record

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Target says where an access log goes, and how its lines look.
type Target struct {
	// File is the path of a file, Stdout, or SyslogPrefix with its parameters.
	File   string
	Format LogFormat
	// Template is in place of Format, if it is not empty.
	Template string
	Escape   Escape // of Template
}

// Stdout is the Target.File of standard output.
const Stdout = "-"

// Logs are the access logs of a server: each file is opened once, whoever asks for it, and one
// goroutine writes them all. Its methods are safe for concurrent use.
type Logs struct {
	mu   sync.Mutex
	logs []*AccessLog
	gone uint64 // lines that logs had lost that are closed

	full chan struct{} // a block is to be written
	stop chan struct{}
	done chan struct{}
}

// NewLogs returns Logs. Close ends them.
func NewLogs() *Logs {
	s := &Logs{full: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go s.run()
	return s
}

// Check returns why a log cannot be opened, as far as the target tells by itself.
func (t *Target) Check() error {
	if t.Template != "" {
		if _, err := ParseTemplate(t.Template, t.Escape); err != nil {
			return fmt.Errorf("format: %w", err)
		}
	}
	if rest, ok := strings.CutPrefix(t.File, SyslogPrefix); ok {
		_, err := parseSyslog(rest)
		return err
	}
	return nil
}

// Open returns the log of a target, which it opens if it is not yet. A log of the same file with
// another format may still be open: lines of responses under way go there (see Keep).
func (s *Logs) Open(t Target) (*AccessLog, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.logs {
		if a.target == t {
			a.unused = false
			return a, nil
		}
	}
	a := &AccessLog{target: t, format: t.Format, of: s, block: placeBlock}
	if len(s.logs) == 0 {
		a.block = blockBytes
	}
	if t.Template != "" {
		var err error
		if a.template, err = ParseTemplate(t.Template, t.Escape); err != nil {
			return nil, fmt.Errorf("access log: format: %w", err)
		}
	}
	if err := a.open(); err != nil {
		return nil, err
	}
	s.logs = append(s.logs, a)
	return a, nil
}

// Keep tells which logs are in use from now on. The others are closed by the next Reopen:
// until then responses may end whose lines belong to them.
func (s *Logs) Keep(used map[*AccessLog]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.logs {
		a.unused = !used[a]
	}
}

// Reopen opens all files anew, after they were moved away. Every line goes to the old file or
// to the new one. A log whose file cannot be opened goes on with the old one. Sockets of
// syslog are made anew, too.
func (s *Logs) Reopen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	kept := s.logs[:0]
	for _, a := range s.logs {
		if a.unused {
			a.write(true)
			errs = append(errs, a.close())
			s.gone += a.dropped.Load()
			continue
		}
		kept = append(kept, a)
		errs = append(errs, a.reopen())
	}
	clear(s.logs[len(kept):])
	s.logs = kept
	return errors.Join(errs...)
}

// Dropped returns how many lines were lost because they could not be written.
func (s *Logs) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.gone
	for _, a := range s.logs {
		n += a.dropped.Load()
	}
	return n
}

// Close writes what is left and closes the logs. It returns the first error of writing
// of each. The server must have ended.
func (s *Logs) Close() error {
	close(s.stop)
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, a := range s.logs {
		errs = append(errs, a.close())
		s.gone += a.dropped.Load()
	}
	s.logs = nil
	return errors.Join(errs...)
}

func (s *Logs) run() {
	defer close(s.done)
	t := time.NewTicker(flushEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.flush(true)
		case <-s.full:
			s.flush(false)
		case <-s.stop:
			s.flush(true)
			return
		}
	}
}

// flush writes what is there; all: see buffer.pending.
func (s *Logs) flush(all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.logs {
		a.write(all)
	}
}

// wake has full blocks written.
func (s *Logs) wake() {
	select {
	case s.full <- struct{}{}:
	default: // it will be
	}
}
