package adapt

import "math"

// name returns the text of an enumeration's value.
func name[T ~uint8](v T, names ...string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return "unknown"
}

// Phase says how the target is being moved.
type Phase uint8

const (
	Doubling Phase = iota // probing, up to the soft threshold
	Linear                // probing, beyond it
	Steady                // the slow loop
)

func (p Phase) String() string { return name(p, "doubling", "linear", "steady") }

// Verdict is what the slow loop last found.
type Verdict uint8

const (
	Hold         Verdict = iota // nothing can be concluded, or the target is in the dead band
	Raised                      // the target is reached, more is wanted, nothing is lost
	Lowered                     // the target was above the estimate
	Followed                    // the line is the limit: down to what it carries
	ReaderLimits                // the reader is the limit: the target stays
	TookBack                    // the last raise was not carried
	Paused                      // after failed raises, or by the breaker
)

func (v Verdict) String() string {
	return name(v, "hold", "raised", "lowered", "followed", "reader-limits", "took-back", "paused")
}

// Cause is why a target was cut.
type Cause uint8

const (
	CauseLoss Cause = iota
	CauseECN
	CauseBreaker
	NumCauses
)

func (c Cause) String() string { return name(c, "loss", "ecn", "breaker") }

// Kind is what an Event is about.
type Kind uint8

const (
	None       Kind = iota
	Tripped         // the breaker has opened
	HalfOpened      // it lets the target rise again
	Recovered       // it has closed
	Froze           // the client is held at the floor: a P1 alert fires
	Thawed          // and no longer: the alert is resolved
)

func (k Kind) String() string {
	return name(k, "none", "tripped", "half-opened", "recovered", "froze", "thawed")
}

// Event is something that an operator wants to know. Events of Kind None are none.
type Event struct {
	Kind   Kind
	At     int64   // the instant that Tick was told, ns
	Target int64   // from now on, bytes/s
	Loss   float64 // of the last sample, as a part of the segments
	Trips  int     // within the breaker's memory, this one included
}

// P1 reports whether the event belongs to an alert that wakes somebody, and
// whether that fires or is resolved by it.
func (e Event) P1() (alert, firing bool) { return e.Kind == Froze || e.Kind == Thawed, e.Kind == Froze }

// State is a controller at one moment, for metrics and for people.
type State struct {
	Target, Min, Max int64 // bytes/s
	Limit            int64 // the most that Target may be now, bytes/s: Max, or what the breaker leaves
	Estimate         int64 // of what the line carries, bytes/s; 0 before the first sample
	SoftThreshold    int64 // where doubling ends, bytes/s; 0 if not known
	Used             int64 // mean of the last ten seconds with traffic, bytes/s
	SRTT, Queue      int64 // smoothed round-trip time, and what of it is queueing, ns

	Phase   Phase
	Verdict Verdict
	Stage   Stage
	Trips   int // within the breaker's memory

	Loss       float64 // of the last sample of the breaker, as a part of the segments
	Background float64 // the line's own loss as learned, as a part of the segments

	Counters
}

// Counters only grow.
type Counters struct {
	Cuts                                       [NumCauses]uint64
	Raises, Lowers, Follows, TakenBack, Undone uint64
	Tripped, Frozen                            uint64
	Measured, Bounds                           uint64 // samples of the estimate, by kind
	Rejected, Discarded, Delayed               uint64 // samples that tell nothing of the rate; rounds that were torn; in which the caller was late
}

// State returns the controller's state.
func (c *Controller) State() State {
	ten := c.slots.sum()
	return State{
		Target: c.Target(), Min: int64(c.floor), Max: int64(c.ceiling), Limit: int64(math.Round(c.limit())),
		Estimate: int64(c.est.rate), SoftThreshold: int64(c.soft), Used: int64(ten.rate()),
		SRTT: c.srtt, Queue: int64(c.queue),
		Phase: c.phase, Verdict: c.verdict, Stage: c.brk.stage, Trips: c.brk.trips,
		Loss: c.brk.lastLoss, Background: c.background, Counters: c.counters,
	}
}
