package shape

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// ClientID names what is counted as one client: an address, a prefix of
// addresses, a user.
type ClientID string

// Config is what a [Shaper] begins with. The zero value limits nothing.
type Config struct {
	// Loops is the number of trees that share the limits. Default 1.
	Loops int

	// Global holds for everything together, Client for each client and Connection
	// for each connection.
	Global, Client, Connection Limit

	// Paths are the path classes. Their prefixes begin with a slash and differ.
	Paths []PathLimit

	// MaxClients bounds the clients that each tree remembers. It forgets those least
	// recently seen, but only clients that have their full burst again. If there are none
	// of these, new clients share one place and one limit. Default 100,000.
	MaxClients int

	// Changed is called after every change, on the goroutine that made it. It wakes the
	// loops, so that flows that wait feel the change, and must not call the Shaper.
	Changed func()
}

// PathLimit is a path class.
type PathLimit struct {
	Prefix string
	Limit
}

// ClientLimit is the limit of a client that differs from the default.
type ClientLimit struct {
	ID ClientID
	Limit
	Expires int64 // monotonic ns; 0: never
}

const defaultMaxClients = 100_000

// Shaper is what the event loops of a server share. Its methods are safe for
// concurrent use.
//
// A change is atomic for the node. Each tree notices it at its next call, which
// Config.Changed brings about. Tokens and debts are kept: a new limit gives nobody a
// new burst.
type Shaper struct {
	loops      int
	maxClients int
	changed    func()

	epoch  atomic.Uint64 // moves with every change
	active atomic.Bool
	// brought is set for good with the first limit that a response has brought: a later one that brings none ends it.
	brought atomic.Bool
	table   atomic.Pointer[classTable]
	pool    *pool // the global node's; nil with one loop

	mu                         sync.Mutex
	global, client, connection table    // client and connection: by default
	classes                    []*Class // by id; the first is the default
	overrides                  map[ClientID]override
	limitedClients             int // overrides that have a rate
	shares                     map[ClientID]Rate
	shared                     map[ClientID]*shared
	changes                    changes
}

// changes tells a tree what has changed since the epoch that it knows. Guarded by
// Shaper.mu.
type changes struct {
	nodes      uint64 // epoch of the last change that is not in the log
	clients    uint64 // of the last change of the client default
	connection uint64 // of the last change of the connection default
	log        []change
	dropped    uint64 // epoch of the last entry that the log has lost
}

// change is a change of one node.
type change struct {
	epoch  uint64
	level  Level    // LevelGlobal, LevelPath or LevelClient
	class  *Class   // of LevelPath
	client ClientID // of LevelClient
}

// maxLog bounds the log of changes. A tree that has missed more looks at all nodes.
const maxLog = 256

// note adds a change of one node to the log.
func (c *changes) note(epoch uint64, ch change) {
	if len(c.log) == maxLog {
		c.dropped = c.log[maxLog/2-1].epoch
		c.log = slices.Delete(c.log, 0, maxLog/2)
	}
	ch.epoch = epoch
	c.log = append(c.log, ch)
}

type override struct {
	*Limit
	expires int64
}

// New returns a Shaper, or an error that names the field at fault.
func New(cfg Config) (*Shaper, error) {
	s := &Shaper{
		loops:      max(cfg.Loops, 1),
		maxClients: cfg.MaxClients,
		changed:    cfg.Changed,
		overrides:  make(map[ClientID]override),
		shares:     make(map[ClientID]Rate),
		shared:     make(map[ClientID]*shared),
	}
	switch {
	case cfg.Loops < 0:
		return nil, errors.New("shape: Loops is negative")
	case cfg.MaxClients < 0:
		return nil, errors.New("shape: MaxClients is negative")
	case cfg.MaxClients == 0:
		s.maxClients = defaultMaxClients
	}
	s.pool = s.newPool()
	s.classes = []*Class{s.newClass("", 0)}
	s.publish(&s.changes.nodes)
	if _, err := s.SetGlobal(cfg.Global); err != nil {
		return nil, err
	}
	if _, err := s.SetClientDefault(cfg.Client); err != nil {
		return nil, err
	}
	if _, err := s.SetConnectionDefault(cfg.Connection); err != nil {
		return nil, err
	}
	for _, p := range cfg.Paths {
		switch _, existed, err := s.SetPath(p.Prefix, p.Limit); {
		case err != nil:
			return nil, err
		case existed:
			return nil, fmt.Errorf("shape: path %s is there twice", p.Prefix)
		}
	}
	return s, nil
}

// newPool returns the shared part of a node; nil: there is one loop.
func (s *Shaper) newPool() *pool {
	if s.loops == 1 {
		return nil
	}
	return new(pool)
}

func (s *Shaper) newClass(prefix string, id int) *Class {
	return &Class{prefix: prefix, id: id, pool: s.newPool(), guarantee: s.newPool()}
}

