package engine

import (
	"context"
	"testing"
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/internal/testenv"
)

// TestStatsWhileOthersDrain asks for counters when one loop has ended and
// another has a response under way.
func TestStatsWhileOthersDrain(t *testing.T) {
	eachDriver(t, func(t *testing.T, kind DriverKind) {
		testenv.LeakCheck(t)
		const size = 64 << 20 // more than the sockets hold
		e := startEngine(t, kind, Config{Loops: 2})
		e.file(t, "big", size)
		c := e.dial(t)
		if _, err := c.Write([]byte("big\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(c.buf); err != nil {
			t.Fatal(err)
		}
		drained := make(chan error, 1)
		go func() { drained <- e.Shutdown(context.Background()) }()
		ended := func() (n int) {
			e.each(func(r *loop.Runner) {
				if r.Ended() {
					n++
				}
			})
			return n
		}
		if !testenv.Eventually(patience, func() bool { return ended() == 1 }) {
			t.Fatalf("%d loops have ended, want 1", ended())
		}
		answer := make(chan []loop.Stats, 1)
		go func() { answer <- e.Stats() }()
		select {
		case stats := <-answer:
			if open := stats[0].Open + stats[1].Open; open != 1 {
				t.Errorf("%d connections are open, want 1", open)
			}
			if n := stats[0].Driver.Waits * stats[1].Driver.Waits; n == 0 {
				t.Error("a loop says that its driver has never waited")
			}
		case <-time.After(patience):
			t.Error("no answer while a loop drains")
		}
		c.Close()
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}
