package main

import (
	"bytes"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

const (
	// waitingLines bounds the lines that wait until standard error takes them.
	waitingLines = 1000
	// lastWords is how long they may take to be written at the end of the process.
	lastWords = time.Second
)

// output is standard error, or a file, as the log writes to it. Nothing waits for whoever reads
// it, or for the disk: a line that finds no room is dropped and counted. Its methods are safe for
// concurrent use.
type output struct {
	file  *os.File
	path  string // empty: the file is not ours to close
	torn  bool   // the last line that was written is not whole
	lines chan []byte
	lost  atomic.Uint64
	stop  chan struct{}
	done  chan struct{}
}

func newOutput(file *os.File) *output {
	o := &output{file: file, lines: make(chan []byte, waitingLines), stop: make(chan struct{}), done: make(chan struct{})}
	go o.run()
	return o
}

// Write implements io.Writer, for whole lines. It never fails.
func (o *output) Write(line []byte) (int, error) {
	select {
	case o.lines <- bytes.Clone(line):
	default:
		o.lost.Add(1)
	}
	return len(line), nil
}

// dropped returns how many lines were lost.
func (o *output) dropped() uint64 { return o.lost.Load() }

func (o *output) run() {
	defer close(o.done)
	var told uint64 // of those that are lost
	for {
		select {
		case line := <-o.lines:
			told = o.put(line, told)
			continue
		default:
		}
		select {
		case line := <-o.lines:
			told = o.put(line, told)
		case <-o.stop:
			return
		}
	}
}

// put writes a line, and after it how many were lost since that was told.
func (o *output) put(line []byte, told uint64) uint64 {
	if o.torn { // a full disk takes a part of a line
		line = append([]byte{'\n'}, line...)
	}
	if n, err := o.file.Write(line); err != nil {
		o.torn = o.torn || n > 0
		o.lost.Add(1)
		return told
	}
	o.torn = false
	lost := o.lost.Load()
	if lost == told {
		return told
	}
	if _, err := fmt.Fprintf(o.file, "fserve: %d lines of the log were lost\n", lost-told); err != nil {
		return told
	}
	return lost
}

// close gives the lines that wait a last chance.
func (o *output) close() {
	close(o.stop)
	select {
	case <-o.done:
	case <-time.After(lastWords):
	}
	if o.path != "" {
		_ = o.file.Close() // what it could not take is counted
	}
}
