package aiotest

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/testenv"
)

var waitCases = []testCase{
	{name: "wait not at all", run: waitZero},
	{name: "wait with a time-out", run: waitTimeout},
	{name: "wait interrupted by signals", run: waitSignals},
	{name: "wait while the world stops", run: waitStopped},
	{name: "wake before wait", run: wakeBefore},
	{name: "wake during wait", run: wakeDuring},
	{name: "wake from many goroutines", run: wakeMany},
	{name: "wake while events flow", run: wakeBusy},
	{name: "wake while destroying", run: wakeDestroy},
	{name: "small batches", run: waitBatches},
	{name: "clock", run: clock},
}

func waitZero(h *harness) {
	h.open(testenv.SockOptions{})
	for range 100 {
		if n := h.wait(0); n != 0 {
			h.Fatalf("%d events of an idle connection", n)
		}
	}
}

// waitTimeout checks that Wait lasts as long as asked, also for connections
// that are new, of which drivers learn things that are no events. A signal,
// which the Go runtime may send at any time, may end it early, so one full wait
// of many is enough: a busy machine has its monitor awake all the time. The upper bound is
// far off.
func waitTimeout(h *harness) {
	for _, timeout := range []time.Duration{50 * time.Microsecond, time.Millisecond, 1500 * time.Microsecond, 20 * time.Millisecond} {
		full := false
		for try := 0; try < 200 && !full; try++ {
			h.open(testenv.SockOptions{})
			start := time.Now()
			if n := h.wait(timeout); n != 0 {
				h.Fatalf("%d events of idle connections", n)
			}
			took := time.Since(start)
			if took > 10*time.Second {
				h.Fatalf("wait of %v took %v", timeout, took)
			}
			full = took >= timeout
		}
		if !full {
			h.Errorf("wait of %v always returned early", timeout)
		}
	}
}

// waitStopped has the collector stop the world again and again while the loop
// waits: neither holds up the other.
func waitStopped(h *harness) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range 20 {
			runtime.GC()
		}
	}()
	for deadline := time.Now().Add(30 * time.Second); ; {
		h.wait(100 * time.Millisecond)
		select {
		case <-ended:
			return
		default:
		}
		if time.Now().After(deadline) {
			h.Fatalf("20 collections are not done")
		}
	}
}

// waitSignals delivers signals to the loop's thread all the while. Wait may
// return early, but neither fail nor lose an event.
func waitSignals(h *harness) {
	const total = 2 << 20
	tid := unix.Gettid()
	stop := make(chan struct{})
	var storm sync.WaitGroup
	storm.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				// SIGURG: the runtime's own, for preemption, harmless at any time.
				_ = unix.Tgkill(os.Getpid(), tid, syscall.SIGURG)
				time.Sleep(20 * time.Microsecond)
			}
		}
	})
	defer storm.Wait()
	defer close(stop)
	p := testenv.NewPattern(60)
	c := h.open(smallBuffers)
	inbound(c, p)
	feed, _ := feeder(c, p, total)
	off := int64(0)
	h.until("bytes both ways", func() bool {
		return c.received == total && off == total && c.drained()
	}, feed, c.sendAll(p, &off, total), c.read)
	for range 20 {
		h.wait(time.Millisecond)
	}
}

// waitWoken waits until a wake-up ends it: for ever would be too long for a
// test, so a minute stands for it.
func (h *harness) waitWoken() {
	h.Helper()
	start := time.Now()
	h.wait(patience)
	if took := time.Since(start); took > patience/2 {
		h.Fatalf("the wake-up was lost: wait took %v", took)
	}
}

func wakeBefore(h *harness) {
	for range 3 {
		h.d.Wake()
		h.waitWoken()
	}
	h.d.Wake()
	h.d.Wake()
	h.waitWoken()
}

// wakeDuring wakes the loop each time it has begun to wait, or is about to.
func wakeDuring(h *harness) {
	const rounds = 1000
	turn := make(chan struct{})
	var waker sync.WaitGroup
	waker.Go(func() {
		for range turn {
			h.d.Wake()
		}
	})
	defer waker.Wait()
	defer close(turn)
	for range rounds {
		turn <- struct{}{}
		h.waitWoken()
	}
}

// wakeMany has goroutines publish work and wake the loop at all moments of its
// turn: all of it is seen.
func wakeMany(h *harness) {
	const goroutines, each = 2, 20_000
	var published atomic.Int64
	var wakers sync.WaitGroup
	for g := range goroutines {
		wakers.Go(func() {
			for i := range each {
				published.Add(1)
				h.d.Wake()
				for range (i*7 + g) % 500 { // be late by a little, and differently
					published.Load()
				}
			}
		})
	}
	defer wakers.Wait()
	for published.Load() < goroutines*each {
		h.waitWoken()
	}
	h.d.Wake() // the last one may have been seen already
	h.waitWoken()
}

// wakeBusy wakes the loop while bytes flow.
func wakeBusy(h *harness) {
	const total = 1 << 20
	p := testenv.NewPattern(61)
	c := h.open(testenv.SockOptions{})
	inbound(c, p)
	feed, _ := feeder(c, p, total)
	stop := make(chan struct{})
	var waker sync.WaitGroup
	waker.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				h.d.Wake()
			}
		}
	})
	defer waker.Wait()
	defer close(stop)
	h.until("bytes", func() bool { return c.received == total }, feed)
}

// wakeDestroy wakes a driver up to the moment it is gone.
func wakeDestroy(h *harness) {
	stop := make(chan struct{})
	var waker sync.WaitGroup
	started := make(chan struct{})
	waker.Go(func() {
		h.d.Wake()
		close(started)
		for {
			select {
			case <-stop:
				return
			default:
				h.d.Wake()
			}
		}
	})
	<-started
	h.wait(0)
	// The contract allows Wake until Destroy has returned, and the goroutine
	// cannot know when that is, so the case holds drivers to a little more:
	// a late Wake is harmless.
	h.destroy()
	close(stop)
	waker.Wait()
}

// waitBatches asks for one event at a time.
func waitBatches(h *harness) {
	const n = 100
	h.ev = h.ev[:1]
	conns := make([]*conn, n)
	for i := range conns {
		conns[i] = h.open(testenv.SockOptions{})
		conns[i].peer.MustSend(h, []byte{1})
		conns[i].peer.CloseWrite()
	}
	h.until("all bytes and ends", func() bool {
		return all(conns, func(c *conn) bool { return c.received == 1 && c.ended })
	})
	h.closeAll(conns...)
}

// clock checks that Now is monotonic and counts nanoseconds.
func clock(h *harness) {
	const nap = 5 * time.Millisecond
	from, start := h.d.Now(), time.Now()
	for last := from; time.Since(start) < nap; {
		now := h.d.Now()
		if now < last {
			h.Fatalf("the clock went back by %d ns", last-now)
		}
		last = now
	}
	if d := time.Duration(h.d.Now() - from); d < nap || d > time.Minute {
		h.Errorf("the clock advanced by %v in %v", d, nap)
	}
}
