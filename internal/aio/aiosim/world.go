package aiosim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fserve/fserve/internal/aio"
)

const (
	// startTime is what the clock shows at first: not 0, so that code which
	// takes 0 for "unset" is right in a test for the right reason.
	startTime = int64(1e15)

	// firstFD is the number of the first virtual descriptor: above fs.nr_open
	// (1<<20 unless raised), so that a real system call on it gets EBADF.
	firstFD = int32(1 << 28)

	defaultMaxTime  = 24 * time.Hour
	defaultMaxCalls = 4 << 20
	defaultLogSize  = 300

	// Streams of random numbers that one seed is made into.
	streamWorld    = 1
	streamScenario = 2
	streamFaults   = 3
	streamContent  = 4
)

// Config says what world to make. The zero value is a polite world of seed 0.
type Config struct {
	// Seed decides everything that is random.
	Seed uint64

	// Faults says how often what goes other than hoped.
	Faults Faults

	// FailNth, if not 0, makes exactly the n-th fallible call fail, counted
	// from 1. The errors of Faults are off then; its freedoms stay.
	FailNth int

	// FailWaits counts Wait among the fallible calls of FailNth.
	FailWaits bool

	// MaxFDs bounds the virtual descriptors that are open at a time: beyond,
	// Accepted and OpenFile answer EMFILE. 0: no bound.
	MaxFDs int

	// CleanDestroy makes slots that are open when Destroy is called a leak.
	CleanDestroy bool

	// MaxTime is the virtual time after which a run is taken for stuck.
	// Default: 24 h.
	MaxTime time.Duration

	// MaxCalls is the number of calls of the driver after which a run is
	// taken for spinning. Default: 4 Mi.
	MaxCalls int

	// LogSize is how many lines of the log are kept. Default: 300.
	LogSize int

	// Panic makes a violation panic where it happens.
	Panic bool
}

func (c Config) withDefaults() Config {
	if c.MaxTime == 0 {
		c.MaxTime = defaultMaxTime
	}
	if c.MaxCalls == 0 {
		c.MaxCalls = defaultMaxCalls
	}
	if c.LogSize <= 0 {
		c.LogSize = defaultLogSize
	}
	if c.FailNth > 0 {
		c.Faults = c.Faults.withoutErrors()
	}
	return c
}

// World is everything that exists outside of the loop under test. See the
// package comment for which goroutine may use it when.
type World struct {
	cfg   Config
	rough bool // some freedom is taken: equally good ways are chosen between
	now   int64
	pcg   rand.PCG
	rnd   *rand.Rand
	drv   *driver

	timers timerHeap
	seq    uint64

	fds       []descriptor // by number - firstFD; never reused
	openFDs   int
	files     map[string]*File
	contents  uint64
	clients   []*Client
	listeners []*Listener

	undone   int
	whenDone func()

	leases      *Leases // nil: what is sent is a copy
	longestHeld int64

	onIdle   func() bool
	settling bool // in or after Settle

	arena   []byte
	scratch [2][]byte

	fallible int
	failed   kind

	log    []record
	logged int
	hash   uint64

	mu         sync.Mutex
	violations []string
	stack      []byte
	broken     atomic.Bool // there are violations
}

// New makes a world.
func New(cfg Config) *World {
	cfg = cfg.withDefaults()
	w := &World{cfg: cfg, now: startTime, rough: cfg.Faults != Faults{UnreadReset: cfg.Faults.UnreadReset}}
	w.pcg = *rand.NewPCG(cfg.Seed, streamWorld)
	w.hash = cfg.Seed
	w.log = make([]record, 0, min(cfg.LogSize, defaultLogSize))
	return w
}

// Seed returns the seed that the world was made from.
func (w *World) Seed() uint64 { return w.cfg.Seed }

// Rand returns random numbers for the scenario. They depend on the seed alone,
// not on what happens in the world.
func (w *World) Rand() *rand.Rand {
	if w.rnd == nil {
		w.rnd = rand.New(rand.NewPCG(w.cfg.Seed, streamScenario))
	}
	return w.rnd
}

// Now returns the virtual time in nanoseconds, as the driver's Now does.
func (w *World) Now() int64 { return w.now }

// Elapsed returns the virtual time since the world was made.
func (w *World) Elapsed() time.Duration { return time.Duration(w.now - startTime) }

// At calls f once d of virtual time has passed, on the driver's goroutine and
// inside Wait: other goroutines' doings, made deterministic. Functions of the same
// time are called in the order of their making; none is after Destroy.
func (w *World) At(d time.Duration, f func()) {
	w.after(int64(d), timer{kind: tFunc, fn: f})
}

// over reports whether the driver has come to its end, or was never made.
func (w *World) over() bool { return w.settling || w.drv != nil && w.drv.destroyed.Load() }

