package loop

const (
	// maxExpired is how many connections are ended in one turn because their
	// time is over. Each costs some 10 us: an answer, its end, and in the next
	// turn what the peer makes of it.
	maxExpired = 2
	// expireEvery allows for more where turns take long: one in so many ns, so that a
	// loop with much to do ends thousands a second, too.
	expireEvery = 64_000

	// sweepPart is how many deadlines are looked at in one turn: some 10 us of work,
	// where those of 10,000 connections would be 150.
	sweepPart = 1024

	// crowdedPart is how much sooner than usual deadlines are looked at while more
	// connections are late than that: a burst of ends is a burst of new connections.
	crowdedPart = 16
)

// sweeper looks at every connection's deadline. One pass over a flat array costs
// less than keeping timers in order on every request.
type sweeper struct {
	loop    *Loop
	every   int64 // ns
	at      int64 // when the next sweep begins
	crowded bool  // more connections were late at once than is good
	slab    int   // the next slab of the sweep under way; past the last: none is
	slot    int   // and the next slot in it
}

// busy reports whether a sweep is under way.
func (w *sweeper) busy() bool { return w.slab < len(w.loop.conns.slabs) }

// begin begins a sweep if one is due and none is under way: else the connections behind
// many that are late would never be looked at.
func (w *sweeper) begin() {
	if w.loop.now < w.at || w.busy() {
		return
	}
	w.at = w.loop.now + w.every
	if w.crowded {
		w.at = w.loop.now + w.every/crowdedPart
	}
	w.crowded, w.slab, w.slot = false, 0, 0
}

// run goes on with the sweep. It stops after sweepPart connections, and after some that
// were due, and goes on in the next turn: others do not wait while all of many
// connections are looked at, or a thousand are told that they are late.
func (w *sweeper) run() {
	l := w.loop
	most := int(min(max(l.took/expireEvery, maxExpired), 32*maxExpired))
	for looked, expired := 0, 0; w.busy(); w.slab, w.slot = w.slab+1, 0 {
		for s := l.conns.slabs[w.slab]; w.slot < len(s); w.slot++ {
			c := &s[w.slot]
			if looked++; looked > sweepPart {
				return
			}
			if c.lent != nil {
				(*lender)(c).sweep()
			}
			if c.deadline == 0 || l.now < c.deadline {
				continue
			}
			if expired == most {
				w.crowded = true
				return
			}
			c.expire()
			expired++
		}
	}
}
