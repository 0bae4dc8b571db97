// Package measure finds rates: it asks the kernel about connections while they send,
// brings what it hears to a controller for each client and path class (package adapt),
// and applies the rates that these find to the tree of limits (package shape) and to the
// pacing of the sockets.
//
// An Adaptation is one for all loops; each loop has a Sampler.
package measure

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fserve/fserve/engine/adapt"
	"github.com/fserve/fserve/engine/shape"
)

// Config says whose rates are found by what the kernel measures. The zero
// value finds none.
type Config struct {
	// Client finds the rate of each client over all its connections. nil: it
	// is not done.
	Client *adapt.Policy
	// Paths find the rates of path classes, each as a whole, by prefix.
	Paths map[string]*adapt.Policy
}

func (c *Config) on() bool { return c.Client != nil || len(c.Paths) > 0 }

// Event is something that adaptation wants an operator to know.
type Event struct {
	Level shape.Level // LevelClient or LevelPath
	Name  string      // of the client, or the prefix
	adapt.Event
}

const (
	// fastPeriod is the time between two samples of a busy connection, slowPeriod
	// with more than manyMeters of them: TCP_INFO costs about a microsecond.
	fastPeriod = int64(100 * time.Millisecond)
	slowPeriod = int64(250 * time.Millisecond)
	manyMeters = 4000

	// maxClients bounds the clients whose controllers are kept, a KiB each.
	maxClients = 100_000
	// memory is how long what was learned of a client that is away is kept.
	memory = int64(10 * time.Minute)
	// forgetProbes bounds the search for a client that can be forgotten.
	forgetProbes = 16
)

// SampleEvery is what adapt.Config.SampleEvery must be for the engine's
// pace: a little less than the time between two samples, so that none of
// them falls into the round before by coming a few ms early.
const SampleEvery = time.Duration(fastPeriod) * 9 / 10

// Adaptation finds rates: it owns the controllers of clients and path classes. The
// loops bring samples and take targets. Its methods are safe for concurrent use.
type Adaptation struct {
	event  func(Event) // nil: nobody wants to know
	on     atomic.Bool
	period atomic.Int64 // ns
	taps   atomic.Int64 // connections that are sampled

	cfg atomic.Pointer[Config]

	mu      sync.Mutex // before that of a node
	clients map[shape.ClientID]*node
	paths   map[string]*node
	gone    adapt.Counters // of those that were forgotten
	crowded uint64
}

// New returns an Adaptation by a Config. event is told what an operator should know;
// it is called on the loops and must not block. nil: nobody is.
func New(cfg Config, event func(Event)) *Adaptation {
	a := &Adaptation{event: event, clients: make(map[shape.ClientID]*node), paths: make(map[string]*node)}
	a.period.Store(fastPeriod)
	a.cfg.Store(&cfg)
	a.on.Store(cfg.on())
	return a
}

// Configure replaces the policies while responses are under way. What was learned
// is kept; bounds that were set for one client stay. Loops notice at their next
// samples.
func (a *Adaptation) Configure(cfg Config) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cfg.Store(&cfg)
	a.on.Store(cfg.on())
	for _, n := range a.clients {
		n.setPolicy(cfg.Client)
	}
	for prefix, n := range a.paths {
		n.setPolicy(cfg.Paths[prefix])
	}
}

// On reports whether any rate is to be found.
func (a *Adaptation) On() bool { return a.on.Load() }

// FindsClients reports whether those of clients are.
func (a *Adaptation) FindsClients() bool { return a.cfg.Load().Client != nil }

var (
	// ErrNotAdapted is returned for what is not adapted.
	ErrNotAdapted = errors.New("engine: its rate is not adapted")
	// ErrCrowded is returned when there are too many clients.
	ErrCrowded = errors.New("engine: too many clients are known")
)

// Steer is a change that is made to a client's or a path class's adaptation from
// outside. Members that are 0 change nothing.
type Steer struct {
	Target, Floor, Ceiling int64 // bytes per second
}

// SteerClient moves target, floor and ceiling of a client, also of one that is not
// there yet. It returns the state before and after. Bounds that are set so hold until they are
// set anew; a target is where the loops go on from.
func (a *Adaptation) SteerClient(id shape.ClientID, s Steer) (was, is adapt.State, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cfg.Load().Client == nil {
		return was, is, ErrNotAdapted
	}
	n := a.client(id, 0)
	if n == nil {
		return was, is, ErrCrowded
	}
	return n.steer(s)
}

// SteerPath is SteerClient for a path class.
func (a *Adaptation) SteerPath(prefix string, s Steer) (was, is adapt.State, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.path(prefix)
	if n == nil {
		return was, is, ErrNotAdapted
	}
	return n.steer(s)
}

// client returns the node of a client; nil: there is no room for it. The caller holds mu.
func (a *Adaptation) client(id shape.ClientID, now int64) *node {
	if n := a.clients[id]; n != nil {
		return n
	}
	if len(a.clients) >= maxClients && !a.forget(now, 0) {
		a.crowded++
		return nil
	}
	n := newNode(a, shape.LevelClient, string(id), a.cfg.Load().Client)
	a.clients[id] = n
	return n
}

