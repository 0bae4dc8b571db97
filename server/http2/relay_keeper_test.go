package http2

import (
	"net/http"
	"testing"
	"time"
)

// slowWriter is a client that takes nothing until it is told to; it notes when its time-out is moved.
type slowWriter struct {
	http.ResponseWriter
	takes chan struct{}
	moved chan time.Time
}

func (w *slowWriter) Write(p []byte) (int, error) {
	<-w.takes
	return len(p), nil
}

func (w *slowWriter) SetWriteDeadline(t time.Time) error {
	select {
	case w.moved <- t:
	default:
	}
	return nil
}

// A client that takes nothing for a part of the time-out and then goes on has the whole of it again.
func TestClientThatPauses(t *testing.T) {
	const patience = 100 * time.Millisecond
	w := &slowWriter{takes: make(chan struct{}), moved: make(chan time.Time, 1)}
	var k keeper
	k.keep(w, patience)
	defer k.leave()
	written := make(chan error)
	go func() { written <- k.write(w, nil) }()
	var last time.Time
	for moves := true; moves; {
		select {
		case last = <-w.moved:
		case <-time.After(10 * patience):
			moves = false
		}
	}
	close(w.takes)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	select {
	case at := <-w.moved:
		if !at.After(last) {
			t.Errorf("moved from %v to %v", last, at)
		}
	case <-time.After(20 * time.Second):
		t.Error("the time-out is moved no more")
	}
}
