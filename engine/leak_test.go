package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/internal/testenv"
)

// longEnv makes tests that count connections use more of them.
const longEnv = "FSERVE_LONG"

// patience bounds how long a test waits for what another thread does next.
const patience = 30 * time.Second

// TestConnectionsLeakNothing opens, uses and ends many connections in different
// ways; nothing may be left of them, while the engine runs and after it.
func TestConnectionsLeakNothing(t *testing.T) {
	conns := 20_000
	if os.Getenv(longEnv) == "1" {
		conns = 100_000
	} else if testing.Short() || testenv.Race {
		conns = 2000
	}
	eachDriver(t, func(t *testing.T, kind DriverKind) {
		testenv.LeakCheck(t)
		// No time-out may do the work of a reset that is told.
		e := startEngine(t, kind, Config{Loops: 2, HeaderTimeout: 10 * patience, IdleTimeout: 10 * patience})
		sizes := []int64{10, 10_000, 100_000, 600_000}
		for i, size := range sizes {
			e.file(t, fmt.Sprint(i), size)
			testenv.Hold(t, filepath.Join(e.dir, fmt.Sprint(i))) // what is fetched takes descriptors
		}
		e.storm(t, 200, sizes) // opens files and makes pools
		before := openDescriptors(t)
		e.storm(t, conns, sizes)
		var after int
		if !testenv.Eventually(patience, func() bool { after = openDescriptors(t); return after <= before }) {
			t.Errorf("%d descriptors are open besides pipes, %d before", after, before)
		}
		if err := e.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		e.checkEnded(t)
	})
}

// openDescriptors counts descriptors. The pipes of a driver are pooled, and not
// of a connection; LeakCheck finds those that outlive it.
func openDescriptors(t *testing.T) int {
	n := 0
	for _, target := range testenv.FDs(t) {
		if !strings.HasPrefix(target, "pipe:") {
			n++
		}
	}
	return n
}

// checkEnded checks the counters of an engine that has shut down.
func (e *realEngine) checkEnded(t *testing.T) {
	t.Helper()
	var accepted, closed uint64
	for i, st := range e.Stats() {
		accepted, closed = accepted+st.Accepted-st.Refused, closed+st.Closed
		if st.Open != 0 || st.Files.Open != 0 || st.Files.Bytes != 0 {
			t.Errorf("loop %d: %d connections, %d files and %d bytes are left", i, st.Open, st.Files.Open, st.Files.Bytes)
		}
	}
	if accepted == 0 || closed != accepted || e.closed.Load() != int64(accepted) {
		t.Errorf("%d connections were accepted, %d closed, %d told", accepted, closed, e.closed.Load())
	}
}

// storm makes n connections, 16 at a time.
func (e *realEngine) storm(t *testing.T, n int, sizes []int64) {
	t.Helper()
	var next atomic.Int64
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			buf := make([]byte, 32<<10)
			for i := next.Add(1); i <= int64(n) && !t.Failed(); i = next.Add(1) {
				if err := e.visit(int(i), sizes, buf); err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
			}
		})
	}
	workers.Wait()
}

// visit is one connection, whose number says what becomes of it. Few end in
// order: that leaves a port in TIME_WAIT, and there are fewer ports than connections.
func (e *realEngine) visit(i int, sizes []int64, buf []byte) error {
	conn, err := net.Dial("tcp", e.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	c := conn.(*net.TCPConn)
	if err := errors.Join(c.SetDeadline(time.Now().Add(patience)), c.SetLinger(0)); err != nil {
		return err
	}
	k, orderly := i/8%len(sizes), i/8%9 == 0
	ask := fmt.Sprintf("%d\n", k)
	want := sizes[k] + int64(len(fmt.Sprint(sizes[k]))) + 1
	switch i % 8 {
	case 0: // no request
		return nil
	case 1: // half a request
		_, err := c.Write([]byte("12"))
		return err
	case 2: // reset with the answer on its way
		_, err := c.Write([]byte(ask))
		return err
	case 3: // reset when the answer has begun
		if _, err := c.Write([]byte(ask)); err != nil {
			return err
		}
		_, err := c.Read(buf[:1])
		return err
	case 4: // a file that is not there: the session closes
		if _, err := c.Write([]byte("nothing\n")); err != nil {
			return err
		}
		return readAll(c, 0, buf)
	case 5: // two requests at once, and now and then the end of ours with them
		if _, err := c.Write([]byte(ask + ask)); err != nil {
			return err
		}
		if orderly {
			if err := c.CloseWrite(); err != nil {
				return err
			}
			return readAll(c, 2*want, buf)
		}
		_, err := io.CopyBuffer(io.Discard, io.LimitReader(c, 2*want), buf)
		return err
	case 6:
		if orderly {
			if err := c.SetLinger(-1); err != nil {
				return err
			}
		}
	}
	if _, err := c.Write([]byte(ask)); err != nil {
		return err
	}
	_, err = io.CopyBuffer(io.Discard, io.LimitReader(c, want), buf)
	return err
}

// readAll reads to the end, which must come after n bytes.
func readAll(c io.Reader, n int64, buf []byte) error {
	got, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{c}, buf)
	if err == nil && got != n {
		err = fmt.Errorf("%d bytes, want %d", got, n)
	}
	return err
}

// chain is a task that starts another when it is done.
type chain struct {
	length int
	ran    *atomic.Int64
}

func (c *chain) Run() { c.ran.Add(1) }
func (c *chain) Done(l *loop.Loop) {
	if c.length > 1 {
		l.Go(&chain{length: c.length - 1, ran: c.ran})
	}
}

// TestCloseWaitsForTasks: also for those that tasks start when they are done.
func TestCloseWaitsForTasks(t *testing.T) {
	eachDriver(t, func(t *testing.T, kind DriverKind) {
		testenv.LeakCheck(t)
		e := startEngine(t, kind, Config{})
		var ran atomic.Int64
		e.onLoop(t, func(l *loop.Loop) { l.Go(&chain{length: 100, ran: &ran}) })
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if ran.Load() != 100 {
			t.Errorf("%d of 100 tasks ran", ran.Load())
		}
	})
}
