package aiosim

import (
	"math/rand/v2"
	"syscall"
)

// Faults holds probabilities between 0 (never) and 1 (always). The zero value
// is a polite world: everything is done whole, in order and without errors.
type Faults struct {
	// Freedoms: what a driver may do although nothing is wrong.

	ShortSend    float64 // an attempt moves fewer bytes than it could
	FalseBlock   float64 // BlockedSocket or BlockedMemory although there is room
	DiskBlock    float64 // BlockedDisk although the range is in memory
	SplitReceive float64 // bytes arrive and are delivered in smaller parts
	SplitRead    float64 // a client reads fewer bytes than it could
	Reorder      float64 // an event overtakes those of other slots
	SmallBatch   float64 // Wait ends its batch before everything was told
	Spurious     float64 // Wait returns 0 for no reason, at any time
	Lag          float64 // Wait returns up to 50 ms late, as on a busy machine
	LateReady    float64 // Ready comes up to 20 ms late
	LateClosed   float64 // Closed comes up to 20 ms late
	LatePause    float64 // one more Received comes after Pause
	StepDown     float64 // a way of sending is refused for a file
	ReadAgain    float64 // ReadAt answers EAGAIN
	ReadShort    float64 // ReadAt answers fewer bytes than it could
	NoPipe       float64 // Stage takes nothing, although it could
	Pin          float64 // an operation names a file for up to 20 ms after an attempt on it
	// UnreadReset: the kernel resets, instead of ending in order, a
	// connection that is closed while received bytes are unread or still
	// arrive. Linux always does so (RFC 2525, section 2.17); at 0 the peer
	// gets an orderly end.
	UnreadReset float64

	// Errors. FailNth switches all of them off.

	AcceptError  float64 // Accepted with EMFILE, ENFILE, ENOBUFS, ENOMEM or ECONNABORTED
	OpenError    float64 // Listen and Open
	ReceiveError float64 // the connection breaks when bytes are to be delivered
	SendError    float64 // the connection breaks during an attempt
	ReadyError   float64 // an obstacle turns into a failure
	FileError    float64 // EIO from SendFile and ReadAt
	StatError    float64 // EIO or ESTALE from Stat
	StatTouch    float64 // the file's mtime changes before Stat looks
	FileOpen     float64 // World.OpenFile fails
	DriverError  float64 // NewDriver fails
	WaitError    float64 // Wait fails, which is the end of the driver
}

// freedoms lists the fields that are freedoms, for Swarm.
func (f *Faults) freedoms() []*float64 {
	return []*float64{
		&f.ShortSend, &f.FalseBlock, &f.DiskBlock, &f.SplitReceive, &f.SplitRead, &f.Reorder,
		&f.SmallBatch, &f.Spurious, &f.Lag, &f.LateReady, &f.LateClosed, &f.LatePause, &f.StepDown,
		&f.ReadAgain, &f.ReadShort, &f.NoPipe, &f.Pin,
	}
}

// errors lists the fields that are errors within the life of a driver, for Swarm.
func (f *Faults) errors() []*float64 {
	return []*float64{
		&f.AcceptError, &f.OpenError, &f.ReceiveError, &f.SendError, &f.ReadyError,
		&f.FileError, &f.StatError, &f.StatTouch, &f.FileOpen,
	}
}

// withoutErrors returns f with its errors off.
func (f Faults) withoutErrors() Faults {
	for _, p := range f.errors() {
		*p = 0
	}
	f.DriverError, f.WaitError = 0, 0
	return f
}

// Rough returns every freedom at p and no errors.
func Rough(p float64) Faults {
	var f Faults
	for _, q := range f.freedoms() {
		*q = p
	}
	f.UnreadReset = 1
	return f
}

// Hostile returns every freedom at p and every error of a running driver at q.
func Hostile(p, q float64) Faults {
	f := Rough(p)
	for _, e := range f.errors() {
		*e = q
	}
	return f
}

// Swarm returns a mixture that depends on the seed: each freedom is off in one
// world of two, else rare or frequent; errors are off in one world of two
// altogether, and otherwise each as the freedoms but rarer. Worlds in which
// one thing is missing reach states that a uniform mixture does not.
func Swarm(seed uint64) Faults {
	r := rand.New(rand.NewPCG(seed, streamFaults))
	var f Faults
	for _, p := range f.freedoms() {
		*p = drawOdds(r, 0.5)
	}
	f.UnreadReset = float64(r.IntN(2))
	if r.IntN(2) == 0 {
		return f
	}
	for _, p := range f.errors() {
		*p = drawOdds(r, 0.1)
	}
	return f
}

// drawOdds returns 0, a rare or a frequent probability of at most limit.
func drawOdds(r *rand.Rand, limit float64) float64 {
	switch r.IntN(4) {
	case 0:
		return limit / 20
	case 1:
		return limit
	}
	return 0
}

// roll decides one chance. Nothing is drawn for what never or always happens.
func (w *World) roll(p float64) bool {
	if p <= 0 {
		return false
	}
	return p >= 1 || float64(w.pcg.Uint64()>>11)*(1.0/(1<<53)) < p
}

// below returns a number in [0, n), n > 0.
func (w *World) below(n int64) int64 { return int64(w.pcg.Uint64() % uint64(n)) }

// upTo returns a number in [1, n], n > 0, with 1, n/2 and n-1 more often than others.
func (w *World) upTo(n int64) int64 {
	switch w.below(5) {
	case 0:
		return 1
	case 1:
		return max(n/2, 1)
	case 2:
		return max(n-1, 1)
	}
	return 1 + w.below(n)
}

// coin decides between two equally good ways, of which a polite world always
// takes the first.
func (w *World) coin() bool { return w.rough && w.pcg.Uint64()&1 == 0 }

// pick returns one of the errors.
func (w *World) pick(es ...syscall.Errno) syscall.Errno { return es[w.below(int64(len(es)))] }

// fails counts one fallible call and decides whether it fails: the FailNth one
// does, or else the chance decides.
func (w *World) fails(k kind, p float64) bool {
	w.fallible++
	if w.cfg.FailNth > 0 {
		if w.fallible != w.cfg.FailNth {
			return false
		}
		w.failed = k
		w.note(kInjected, 0, int64(k), int64(w.fallible), 0, 0)
		return true
	}
	return w.roll(p)
}

// Fallible returns how many calls could have failed so far.
func (w *World) Fallible() int { return w.fallible }

// Injected returns the name of the call that FailNth made fail; it is empty
// if there were fewer than FailNth calls.
func (w *World) Injected() string {
	if w.failed == 0 {
		return ""
	}
	return w.failed.String()
}

// EachFailure runs a scenario with its first fallible call failing, then with
// its second, and so on until none failed, and returns how many runs had a
// failure. The scenario makes its world from the Config that it is given and
// returns it, or nil to end early.
func EachFailure(cfg Config, scenario func(Config) *World) int {
	for n := 1; ; n++ {
		cfg.FailNth = n
		w := scenario(cfg)
		if w == nil || w.Injected() == "" {
			return n - 1
		}
	}
}
