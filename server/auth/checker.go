package auth

import (
	"net/netip"
	"runtime"
	"slices"
	"sync"

	"github.com/fserve/fserve/engine/peer"
)

const (
	// maxWaiting bounds the requests that wait for a check, and maxOfClient the different
	// credentials of one client among them.
	maxWaiting  = 512
	maxOfClient = 8
)

// Result is how a check has ended.
type Result uint8

const (
	Wrong Result = iota
	Right
	// Crowded: too many wait already.
	Crowded
	// Insistent: too many different credentials of this client wait already.
	Insistent
	// Unknown: what a check needs cannot be had now.
	Unknown
)

// Checker checks passwords and tokens on goroutines, a few at a time, so that neither event loops nor the
// machine are busy with nothing else. Requests with the same credentials wait for one check. It
// is safe for concurrent use; the zero value is ready.
type Checker struct {
	mu       sync.Mutex
	running  int
	queue    []*check // those that nobody works at yet
	pending  map[Proof]*check
	ofClient map[string]int // checks that wait or run, by the name that peer has for a client
	waiting  int            // requests
}

// check is one check.
type check struct {
	proof  Proof
	client string
	run    func() Result
	done   []func(Result)
}

// workers is how many checks run at a time: they take all of a processor for their time.
func workers() int { return max(1, runtime.NumCPU()/4) }

// Check checks credentials of a client. done is called once, on another goroutine or before
// Check returns.
func (c *Checker) Check(u *Users, cred *Credentials, client netip.Addr, done func(Result)) {
	user, password := string(cred.User), slices.Clone(cred.Password)
	c.do(cred.Proof(u), client, func() Result {
		defer clear(password)
		if u.check(user, password) {
			return Right
		}
		return Wrong
	}, done)
}

// do has run called on another goroutine, once for all who ask for the same proof meanwhile.
func (c *Checker) do(p Proof, client netip.Addr, run func() Result, done func(Result)) {
	if r, refused := c.add(p, client, run, done); refused {
		done(r)
	}
}

func (c *Checker) add(p Proof, client netip.Addr, run func() Result, done func(Result)) (Result, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	same, name := c.pending[p], string(peer.AppendClient(nil, client, true))
	switch {
	case c.waiting >= maxWaiting:
		return Crowded, true
	case same != nil:
		same.done = append(same.done, done)
		c.waiting++
		return 0, false
	case c.ofClient[name] >= maxOfClient:
		return Insistent, true
	}
	if c.pending == nil {
		c.pending, c.ofClient = make(map[Proof]*check), make(map[string]int)
	}
	k := &check{proof: p, client: name, run: run, done: []func(Result){done}}
	c.pending[p] = k
	c.ofClient[name]++
	c.waiting++
	c.queue = append(c.queue, k)
	if c.running < workers() {
		c.running++
		go c.work()
	}
	return 0, false
}

// work checks until nothing is left.
func (c *Checker) work() {
	for {
		c.mu.Lock()
		if len(c.queue) == 0 {
			c.running--
			c.queue = nil
			c.mu.Unlock()
			return
		}
		k := c.queue[0]
		c.queue[0] = nil
		c.queue = c.queue[1:]
		c.mu.Unlock()
		r := k.run()
		for _, done := range c.finish(k) {
			done(r)
		}
	}
}

// finish returns those who wait for k.
func (c *Checker) finish(k *check) []func(Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, k.proof)
	if c.ofClient[k.client]--; c.ofClient[k.client] == 0 {
		delete(c.ofClient, k.client)
	}
	c.waiting -= len(k.done)
	return k.done
}
