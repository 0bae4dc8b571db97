package aiotest

import (
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
)

const (
	// patience bounds each case: far beyond what the slowest machine needs.
	patience = 60 * time.Second
	// nap is the time-out of Wait when both ends are driven: the peers have no
	// way to wake the driver but by their bytes.
	nap = 2 * time.Millisecond
	// evSize is how many events are asked for at once.
	evSize = 64
)

// harness is a driver under test with the connections it serves.
type harness struct {
	testing.TB
	d        aio.Driver
	dir      string  // for files
	takes    bool    // the mode allows for Stage
	via      aio.Via // that the mode under test reports for files in memory
	ev       []aio.Event
	conns    []*conn // by slot
	free     []uint32
	gens     []uint32 // by slot
	sent     [aio.NumVia]int64
	deadline time.Time
	buf      []byte // of the peers
	gone     bool   // Destroy was called
}

func newHarness(t testing.TB, newDriver NewDriver, cfg aio.Config) *harness {
	testenv.LeakCheck(t)
	runtime.LockOSThread()
	h := &harness{TB: t, ev: make([]aio.Event, evSize), deadline: time.Now().Add(patience)}
	t.Cleanup(func() {
		h.destroy()
		runtime.UnlockOSThread()
	})
	h.d = newDriver(t, cfg)
	return h
}

// destroy ends the driver, unless that was done already.
func (h *harness) destroy() {
	h.Helper()
	if h.gone || h.d == nil {
		return
	}
	h.gone = true
	if err := h.d.Destroy(); err != nil {
		h.Errorf("destroy: %v", err)
	}
}

// newToken returns a token for a free slot.
func (h *harness) newToken() aio.Token {
	if n := len(h.free); n > 0 {
		slot := h.free[n-1]
		h.free = h.free[:n-1]
		h.gens[slot]++
		return aio.MakeToken(slot, h.gens[slot])
	}
	slot := uint32(len(h.conns))
	h.conns = append(h.conns, nil)
	h.gens = append(h.gens, 1)
	return aio.MakeToken(slot, 1)
}

// open makes a connection and gives it to the driver.
func (h *harness) open(o testenv.SockOptions) *conn {
	h.Helper()
	fd, peer := testenv.Pair(h, o)
	return h.adopt(fd, peer)
}

// adopt gives a connected socket to the driver.
func (h *harness) adopt(fd int, peer *testenv.Peer) *conn {
	h.Helper()
	c := &conn{h: h, tok: h.newToken(), fd: fd, peer: peer}
	h.conns[c.tok.Slot()] = c
	if err := h.d.Open(c.tok, fd); err != nil {
		unix.Close(fd)
		h.Fatalf("open: %v", err)
	}
	return c
}

// listen gives a new listener to the driver.
func (h *harness) listen() *conn {
	h.Helper()
	return h.listenAt(testenv.Listen(h), false)
}

// listenAt gives a listening socket to the driver.
func (h *harness) listenAt(fd int, shared bool) *conn {
	h.Helper()
	c := &conn{h: h, tok: h.newToken(), fd: fd, listener: true}
	h.conns[c.tok.Slot()] = c
	if err := h.d.Listen(c.tok, fd, shared); err != nil {
		unix.Close(fd)
		h.Fatalf("listen: %v", err)
	}
	return c
}

// wait calls Wait once and records its events. It returns how many there were.
func (h *harness) wait(timeout time.Duration) int {
	h.Helper()
	if time.Now().After(h.deadline) {
		h.Fatalf("no end after %v", patience)
	}
	n, err := h.d.Wait(h.ev, timeout)
	if err != nil {
		h.Fatalf("wait: %v", err)
	}
	h.d.Now() // as the loop does
	if n < 0 || n > len(h.ev) {
		h.Fatalf("wait returned %d events into %d", n, len(h.ev))
	}
	for i := range h.ev[:n] {
		h.record(&h.ev[i])
	}
	return n
}

// record checks an event against what its connection may expect and keeps it.
func (h *harness) record(ev *aio.Event) {
	h.Helper()
	slot := ev.Token.Slot()
	if int(slot) >= len(h.conns) || h.conns[slot] == nil || h.conns[slot].tok != ev.Token {
		h.Fatalf("%v event for token %#x, which is not in use", ev.Op, uint64(ev.Token))
	}
	c := h.conns[slot]
	late := c.listener && ev.Op == aio.Accepted && ev.Err == 0 // accepted before the close took effect
	if c.closing && ev.Op != aio.Closed && !late {
		h.Fatalf("%v event after Close", ev.Op)
	}
	switch ev.Op {
	case aio.Accepted:
		c.recordAccepted(ev)
	case aio.Received:
		c.recordReceived(ev)
	case aio.Ready:
		c.recordReady(ev)
	case aio.Closed:
		c.recordClosed()
	default:
		h.Fatalf("event with operation %d", ev.Op)
	}
}

// until turns the loop until a condition holds. Between turns it calls the
// steps, which drive the peers.
func (h *harness) until(what string, cond func() bool, steps ...func() bool) {
	h.Helper()
	defer func() {
		if h.Failed() {
			h.Logf("while waiting for: %s", what)
		}
	}()
	for !cond() {
		progress := false
		for _, step := range steps {
			progress = step() || progress
		}
		timeout := nap
		if progress {
			timeout = 0
		}
		h.wait(timeout)
	}
}

// quiet turns the loop until several turns in a row bring nothing, for cases
// that show that something does not happen.
func (h *harness) quiet() {
	h.Helper()
	for calm := 0; calm < 4; calm++ {
		if h.wait(4*time.Millisecond) > 0 {
			calm = -1
		}
	}
}

// closeAll closes the connections and waits for all Closed events.
func (h *harness) closeAll(conns ...*conn) {
	h.Helper()
	for _, c := range conns {
		c.close(true)
	}
	h.until("closed", func() bool { return all(conns, func(c *conn) bool { return c.closed }) })
}

// checkBytes compares the driver's counters with what its answers said.
func (h *harness) checkBytes() {
	h.Helper()
	for via := range aio.NumVia {
		if got := h.d.Stats().Bytes[via]; got != uint64(h.sent[via]) {
			h.Errorf("counter says %d bytes by %v, the answers said %d", got, via, h.sent[via])
		}
	}
}

// borrow returns a file as the engine lends it.
func (h *harness) borrow(f *os.File) *aio.File { return testenv.Borrow(h, f) }

func all[T any](s []T, ok func(T) bool) bool {
	for _, x := range s {
		if !ok(x) {
			return false
		}
	}
	return true
}

// isOpen reports whether fd is an open descriptor of the process.
func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err != syscall.EBADF
}