// publish makes a change known to the trees, and notes its epoch in changed. The caller
// holds mu, or is New.
func (s *Shaper) publish(changed *uint64) {
	s.table.Store(newClassTable(s.classes))
	*changed = s.epoch.Load() + 1
	s.changes.nodes = *changed
	s.moveOn()
}

// publishClient makes a change of one client known to the trees.
func (s *Shaper) publishClient(id ClientID) {
	s.changes.note(s.epoch.Load()+1, change{level: LevelClient, client: id})
	s.moveOn()
}

func (s *Shaper) moveOn() {
	active := s.global.limits() || s.client.limits() || s.connection.limits() || s.limitedClients+len(s.shares) > 0
	for _, c := range s.classes {
		active = active || c.table.limits() || c.table.configured().within()
	}
	s.active.Store(active)
	s.epoch.Add(1)
	if s.changed != nil {
		s.changed()
	}
}

// Active reports whether there is a limit anywhere, or was one that a response has brought. Without one, only responses
// with a limit of their own ([Tree.SetLimit]) need to take what they send.
func (s *Shaper) Active() bool { return s.active.Load() || s.brought.Load() }

// Epoch moves with every change.
func (s *Shaper) Epoch() uint64 { return s.epoch.Load() }

// SetGlobal sets the limit for everything together.
func (s *Shaper) SetGlobal(l Limit) (was Limit, err error) {
	return s.set(&s.global, &s.changes.nodes, l, LevelGlobal)
}

// SetClientDefault sets the limit of each client that has none of its own.
func (s *Shaper) SetClientDefault(l Limit) (was Limit, err error) {
	return s.set(&s.client, &s.changes.clients, l, LevelClient)
}

// SetConnectionDefault sets the limit of each connection.
func (s *Shaper) SetConnectionDefault(l Limit) (was Limit, err error) {
	return s.set(&s.connection, &s.changes.connection, l, LevelConnection)
}

