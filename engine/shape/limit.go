package shape

import "fmt"

// Level names a level of the tree.
type Level uint8

const (
	LevelNone Level = iota // no limit: the loop itself was late
	LevelGlobal
	LevelPath
	LevelClient
	LevelConnection

	NumLevels = 5
)

// String returns a word for labels and logs.
func (l Level) String() string {
	if l >= NumLevels {
		l = LevelNone
	}
	return [NumLevels]string{"none", "global", "path", "client", "connection"}[l]
}

// MaxWeight is the largest weight of a node.
const MaxWeight = 1000

// Limit is what is configured for a node. The zero value limits nothing.
type Limit struct {
	Rate Rate

	// Burst is how many bytes may pass at once after a rest. 0 stands for one grant and
	// 20 ms of the rate, so that a loop that is late by 20 ms keeps the rate. Grants are
	// smaller than the burst. Timers are no finer than 1 ms: a burst below some 3 ms of
	// the rate keeps a flow below its rate.
	Burst int64

	// Weight is the share among the siblings that wait for the node above, from 0 to
	// MaxWeight. 0 counts as 1.
	Weight int

	// Guarantee is a rate below which a path class is served before all others.
	// For path classes only; 0 is none.
	Guarantee Rate

	// Priority orders path classes: those with a higher one are served first. For path
	// classes only.
	Priority int

	// Client and Connection hold for each client and for each connection within a path
	// class, beside all other limits. For path classes only.
	Client, Connection Rate

	// After is how many bytes of each response pass before Client and Connection begin to
	// hold; the other limits hold from the first byte. For path classes only.
	After int64
}

// Validate returns an error that names the field and the reason if l cannot be
// the limit of any node.
func (l Limit) Validate() error {
	switch {
	case l.Rate < Paused || l.Rate > MaxRate:
		return fmt.Errorf("rate: %d is not from 0 to %d bytes per second", l.Rate, MaxRate)
	case l.Burst < 0 || l.Burst > maxSize:
		return fmt.Errorf("burst: %d is not from 0 to %s", l.Burst, FormatSize(maxSize))
	case l.Weight < 0 || l.Weight > MaxWeight:
		return fmt.Errorf("weight: %d is not from 0 to %d", l.Weight, MaxWeight)
	case l.Guarantee < 0 || l.Guarantee > MaxRate:
		return fmt.Errorf("guarantee: %d is not from 0 to %d bytes per second", l.Guarantee, MaxRate)
	case l.Rate != Unlimited && l.Guarantee > max(l.Rate, 0):
		return fmt.Errorf("guarantee: %v is more than the rate, %v", l.Guarantee, l.Rate)
	case l.Client < Paused || l.Client > MaxRate:
		return fmt.Errorf("client: %d is not from 0 to %d bytes per second", l.Client, MaxRate)
	case l.Connection < Paused || l.Connection > MaxRate:
		return fmt.Errorf("connection: %d is not from 0 to %d bytes per second", l.Connection, MaxRate)
	case l.After < 0 || l.After > maxSize:
		return fmt.Errorf("after: %d is not from 0 to %s", l.After, FormatSize(maxSize))
	case l.After > 0 && !l.within():
		return fmt.Errorf("after: there is neither a client nor a connection limit that could begin")
	}
	return nil
}

// within reports whether anything is limited within a path class.
func (l Limit) within() bool { return l.Client != Unlimited || l.Connection != Unlimited }

// ValidateAt is Validate for a node of the given level.
func (l Limit) ValidateAt(level Level) error {
	if err := l.Validate(); err != nil {
		return err
	}
	switch {
	case level == LevelPath:
	case l.Guarantee != 0:
		return fmt.Errorf("guarantee: for path classes only, not for %v", level)
	case l.Priority != 0:
		return fmt.Errorf("priority: for path classes only, not for %v", level)
	case l.Client != Unlimited:
		return fmt.Errorf("client: for path classes only, not for %v", level)
	case l.Connection != Unlimited:
		return fmt.Errorf("connection: for path classes only, not for %v", level)
	}
	return nil
}

// Weights are in fixed point, since a client on several loops counts for a part on each.
const (
	weightBits = 10
	oneWeight  = 1 << weightBits
)

func (l Limit) weight() int64 { return int64(max(l.Weight, 1)) << weightBits }

// limits reports whether l holds anything back.
func (l Limit) limits() bool { return l.Rate != Unlimited }

// atMost is the limit of a connection within a class that lets each have so much. It keeps
// to l, too.
func (l Limit) atMost(r Rate) Limit {
	if !r.Below(l.Rate) {
		return l
	}
	o := Limit{Rate: r, Weight: l.Weight}
	if (l.limits() || l.Burst > 0) && l.burst() < o.burst() {
		o.Burst = l.burst()
	}
	return o
}

// burst is the burst in force.
func (l Limit) burst() int64 {
	switch {
	case l.Burst > 0:
		return l.Burst
	case l.Rate <= 0:
		return 0
	}
	// A connection of less than 1 KiB/s gets one grant a second.
	rate := int64(l.Rate)
	return min(grantFor(rate), rate) + rate/slackPart
}

// most is the largest grant, in bytes. It leaves room in the bucket for what accrues while
// the loop is late: for 20 ms if the burst is that large, else for half of the burst.
func (l Limit) most() int64 {
	if l.Rate <= 0 {
		return maxGrant
	}
	burst := l.burst()
	return max(burst-int64(l.Rate)/slackPart, burst/2, 1)
}

// start is what a new bucket has: a burst that is configured, or one grant. With more, the
// slack for late loops would be spent at once.
func (l Limit) start() int64 {
	if l.Burst > 0 || l.Rate <= 0 {
		return l.burst()
	}
	return min(grantFor(int64(l.Rate)), int64(l.Rate))
}

// Figures of grants. A send costs some 13 us whatever its size, so the size of a grant
// trades smoothness for CPU time.
const (
	minGrant  = 16 << 10
	slowGrant = 24 << 10
	maxGrant  = 4 << 20
	tinyGrant = 1 << 10
	slackPart = 50 // 1/50 s: how late a loop may be without losing of its rate
	grantPart = 50 // a grant is 1/50 s of the rate,
	slowPart  = 2  // 1/2 s of rates at which that is little,
	slowRate  = 96 << 10
)

// grantFor returns the size of a grant for a flow that may send rate bytes per
// second.
//
// Flows below slowRate may come in thousands, and then the number of sends counts: at
// 50 KB/s a grant of 24 KiB instead of 16 KiB saves a third of the CPU time, and the rate
// over 10 s is still within 4 %.
func grantFor(rate int64) int64 {
	if rate < slowRate {
		return max(min(rate/slowPart, slowGrant), tinyGrant)
	}
	return min(max(rate/grantPart, minGrant), maxGrant)
}
