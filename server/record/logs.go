package record

import (
	"errors"
	"fmt"
	"slices"
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
	// writing is held while a log is written or its file changes, which may wait for whoever reads it, and
	// mu for moments, within it.
	writing sync.Mutex
	mu      sync.Mutex
	logs    []*AccessLog // replaced, and not changed
	ending  []*AccessLog // taken away, and being closed
	gone    uint64       // lines that logs had lost that are closed

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
	s.logs = append(slices.Clip(s.logs), a) // whoever has the list keeps it as it is
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
	s.writing.Lock()
	defer s.writing.Unlock()
	errs := []error{s.end(unused, true)}
	for _, a := range s.list() {
		errs = append(errs, a.reopen())
	}
	return errors.Join(errs...)
}

// list returns the logs as they are now, which is not changed.
func (s *Logs) list() []*AccessLog {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logs
}

func unused(a *AccessLog) bool { return a.unused }

// end takes logs away, so that nobody finds them any more, and closes them. writes: their last lines are
// written first.
func (s *Logs) end(which func(*AccessLog) bool, writes bool) error {
	s.mu.Lock()
	var ended []*AccessLog
	for _, a := range s.logs {
		if which(a) {
			ended = append(ended, a)
		}
	}
	s.logs = slices.DeleteFunc(slices.Clone(s.logs), which)
	s.ending = ended
	s.mu.Unlock()
	var errs []error
	for _, a := range ended {
		if writes {
			a.write(true)
		}
		errs = append(errs, a.close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = nil
	for _, a := range ended {
		s.gone += a.dropped.Load()
	}
	return errors.Join(errs...)
}

// Dropped returns how many lines were lost because they could not be written.
func (s *Logs) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.gone
	for _, list := range [...][]*AccessLog{s.logs, s.ending} {
		for _, a := range list {
			n += a.dropped.Load()
		}
	}
	return n
}

// Close writes what is left and closes the logs. It returns the first error of writing
// of each. The server must have ended.
func (s *Logs) Close() error {
	close(s.stop)
	<-s.done
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.end(func(*AccessLog) bool { return true }, false)
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
	s.writing.Lock()
	defer s.writing.Unlock()
	for _, a := range s.list() {
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
