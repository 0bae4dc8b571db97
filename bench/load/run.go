package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/sys"
)

const (
	// tick is how long a loop waits before it looks at the clock again.
	tick = 50 * time.Millisecond

	// patience is how many times Measure a measurement lasts at most if no response
	// is complete by its end.
	patience = 10

	never = math.MaxInt64 // an instant that does not come
)

var errNothing = errors.New("no response within the measurement")

// Run generates the load of c and returns what it saw. The first response
// that is not as expected, and the first connection that ends, ends it with an
// error. It occupies the calling thread until it returns. began is called when the
// measurement begins, with Result.Began; nothing is taken from connections meanwhile.
func Run(ctx context.Context, c Config, began func(int64) error) (*Result, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if err := RaiseFiles(c.conns()); err != nil {
		return nil, err
	}
	if c.TLS != "" {
		return runSecure(ctx, c, began)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Sleeps end when they should, not up to 50 µs later.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	l, err := newLoop(c)
	if err != nil {
		return nil, err
	}
	defer l.close()
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	if err := l.warm(ctx); err != nil {
		return nil, fmt.Errorf("warming up: %w", err)
	}
	return l.measure(ctx, began)
}

// warm builds the load up. If there is no time for that, the first requests are the
// beginning of the measurement.
func (l *loop) warm(ctx context.Context) error {
	l.now = sys.Nanotime()
	l.start, l.end = l.now, l.now+int64(l.Spread+l.Warm)
	if l.start == l.end {
		return nil
	}
	l.resume()
	return l.turns(ctx, func() bool { return l.now < l.end || l.building() })
}

// resume begins the schedules now: what was due before is forgotten.
func (l *loop) resume() {
	for i := range l.groups {
		s := &l.groups[i].sched
		s.next, s.behind = l.now, false
	}
}

// measure runs for as long as Measure says, until all groups of mode Once are done.
func (l *loop) measure(ctx context.Context, began func(int64) error) (*Result, error) {
	before, err := l.begin(began)
	if err != nil {
		return nil, err
	}
	if err := l.turns(ctx, func() bool { return l.now < l.end && !l.complete() }); err != nil {
		return nil, err
	}
	if !l.Slots && l.Measure > 0 {
		// A rate needs a response at least: wait for it on a machine that is busy.
		l.end = l.begun + patience*int64(l.Measure)
		if err := l.turns(ctx, func() bool { return l.now < l.end && l.requests() == 0 }); err != nil {
			return nil, err
		}
	}
	return l.result(before)
}

// begin starts the clocks and meters.
func (l *loop) begin(began func(int64) error) (clocks, error) {
	before, err := l.readClocks()
	if err != nil {
		return before, err
	}
	for i := range l.groups {
		l.groups[i].meter.reset()
	}
	l.slow.cut, l.memory = 0, memory{}
	l.now = sys.Nanotime()
	l.begun, l.looked, l.idle, l.stall = l.now, l.now, 0, 0
	l.end = l.now + int64(l.Measure)
	l.resume()
	if l.Slots {
		l.slots.start(l.now)
		l.end = l.slots.end
	}
	l.clock = Clock() + l.now - sys.Nanotime()
	return before, began(l.clock)
}

// complete tells whether there were downloads of mode Once, which are complete.
func (l *loop) complete() bool { return l.downloads == 0 && l.count(Once) > 0 }

// requests returns the number of responses.
func (l *loop) requests() (n int64) {
	for i := range l.groups {
		n += l.groups[i].meter.requests
	}
	return n
}

// result makes the result of what was counted.
func (l *loop) result(before clocks) (*Result, error) {
	after, err := l.readClocks()
	if err != nil {
		return nil, err
	}
	r := &Result{
		Seconds: time.Duration(l.now - l.begun).Seconds(), Began: l.clock, Stall: time.Duration(l.stall), ServerRSS: l.memory.rss,
		ServerCPU: after.server - before.server, CoreBusy: after.core - before.core, LoadBusy: after.self - before.self,
	}
	if l.Spin {
		r.LoadBusy = r.Seconds - time.Duration(l.idle).Seconds()
	}
	if l.seen(r) == 0 && l.Measure > 0 {
		return nil, errNothing
	}
	if l.Slots {
		r.Seconds = time.Duration(l.slots.end - l.slots.begin).Seconds()
		r.Conns, r.Total, r.Trace = l.slots.collect(), l.slots.total, l.slots.trace()
	}
	return r, nil
}

// seen adds what was seen of the groups to r and returns the bytes of all.
func (l *loop) seen(r *Result) (bytes int64) {
	for i := range l.groups {
		g := l.groups[i].meter.seen()
		if l.groups[i].Mode == Trickle {
			g.Cut = l.slow.cut
		}
		bytes += g.Bytes
		r.Groups = append(r.Groups, g)
	}
	return bytes
}