// path returns the node of a path class; nil: it is not adapted. The caller holds mu.
func (a *Adaptation) path(prefix string) *node {
	n := a.paths[prefix]
	if n == nil && a.cfg.Load().Paths[prefix] != nil {
		n = newNode(a, shape.LevelPath, prefix, a.cfg.Load().Paths[prefix])
		a.paths[prefix] = n
	}
	return n
}

// forget drops clients among a few that have been away for so long and whom it
// does not let out. The caller holds mu.
func (a *Adaptation) forget(now, away int64) (some bool) {
	probes := 0
	for id, n := range a.clients { // begins anywhere
		if n.forgettable(now, away) {
			a.gone = addCounters(a.gone, n.ctl.State().Counters)
			delete(a.clients, id)
			some = true
		}
		if probes++; probes == forgetProbes {
			break
		}
	}
	return some
}

// enterClient counts a loop that serves a client and returns its node.
func (a *Adaptation) enterClient(id shape.ClientID, now int64) *node {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.client(id, now)
	if n != nil {
		n.attach(now)
	}
	return n
}

// enterPath is enterClient for a path class.
func (a *Adaptation) enterPath(prefix string, now int64) *node {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.path(prefix)
	if n != nil {
		n.attach(now)
	}
	return n
}

// count notes that connections have come or gone, and sets the pace by how many there are.
func (a *Adaptation) count(d int64) {
	n := a.taps.Add(d)
	period := fastPeriod
	if n > manyMeters {
		period = slowPeriod
	}
	if a.period.Load() != period {
		a.period.Store(period)
	}
}

// State is what is known of a client or a path class.
type State struct {
	Name    string
	Conns   int  // connections that were sampled last
	Steered bool // has bounds of its own
	adapt.State
}

// Report is what adaptation is doing.
type Report struct {
	Clients []State // the busiest first, those in trouble before them
	Paths   []State // by prefix
	Known   int     // clients

	Stages  [adapt.NumStages]int // clients by the stage of their breaker
	Total   adapt.Counters       // of all clients and path classes, also forgotten ones
	Crowded uint64               // clients that found no room, and keep to the start rate
	Taps    int                  // connections that are sampled
	Period  time.Duration        // between two samples of one of them
}

// Report returns what adaptation is doing, of clients those that are steered or in trouble and at
// most busiest others.
func (a *Adaptation) Report(busiest int) Report {
	a.mu.Lock()
	r := Report{
		Known: len(a.clients), Total: a.gone, Crowded: a.crowded,
		Taps: int(a.taps.Load()), Period: time.Duration(a.period.Load()),
	}
	nodes := make([]*node, 0, len(a.clients)+len(a.paths))
	for _, n := range a.clients {
		nodes = append(nodes, n)
	}
	for _, n := range a.paths {
		nodes = append(nodes, n)
	}
	a.mu.Unlock()
	for _, n := range nodes {
		s := n.report()
		r.Total = addCounters(r.Total, s.Counters)
		if n.level == shape.LevelPath {
			r.Paths = append(r.Paths, s)
			continue
		}
		r.Stages[s.Stage]++
		r.Clients = append(r.Clients, s)
	}
	slices.SortFunc(r.Paths, func(a, b State) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(r.Clients, func(a, b State) int {
		return cmp.Or(cmp.Compare(b.urgency(), a.urgency()), cmp.Compare(b.Used, a.Used), cmp.Compare(a.Name, b.Name))
	})
	urgent := 0
	for urgent < len(r.Clients) && r.Clients[urgent].urgency() > 0 {
		urgent++
	}
	r.Clients = r.Clients[:min(urgent+busiest, len(r.Clients))]
	return r
}

func (s *State) urgency() int {
	switch {
	case s.Stage != adapt.Closed:
		return 2
	case s.Steered:
		return 1
	}
	return 0
}

// Client returns the state of one client; ok is false if it is not known.
func (a *Adaptation) Client(id shape.ClientID) (s State, ok bool) {
	a.mu.Lock()
	n := a.clients[id]
	a.mu.Unlock()
	if n == nil {
		return s, false
	}
	return n.report(), true
}

func addCounters(a, b adapt.Counters) adapt.Counters {
	for i := range a.Cuts {
		a.Cuts[i] += b.Cuts[i]
	}
	a.Raises += b.Raises
	a.Lowers += b.Lowers
	a.Follows += b.Follows
	a.TakenBack += b.TakenBack
	a.Undone += b.Undone
	a.Tripped += b.Tripped
	a.Frozen += b.Frozen
	a.Measured += b.Measured
	a.Bounds += b.Bounds
	a.Rejected += b.Rejected
	a.Discarded += b.Discarded
	a.Delayed += b.Delayed
	return a
}