func (s *Shaper) set(o *table, changed *uint64, l Limit, level Level) (was Limit, err error) {
	if err := l.ValidateAt(level); err != nil {
		return Limit{}, fmt.Errorf("shape: %v limit: %w", level, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	was, o.limit = *o.configured(), &l
	s.publish(changed)
	return was, nil
}

// SetPath sets the limit of a path class, or makes the class.
func (s *Shaper) SetPath(prefix string, l Limit) (was Limit, existed bool, err error) {
	if err := CheckPrefix(prefix); err != nil {
		return Limit{}, false, fmt.Errorf("shape: path %q: %w", prefix, err)
	}
	if err := l.ValidateAt(LevelPath); err != nil {
		return Limit{}, false, fmt.Errorf("shape: limit of %s: %w", prefix, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.findClass(prefix)
	if c == nil {
		if c = s.addClass(prefix); c == nil {
			return Limit{}, false, fmt.Errorf("shape: more than %d path classes", maxClasses-1)
		}
	}
	was, existed = *c.table.configured(), !c.removed.Load()
	c.table.limit = &l
	c.removed.Store(false)
	s.publish(&s.changes.nodes)
	return was, existed, nil
}

// RemovePath removes a path class. Its responses under way go on without a limit of their
// path; new responses are of the class that then matches. A class that is made again is a new
// one: it has its first burst.
func (s *Shaper) RemovePath(prefix string) (was Limit, existed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.classOf(prefix)
	if c == nil {
		return Limit{}, false
	}
	was = *c.table.configured()
	c.table = table{}
	c.removed.Store(true)
	s.publish(&s.changes.nodes)
	return was, true
}

// addClass makes a class that does not count yet, in the place of one that no tree knows
// any more or behind the others; nil: there is no place. The caller holds mu.
func (s *Shaper) addClass(prefix string) *Class {
	id := slices.IndexFunc(s.classes, func(c *Class) bool { return c.removed.Load() && c.trees == 0 })
	if id < 0 {
		if id = len(s.classes); id == maxClasses {
			return nil
		}
		s.classes = append(s.classes, nil)
	}
	c := s.newClass(prefix, id)
	c.removed.Store(true)
	s.classes[id] = c
	return c
}

func (s *Shaper) findClass(prefix string) *Class {
	for _, c := range s.classes {
		if c.prefix == prefix {
			return c
		}
	}
	return nil
}

// classOf returns the class of a prefix that is configured; nil: there is none. The
// caller holds mu.
func (s *Shaper) classOf(prefix string) *Class {
	if c := s.findClass(prefix); c != nil && !c.removed.Load() && c.id > 0 {
		return c
	}
	return nil
}

// at returns what is said, with its epoch. The caller holds mu.
func (s *Shaper) at(t table) table {
	t.epoch = s.epoch.Load()
	return t
}

// classTable returns what is said about a class.
func (s *Shaper) classTable(c *Class) table {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(c.table)
}

// SetClient gives a client a limit of its own in place of the default, until the
// instant expires (monotonic ns; 0: for ever).
func (s *Shaper) SetClient(id ClientID, l Limit, expires int64) (was Limit, overridden bool, err error) {
	if id == "" {
		return Limit{}, false, errors.New("shape: client without a name")
	}
	if err := l.ValidateAt(LevelClient); err != nil {
		return Limit{}, false, fmt.Errorf("shape: limit of client %s: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	was, overridden = s.limitOf(id)
	s.dropOverride(id)
	s.overrides[id] = override{&l, expires}
	if l.limits() {
		s.limitedClients++
	}
	s.publishClient(id)
	return was, overridden, nil
}

// RemoveClient restores the default limit of a client.
func (s *Shaper) RemoveClient(id ClientID) (was Limit, overridden bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was, overridden = s.limitOf(id)
	if overridden {
		s.dropOverride(id)
		s.publishClient(id)
	}
	return was, overridden
}

// dropOverride removes an override, if there is one. The caller holds mu.
func (s *Shaper) dropOverride(id ClientID) {
	if o, ok := s.overrides[id]; ok && o.limits() {
		s.limitedClients--
	}
	delete(s.overrides, id)
}

// limitOf returns what is configured for a client. The caller holds mu.
func (s *Shaper) limitOf(id ClientID) (l Limit, overridden bool) {
	t, _ := s.clientTable(id)
	return *t.configured(), t.first == RowOverride
}

// clientTable returns what is said about a client, and when its override ends; 0: never. The
// caller holds mu.
func (s *Shaper) clientTable(id ClientID) (t table, expires int64) {
	t = s.at(s.client)
	if o, ok := s.overrides[id]; ok {
		t.limit, t.first, expires = o.Limit, RowOverride, o.expires
	}
	t.share = s.shares[id]
	return t, expires
}

// expire removes the override of a client if it has ended.
func (s *Shaper) expire(id ClientID, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.overrides[id]; ok && o.ended(now) {
		s.dropOverride(id)
		s.publishClient(id)
	}
}

func (o override) ended(now int64) bool { return o.expires != 0 && now >= o.expires }

// Expire removes the overrides that have ended, of clients that are not served. The trees
// end those of clients that are.
func (s *Shaper) Expire(now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, o := range s.overrides {
		if o.ended(now) {
			s.dropOverride(id)
			s.publishClient(id)
		}
	}
}

// Limits is everything that is configured: limits, without caps and shares.
type Limits struct {
	Global, Client, Connection Limit
	Paths                      []PathLimit   // by prefix
	Clients                    []ClientLimit // by ID
}

// Limits returns what is configured.
func (s *Shaper) Limits() Limits {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := Limits{Global: *s.global.configured(), Client: *s.client.configured(), Connection: *s.connection.configured()}
	for _, c := range s.classes[1:] {
		if !c.removed.Load() {
			l.Paths = append(l.Paths, PathLimit{c.prefix, *c.table.configured()})
		}
	}
	for id, o := range s.overrides {
		l.Clients = append(l.Clients, ClientLimit{id, *o.Limit, o.expires})
	}
	slices.SortFunc(l.Paths, func(a, b PathLimit) int { return cmp.Compare(a.Prefix, b.Prefix) })
	slices.SortFunc(l.Clients, func(a, b ClientLimit) int { return cmp.Compare(a.ID, b.ID) })
	return l
}

// ClientLimit returns the limit of a client, and whether it is its own.
func (s *Shaper) ClientLimit(id ClientID) (l Limit, overridden bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limitOf(id)
}

// Overrides returns how many clients have a limit of their own.
func (s *Shaper) Overrides() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.overrides)
}

// shared is what several loops know in common about a client.
type shared struct {
	id    ClientID
	loops atomic.Int64 // on which it has to wait
	refs  int          // trees that know it; guarded by Shaper.mu
	pool  *pool        // nil until the client has a limit; likewise

	within map[*Class]*sharedPool // likewise
}

// attach returns the shared record of a client, for one more tree.
func (s *Shaper) attach(id ClientID) *shared {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.shared[id]
	if sh == nil {
		sh = &shared{id: id}
		s.shared[id] = sh
	}
	sh.refs++
	return sh
}

// poolOf returns the pool of a client.
func (s *Shaper) poolOf(sh *shared) *pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh.pool == nil {
		sh.pool = new(pool)
	}
	return sh.pool
}

// detach drops the record if no tree knows it any more.
func (s *Shaper) detach(sh *shared, loop int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh.pool != nil {
		sh.pool.forget(loop)
	}
	if sh.refs--; sh.refs == 0 {
		delete(s.shared, sh.id)
	}
}
