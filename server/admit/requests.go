package admit

import (
	"errors"
	"hash/maphash"
	"math"
	"sync/atomic"
	"time"
)

// A Rate is how many requests of one client are answered. It is GCRA (ITU-T I.371): a request
// has a debt of Per/Requests, which time pays, and is refused while the debts are more than
// Burst of them.
type Rate struct {
	Requests int64         // at least 1
	Per      time.Duration // for so many
	Burst    int64         // how many may come at once; 0: 1
}

var errRate = errors.New("a rate of requests is at least one, of at most a thousand million a second, and at most as many at once in ten years")

// Validate returns an error unless the rate can be kept.
func (r *Rate) Validate() error {
	if r.Requests < 1 || r.Per < 1 || r.Burst < 0 || int64(r.Per) < r.Requests {
		return errRate
	}
	if r.interval() > math.MaxInt64/32/max(r.Burst, 1) {
		return errRate
	}
	return nil
}

// interval is the debt of one request, in ns.
func (r *Rate) interval() int64 { return int64(r.Per) / r.Requests }

// Rule is a Rate in force, for all clients each. It is safe for concurrent use.
type Rule struct {
	Rate
	id       uint64
	interval int64
	burst    int64        // ns of debt with which a request is still answered
	overflow atomic.Int64 // when the debt of all is paid who found no slot
}

// Rule returns the rule of a name for a rate that is valid. The debts of clients are those of the
// name, and stay when it gets another rate.
func (t *Table) Rule(name string, r Rate) *Rule {
	i := r.interval()
	return &Rule{Rate: r, id: maphash.String(t.seed, name), interval: i, burst: (max(r.Burst, 1) - 1) * i}
}

// Key is a client as a Rule counts it.
type Key uint64

// Table has the debts of the clients of all rules, for all loops: no lock, no allocation, a
// cache line or two. A slot is given to another key only when its debt is paid, so what is
// forgotten changes no decision: a flood of clients lets nobody have more than the rate. Who
// finds no slot shares one with all who find none, and is limited harder. It is safe for
// concurrent use.
type Table struct {
	seed      maphash.Seed
	mask      uint64
	sets      [][ways]debt
	claiming  atomic.Int64 // calls that look for a slot for a key that has none
	overflows atomic.Uint64
}

// ways is how many slots a set has, which is a cache line. Each key may be in two.
const ways = 4

type debt struct {
	key  atomic.Uint64 // 0: of nobody
	paid atomic.Int64  // when, in monotonic ns
}

// NewTable returns a table with at least so many slots, of 16 bytes. Twice as many as clients
// have debts at a time leave hardly anybody without.
func NewTable(slots int) *Table {
	n := 1
	for n*ways < slots {
		n *= 2
	}
	return &Table{seed: maphash.MakeSeed(), mask: uint64(n - 1), sets: make([][ways]debt, n)}
}

// Overflows is how many requests found no slot.
func (t *Table) Overflows() uint64 { return t.overflows.Load() }

// Key returns the key of a name.
func (t *Table) Key(r *Rule, name []byte) Key {
	h := maphash.Bytes(t.seed, name) ^ r.id
	return Key(max(h, 1))
}

// Take takes one request of a client, at a monotonic time in ns. If it is refused, wait is
// how many ns later one will not be, if no other comes meanwhile; else how many ns later it has no debts.
func (t *Table) Take(r *Rule, k Key, now int64) (wait int64, ok bool) {
	for {
		d := t.find(k, now)
		if d == nil {
			t.overflows.Add(1)
			return r.take(&r.overflow, now)
		}
		wait, ok = r.take(&d.paid, now)
		// Another loop may have taken another slot for the same key, or this one for
		// another. Of two that look after they have taken, one sees the other; while nobody
		// is claiming there is no other.
		if t.claiming.Load() != 0 && !t.alone(k, d) {
			continue
		}
		if d.key.Load() == uint64(k) {
			return wait, ok
		}
	}
}

func (r *Rule) take(paid *atomic.Int64, now int64) (wait int64, ok bool) {
	for {
		was := paid.Load()
		owed := max(was-now, 0)
		if owed > r.burst {
			return owed - r.burst, false
		}
		if paid.CompareAndSwap(was, now+owed+r.interval) {
			return owed + r.interval, true
		}
	}
}

// Owe adds the debts of n requests to those of a client, whatever it owes already: up to n more than
// with which it is still answered.
func (t *Table) Owe(r *Rule, k Key, n, now int64) {
	paid := &r.overflow
	if d := t.find(k, now); d != nil {
		paid = &d.paid
	}
	for {
		was := paid.Load()
		owed := min(max(was-now, 0), r.burst+r.interval) + n*r.interval
		if paid.CompareAndSwap(was, now+owed) {
			return
		}
	}
}

// left returns how many more requests are answered of a client with a debt, in ns.
func (r *Rule) left(debt int64) int64 { return max(0, (r.burst+r.interval-debt)/r.interval) }

// GiveBack takes back a request that was taken and, for another reason, is not answered.
func (t *Table) GiveBack(r *Rule, k Key) {
	if d, _ := t.look(k, math.MinInt64); d != nil {
		d.paid.Add(-r.interval)
		return
	}
	r.overflow.Add(-r.interval)
}

// find returns the slot of a key, one that is free if it has none; nil: there is none.
func (t *Table) find(k Key, now int64) *debt {
	if mine, _ := t.look(k, now); mine != nil {
		return mine
	}
	t.claiming.Add(1)
	defer t.claiming.Add(-1)
	return t.claim(k, now)
}

// claim is find for a key that had no slot.
func (t *Table) claim(k Key, now int64) *debt {
	for {
		mine, free := t.look(k, now)
		if mine != nil || free == nil {
			return mine
		}
		was := free.key.Load()
		if was != 0 && free.paid.Load() > now || !free.key.CompareAndSwap(was, uint64(k)) {
			continue // somebody was quicker
		}
		if t.alone(k, free) {
			return free
		}
		free.key.CompareAndSwap(uint64(k), 0)
	}
}

// look returns the slot of a key, and the one that is free for the longest: in its first set while that has room for
// two, so that mostly one cache line is looked at, else in the emptier one of its two.
func (t *Table) look(k Key, now int64) (mine, free *debt) {
	most := 0
	for _, set := range t.both(k) {
		var found *debt
		n, oldest := 0, int64(math.MaxInt64)
		for i := range set {
			d := &set[i]
			key := d.key.Load()
			if key == uint64(k) {
				return d, nil
			}
			paid := d.paid.Load()
			if key == 0 {
				paid = math.MinInt64
			}
			if paid <= now {
				n++
				if paid < oldest {
					found, oldest = d, paid
				}
			}
		}
		if n > most && most < 2 {
			free, most = found, n
		}
	}
	return nil, free
}

// alone reports whether no other slot has the key of one.
func (t *Table) alone(k Key, mine *debt) bool {
	for _, set := range t.both(k) {
		for i := range set {
			if d := &set[i]; d != mine && d.key.Load() == uint64(k) {
				return false
			}
		}
	}
	return true
}

func (t *Table) both(k Key) [2]*[ways]debt {
	return [2]*[ways]debt{&t.sets[uint64(k)&t.mask], &t.sets[(uint64(k)>>32^uint64(k)*0x9e3779b97f4a7c15>>40)&t.mask]}
}
