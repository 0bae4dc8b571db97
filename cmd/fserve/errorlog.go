package main

import (
	"fmt"
	"log"
	"os"
	"sync"
	"syscall"
)

// errorLog is where what the operator is told goes: standard error, or a file. The start line and
// the reason of an end are on standard error in any case. Its methods are safe for concurrent use.
type errorLog struct {
	stderr  *output
	journal bool // standard error is the journal

	mu   sync.Mutex
	file *output // nil: standard error
	gone uint64  // lines that files had lost that are closed
}

// newErrorLog makes the log go to standard error.
func newErrorLog() *errorLog {
	l := &errorLog{stderr: newOutput(os.Stderr), journal: isJournal(os.Stderr, os.Getenv("JOURNAL_STREAM"))}
	l.point(nil)
	return l
}

// point makes the log go to a file from now on; nil: to standard error.
func (l *errorLog) point(file *output) {
	switch {
	case file != nil:
		log.SetFlags(log.LstdFlags)
		log.SetOutput(file)
	case l.journal:
		log.SetFlags(0) // it knows the time
		log.SetOutput(journal{l.stderr})
	default:
		log.SetFlags(log.LstdFlags)
		log.SetOutput(l.stderr)
	}
}

// use makes the log go to the file of a path; empty: to standard error. On error nothing changes.
func (l *errorLog) use(path string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil && l.file.path == path || l.file == nil && path == "" {
		return nil
	}
	return l.open(path)
}

// reopen opens the file anew, after it was moved away. On error the log goes on in the old one.
func (l *errorLog) reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	return l.open(l.file.path)
}

// open is use for any path, under mu. The lines that wait for the old file go there.
func (l *errorLog) open(path string) error {
	var next *output
	if path != "" {
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NONBLOCK, 0o640)
		if err != nil {
			return fmt.Errorf("log: %w", err)
		}
		next = newOutput(file)
		next.path = path
	}
	l.point(next)
	if old := l.file; old != nil {
		old.close()
		l.gone += old.dropped()
	}
	l.file = next
	return nil
}

// dropped returns how many lines were lost.
func (l *errorLog) dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.gone + l.stderr.dropped()
	if l.file != nil {
		n += l.file.dropped()
	}
	return n
}

// fatal says why the process ends.
func (l *errorLog) fatal(line string) {
	priority := ""
	if l.journal {
		priority = daemonErr
	}
	fmt.Fprintln(l.stderr, priority+"fserve:", line)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		log.Print("ERROR ", line)
	}
}

// close gives the lines that wait a last chance.
func (l *errorLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.close()
	}
	l.stderr.close()
}