// WhenDone calls f once, inside Wait, when every client has come to its end:
// its script is over, and it has left or seen the connection end. That is so at
// once in a world without clients.
func (w *World) WhenDone(f func()) { w.whenDone = f }

// OnIdle sets what Wait does when it is to wait for ever and nothing will ever
// happen: it calls f and looks again if that returned true. Without f, or when
// it returns false, Wait fails with ErrIdle.
func (w *World) OnIdle(f func() bool) { w.onIdle = f }

// AwaitWake is for OnIdle, in tests that call the code under test from other
// goroutines too: it waits, in real time, until one of them calls Wake. It
// returns false after a minute. Such a run is not deterministic.
func (w *World) AwaitWake() bool {
	if w.drv.woken.Load() {
		return true
	}
	select {
	case <-w.drv.wake:
		return true
	case <-time.After(time.Minute):
		return false
	}
}

// ErrIdle is what Wait returns when nothing will ever happen. It is a
// violation too if a client has not come to its end.
var ErrIdle = errors.New("aiosim: nothing will ever happen")

// descriptor is one virtual descriptor.
type descriptor struct {
	owner fdOwner
	file  *File
	lent  *aio.File // that was pinned
	conn  *Client
	ln    *Listener
}

type fdOwner uint8

const (
	ownedByUser fdOwner = iota + 1
	ownedByDriver
	closedFD
)

// newFD gives a new descriptor to the user.
func (w *World) newFD(d descriptor) int32 {
	d.owner = ownedByUser
	w.fds = append(w.fds, d)
	w.openFDs++
	return firstFD + int32(len(w.fds)-1)
}

// fd returns an open descriptor, or nil.
func (w *World) fd(n int32) *descriptor {
	i := int(n) - int(firstFD)
	if i < 0 || i >= len(w.fds) || w.fds[i].owner == closedFD {
		return nil
	}
	return &w.fds[i]
}

func (w *World) full() bool { return w.cfg.MaxFDs > 0 && w.openFDs >= w.cfg.MaxFDs }

// release marks a descriptor closed.
func (w *World) release(d *descriptor) {
	d.owner = closedFD
	w.openFDs--
}

// CloseFD closes a virtual descriptor that the user of the driver owns: an
// accepted connection that was not opened, a listener that was not given to
// the driver, or a file.
func (w *World) CloseFD(n int32) {
	w.note(kCloseFD, 0, int64(n), 0, 0, 0)
	d := w.fd(n)
	switch {
	case d == nil:
		w.violate("close of descriptor %d, which is not open", n)
	case d.owner == ownedByDriver:
		w.violate("close of descriptor %d, which the driver owns", n)
	case d.file != nil:
		w.closeFile(n, d)
	default:
		w.release(d)
		if d.conn != nil {
			d.conn.serverClose(false)
		}
		if d.ln != nil {
			d.ln.close()
		}
	}
}

// CloseFile closes a descriptor of OpenFile. No blocked attempt may name it.
func (w *World) CloseFile(n int32) {
	if d := w.fd(n); d != nil && d.file == nil {
		w.violate("CloseFile of descriptor %d, which is no file", n)
		return
	}
	w.CloseFD(n)
}

func (w *World) closeFile(n int32, d *descriptor) {
	if s := w.drv.blockedOn(n); s != nil {
		w.violate("file %d closed while an attempt of slot %d is blocked on it", n, s.tok.Slot())
	}
	if d.lent != nil && d.lent.Pins > 0 && !w.over() {
		w.violate("file %d closed while %d operations name it", n, d.lent.Pins)
	}
	d.file.giveLease(n)
	w.release(d)
	d.file = nil
}

// OpenFile opens a file by name; the caller owns the descriptor and ends it
// with CloseFile. ENOENT: there is no such file. It counts as a fallible call.
func (w *World) OpenFile(name string) (int32, syscall.Errno) {
	if w.fails(kOpenFile, w.cfg.Faults.FileOpen) {
		return -1, w.pick(syscall.EMFILE, syscall.ENFILE, syscall.EACCES, syscall.EIO)
	}
	f := w.files[name]
	if f == nil {
		return -1, syscall.ENOENT
	}
	if w.full() {
		return -1, syscall.EMFILE
	}
	n := w.newFD(descriptor{file: f})
	w.note(kOpenFile, 0, int64(n), 0, 0, 0)
	return n, 0
}

// copyBytes returns a copy of p that lives as long as it is referred to.
func (w *World) copyBytes(p []byte) []byte {
	const block = 16 << 10
	if len(p) > block/4 {
		return append([]byte(nil), p...)
	}
	if len(w.arena)+len(p) > cap(w.arena) {
		w.arena = make([]byte, 0, block)
	}
	n := len(w.arena)
	w.arena = append(w.arena, p...)
	return w.arena[n:len(w.arena):len(w.arena)]
}

func (w *World) String() string {
	return fmt.Sprintf("world of seed %d at %v", w.cfg.Seed, w.Elapsed())
}
