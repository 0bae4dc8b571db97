package load

import (
	"context"
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/bench/proc"
	"github.com/fserve/fserve/bench/sock"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// trickleEvery is how long a slow connection waits between two bytes, in ns.
	trickleEvery = int64(time.Second)
	// trickleTurn bounds how many slow connections are served before the others
	// are looked at, so that the generator does not delay what it times: to replace
	// one takes some 50 µs.
	trickleTurn = 1
	// lookEvery is how often the server's memory is looked at, in ns.
	lookEvery = int64(500 * time.Millisecond)

	// trickleHead is what a slow connection sends; its last byte goes on for ever.
	trickleHead = "GET / HTTP/1.1\r\nHost: slow\r\nX-Slow: a"
)

// trickle makes requests at a fixed rate beside connections that send a byte
// a second, which is called slowloris where it is meant to do harm.
type trickle struct {
	*mixed
	slow []slowConn
	// their events, within the instance of the timed ones: thousands that the server
	// has ended do not stand before a response
	slowEp *sock.Epoll
	due    dueRing
	cut    int64
	rss    int64
	look   int64 // when the server's memory is looked at next
}

// slowConn is one slow connection.
type slowConn struct {
	fd   int32 // -1: not open
	sent int   // bytes of this connection's head
}

// dueRing is the queue of the slow connections, that with the next byte to send
// first. All have the same pace, so that it is in order of time by itself.
type dueRing struct {
	ring    []trickleDue
	head, n int
}

type trickleDue struct {
	at int64 // ns
	id int
}

func (q *dueRing) push(d trickleDue) {
	q.ring[(q.head+q.n)%len(q.ring)] = d
	q.n++
}

// first returns the next one, at an instant that never comes if there is none.
func (q *dueRing) first() trickleDue {
	if q.n == 0 {
		return trickleDue{at: math.MaxInt64}
	}
	return q.ring[q.head]
}

func (q *dueRing) pop() {
	q.head = (q.head + 1) % len(q.ring)
	q.n--
}

func runTrickle(ctx context.Context, c Config) (Result, error) {
	if err := RaiseFiles(c.Conns + c.Slow); err != nil {
		return Result{}, err
	}
	hot, err := newMixed(c)
	if err != nil {
		return Result{}, err
	}
	x := &trickle{mixed: hot, due: dueRing{ring: make([]trickleDue, c.Slow)}}
	defer x.close()
	if err := x.open(); err != nil {
		return Result{}, err
	}
	if err := x.openSlow(); err != nil {
		return Result{}, err
	}
	if err := x.warm(ctx); err != nil {
		return Result{}, fmt.Errorf("warming up: %w", err)
	}
	if err := x.ramp(ctx); err != nil {
		return Result{}, fmt.Errorf("opening slow connections: %w", err)
	}
	return x.measure(ctx)
}

// openSlow makes the instance of the slow connections.
func (x *trickle) openSlow() (err error) {
	if x.slowEp, err = sock.NewEpoll(); err != nil {
		return err
	}
	return x.ep.AddEpoll(x.slowEp, len(x.conns))
}

func (x *trickle) close() {
	if x.slowEp != nil {
		x.slowEp.Close()
	}
	for i := range x.slow {
		if x.slow[i].fd >= 0 {
			sys.Close(x.slow[i].fd)
		}
	}
	x.mixed.close()
}

