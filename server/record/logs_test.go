package record

import (
	"io"
	"path/filepath"
	"testing"
	"time"
)

// Whoever reads one log and takes nothing holds up neither a reload, which opens others, nor a scrape.
func TestStuckLogIsNotWaitedFor(t *testing.T) {
	r, w := io.Pipe() // takes nothing until it is read
	log := NewAccessLog(w)
	b := log.newBuffer()
	line := []byte("a line\n")
	b.add(append(b.room(len(line)), line...))
	stuck := make(chan struct{})
	go func() { // the goroutine of the logs has the line now, or this one
		log.of.flush(true)
		close(stuck)
	}()
	read := make([]byte, 1)
	if _, err := io.ReadFull(r, read); err != nil { // the writing is under way
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		other, err := log.of.Open(Target{File: filepath.Join(t.TempDir(), "other")})
		if err == nil {
			log.of.Keep(map[*AccessLog]bool{log: true, other: true})
			_ = log.of.Dropped()
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("a log that is stuck is waited for")
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	<-stuck
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}

// Lost lines of a log that is being closed count all the while: a counter never falls.
func TestDroppedWhileClosing(t *testing.T) {
	r, w := io.Pipe() // takes nothing until it is read
	log := NewAccessLog(w)
	b := log.newBuffer()
	log.dropped.Store(5)
	log.of.Keep(nil)
	line := []byte("a line\n")
	b.add(append(b.room(len(line)), line...))
	reopened := make(chan error, 1)
	go func() { reopened <- log.of.Reopen() }()
	read := make([]byte, 1)
	if _, err := io.ReadFull(r, read); err != nil { // the writing is under way
		t.Fatal(err)
	}
	if n := log.of.Dropped(); n != 5 {
		t.Errorf("%d lines are lost, were 5", n)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if err := <-reopened; err != nil {
		t.Error(err)
	}
	if n := log.of.Dropped(); n != 5 {
		t.Errorf("%d lines are lost, were 5", n)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}
