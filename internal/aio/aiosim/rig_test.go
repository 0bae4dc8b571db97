package aiosim

import (
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/aio"
)

// rig is a world and its driver for tests that make the calls themselves.
type rig struct {
	t    *testing.T
	w    *World
	d    aio.Driver
	slot uint32
	ev   [64]aio.Event
}

func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	w := New(cfg)
	w.OnIdle(func() bool { w.drv.Wake(); return true }) // no test waits in vain
	d, err := w.NewDriver(aio.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, w: w, d: d}
}

// wait returns what happens next.
func (r *rig) wait(timeout time.Duration) []aio.Event {
	r.t.Helper()
	n, err := r.d.Wait(r.ev[:], timeout)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.ev[:n]
}

// only returns the one event that happens next, which must be of this kind.
func (r *rig) only(op aio.Op) aio.Event {
	r.t.Helper()
	ev := r.wait(-1)
	if len(ev) != 1 || ev[0].Op != op {
		r.t.Fatalf("events %+v, want one of kind %v\n%s", ev, op, r.w.Log())
	}
	return ev[0]
}

// connect returns a client and the slot that has its connection.
func (r *rig) connect(cfg ClientConfig) (*Client, aio.Token) {
	r.t.Helper()
	c, fd := r.w.Connected(cfg)
	r.slot++
	t := aio.MakeToken(r.slot, 1)
	if err := r.d.Open(t, int(fd)); err != nil {
		r.t.Fatal(err)
	}
	return c, t
}

// openFile returns a file as the engine lends it.
func (r *rig) openFile(name string) *aio.File {
	r.t.Helper()
	fd, e := r.w.OpenFile(name)
	if e != 0 {
		r.t.Fatal(e)
	}
	return &aio.File{FD: fd}
}

// run lets time pass until nothing more happens, or something is told.
func (r *rig) run() {
	r.t.Helper()
	if ev := r.wait(-1); len(ev) != 0 {
		r.t.Fatalf("unexpected events %+v\n%s", ev, r.w.Log())
	}
}

// end destroys the driver; nothing may be wrong.
func (r *rig) end() {
	r.t.Helper()
	if err := r.d.Destroy(); err != nil {
		r.t.Fatal(err)
	}
	if err := r.w.Check(); err != nil {
		r.t.Fatal(err)
	}
}

// endsWith destroys the driver and wants a finding.
func (r *rig) endsWith(finding string) {
	r.t.Helper()
	if err := r.d.Destroy(); err != nil {
		r.t.Fatal(err)
	}
	if err := r.w.Check(); err == nil || !strings.Contains(findings(err), finding) {
		r.t.Fatalf("found %v, want %q", err, finding)
	}
}

func wantSent(t *testing.T, got aio.Sent, n int64, status aio.Status) {
	t.Helper()
	if got.N != n || got.Status != status {
		t.Fatalf("attempt answered %+v, want n=%d status=%d", got, n, status)
	}
}