// ramp opens the slow connections evenly over Ramp, so that few are of the same age. If a
// server then treats many at once, that is the server's doing and not the load's.
func (x *trickle) ramp(ctx context.Context) error {
	begin := sys.Nanotime()
	x.sched = schedule{next: float64(begin), every: 1e9 / x.Rate}
	for now := begin; now < begin+int64(x.Ramp) || len(x.slow) < x.Slow; now = sys.Nanotime() {
		should := x.Slow
		if passed := now - begin; passed < int64(x.Ramp) {
			should = int(float64(x.Slow) * float64(passed) / float64(x.Ramp))
		}
		for n := 0; len(x.slow) < should && n < trickleTurn; n++ {
			x.slow = append(x.slow, slowConn{fd: -1})
			if err := x.connect(len(x.slow) - 1); err != nil {
				return err
			}
			x.due.push(trickleDue{now + trickleEvery, len(x.slow) - 1})
		}
		if _, err := x.step(now); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// connect opens slow connection i, anew if the server has ended it.
func (x *trickle) connect(i int) error {
	s := &x.slow[i]
	if s.fd >= 0 {
		sys.Close(s.fd)
		s.fd = -1
	}
	fd, err := x.to.Connect()
	if err != nil {
		return err
	}
	*s = slowConn{fd: fd}
	return x.slowEp.Add(fd, i, level)
}

// measure counts for as long as Measure says.
func (x *trickle) measure(ctx context.Context) (Result, error) {
	now := sys.Nanotime()
	if err := x.m.start(now, x.small.received); err != nil {
		return Result{}, err
	}
	x.cut, x.rss, x.look = 0, 0, now
	x.sched = schedule{next: float64(now), every: 1e9 / x.Rate}
	for end := now + int64(x.Measure); now < end; {
		n, err := x.step(now)
		if err != nil {
			return Result{}, err
		}
		if now >= x.look {
			if err := x.lookAtMemory(now); err != nil {
				return Result{}, err
			}
		}
		now = x.m.turn(now, n)
		if err := ctx.Err(); err != nil {
			return Result{}, err
		}
	}
	res, err := x.m.stop(now, x.small.received)
	res.ServerRSS, res.Cut = x.rss, x.cut
	return res, err
}

func (x *trickle) lookAtMemory(now int64) error {
	x.look = now + lookEvery
	rss, err := proc.RSS(x.Pids)
	if err != nil {
		return fmt.Errorf("memory of the server: %w", err)
	}
	x.rss = max(x.rss, rss)
	return nil
}

// step sends what is due and handles one batch of events. It returns their number.
func (x *trickle) step(now int64) (int, error) {
	if err := x.request(now); err != nil {
		return 0, err
	}
	sent, err := x.drip(now)
	if err != nil {
		return 0, err
	}
	wait := x.pause(x.sched.wait(now, len(x.free) > 0))
	wait = max(0, min(wait, time.Duration(x.due.first().at-now)))
	if len(x.slow) < x.Slow { // more are to be opened
		wait = min(wait, time.Millisecond)
	}
	events, err := x.ep.Wait(wait)
	if err != nil {
		return 0, err
	}
	return len(events) + sent, x.events(events)
}

// drip sends the bytes that are due, as many as a turn may, and returns their number.
func (x *trickle) drip(now int64) (n int, err error) {
	for ; n < trickleTurn && x.due.first().at <= now; n++ {
		d := x.due.first()
		x.due.pop()
		x.due.push(trickleDue{d.at + trickleEvery, d.id}) // not from now on: what was late once would come in a burst for ever
		if err := x.sendByte(d.id); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (x *trickle) sendByte(i int) error {
	s := &x.slow[i]
	at := min(s.sent, len(trickleHead)-1)
	_, e := sys.Send(s.fd, []byte(trickleHead[at:at+1]), false)
	switch e {
	case 0:
		s.sent++
		return nil
	case unix.EAGAIN: // the connection is still being made
		return nil
	case unix.EPIPE, unix.ECONNRESET:
		return x.again(i)
	}
	return fmt.Errorf("trickling: %w", e)
}

// events handles a batch: timed responses first, then a few slow connections,
// whose events repeat until they have had their turn.
func (x *trickle) events(batch []unix.EpollEvent) error {
	slow := false
	for _, ev := range batch {
		i := int(ev.Fd)
		if i == len(x.conns) {
			slow = true
			continue
		}
		if err := x.response(i); err != nil {
			return err
		}
	}
	if !slow {
		return nil
	}
	batch, err := x.slowEp.Poll(trickleTurn)
	if err != nil {
		return err
	}
	for _, ev := range batch {
		if err := x.answered(int(ev.Fd)); err != nil {
			return err
		}
	}
	return nil
}

// answered takes what has come on a slow connection.
func (x *trickle) answered(i int) error {
	// An answer, which can only be that this takes too long, or the end.
	n, e := sock.Discard(x.slow[i].fd, copyMax)
	switch {
	case e == unix.EAGAIN, e == 0 && n > 0:
		return nil
	case e == 0, e == unix.ECONNRESET, e == unix.EPIPE:
		return x.again(i)
	}
	return fmt.Errorf("slow connection: %w", e)
}

// again replaces a slow connection that the server has ended.
func (x *trickle) again(i int) error {
	x.cut++
	return x.connect(i)
}
