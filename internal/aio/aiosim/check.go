package aiosim

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/fserve/fserve/internal/aio"
)

// maxViolations bounds how many are kept: the first one is what matters.
const maxViolations = 8

// violate records a breach of the contract. It may be called on any goroutine,
// since that may be the breach.
func (w *World) violate(format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	w.mu.Lock()
	if len(w.violations) == 0 {
		w.stack = debug.Stack()
	}
	if len(w.violations) < maxViolations {
		w.violations = append(w.violations, msg)
	}
	w.mu.Unlock()
	w.broken.Store(true)
	if w.cfg.Panic {
		panic(fmt.Sprintf("aiosim: seed %d: %s", w.cfg.Seed, msg))
	}
}

// violation returns the first breach as an error for Wait. Check has more.
func (w *World) violation() error {
	if !w.broken.Load() {
		return nil
	}
	return fmt.Errorf("aiosim: seed %d: %s", w.cfg.Seed, w.Violations()[0])
}

// Violations returns the breaches of the contract so far, the first ones only.
func (w *World) Violations() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.violations...)
}

// Settle lets what is on its way to the clients arrive. It is for the time
// after Destroy, when no Wait moves the time any more. Check calls it.
func (w *World) Settle() {
	w.settling = true
	for len(w.timers) > 0 {
		w.now = max(w.now, w.timers[0].at)
		w.fireDue()
	}
}

// Leaks returns what is open and should not be any more.
func (w *World) Leaks() []string {
	var l []string
	for i := range w.fds {
		d := &w.fds[i]
		if d.owner != ownedByUser {
			continue
		}
		n := firstFD + int32(i)
		switch {
		case d.file != nil:
			l = append(l, fmt.Sprintf("descriptor %d of %v was not closed", n, d.file))
		case d.conn != nil:
			l = append(l, fmt.Sprintf("descriptor %d of client %d was neither opened nor closed", n, d.conn.id))
		case d.ln.slot == nil:
			l = append(l, fmt.Sprintf("descriptor %d of a listener was neither listened on nor closed", n))
		}
	}
	if w.drv == nil {
		return l
	}
	l = append(l, w.drv.leaks()...)
	for _, c := range w.clients {
		if w.over() && !c.done {
			l = append(l, fmt.Sprintf("%v did not come to its end", c))
		}
	}
	return l
}

func (d *driver) leaks() []string {
	var l []string
	if d.w.cfg.CleanDestroy {
		l = append(l, d.leftOpen...)
	}
	if !d.destroyed.Load() {
		l = append(l, "the driver was not destroyed")
	}
	for _, s := range d.order {
		if s.state != slotFree {
			l = append(l, fmt.Sprintf("slot %d is open or closing", s.tok.Slot()))
		}
		if s.blocked != aio.OK {
			l = append(l, fmt.Sprintf("slot %d has a blocked attempt", s.tok.Slot()))
		}
	}
	var told uint64
	for _, n := range d.stats.Bytes {
		told += n
	}
	if took := d.w.Taken(); told != uint64(took) {
		l = append(l, fmt.Sprintf("the driver counts %d bytes, the sockets took %d", told, took))
	}
	return l
}

// Taken returns how many bytes the sockets of all clients took from the driver.
func (w *World) Taken() int64 {
	var n int64
	for _, c := range w.clients {
		n += c.conn.taken
	}
	return n
}

// unfinished names clients that have not come to their end.
func (w *World) unfinished() string {
	var names []string
	for _, c := range w.clients {
		if !c.done {
			names = append(names, c.String())
		}
	}
	if len(names) == 0 {
		return "all clients are at their end"
	}
	return "not at their end: " + strings.Join(names, ", ")
}

// Check is called at the end of a run, after Destroy. It lets the clients
// settle and returns everything that is wrong, with the seed and the log, or
// nil: violations, wrong responses and leaks.
func (w *World) Check() error {
	if w.drv == nil || w.over() {
		w.Settle()
	}
	violations, leaks := w.Violations(), w.Leaks()
	if len(violations)+len(leaks) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "aiosim: seed %d", w.cfg.Seed)
	if w.cfg.FailNth > 0 {
		fmt.Fprintf(&b, ", failing call %d (%s)", w.cfg.FailNth, w.Injected())
	}
	for _, v := range violations {
		b.WriteString("\n  violation: " + v)
	}
	for _, l := range leaks {
		b.WriteString("\n  leak: " + l)
	}
	b.WriteString("\nlog:\n" + w.Log())
	if w.stack != nil {
		fmt.Fprintf(&b, "first violation at:\n%s", w.stack)
	}
	return errors.New(b.String())
}
