// Package quota counts what users have downloaded in a day or a month, and keeps it in files, so that a
// server that starts anew goes on with it.
package quota

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// seed is that of the hashes by which accounts are found.
var seed = maphash.MakeSeed()

// Book has the accounts of all users. It is safe for concurrent use, and does no I/O but in Open, Sync and
// Close. The zero value keeps nothing.
type Book struct {
	shards  [64]shard
	refused atomic.Uint64
	files   files
}

type shard struct {
	mu       sync.Mutex
	accounts map[id]*Account
}

// id is whose account it is, in a period.
type id struct {
	name   string
	period Period
}

// Account is what one user may have in one period. Its methods do not allocate, take no lock and are safe
// for concurrent use.
//
// It is the seam to what else may hand out bytes: whoever grants them to this process in blocks raises
// granted; a Book grants everything at once.
type Account struct {
	id
	used atomic.Int64 // bytes, taken blocks included

	// Under the lock of files, of used: what the own file says, and what those of others do.
	kept, foreign int64
}

// Used returns how many bytes were sent, as far as blocks that are in use tell.
func (a *Account) Used() int64 { return max(0, a.used.Load()) } // blocks are given back to what Set has said

// Left returns how many bytes of most are left.
func (a *Account) Left(most int64) int64 { return max(0, most-a.used.Load()) }

const (
	// least and largest bound a block, in bytes: what a response takes of an account at a time.
	least, largest = 64 << 10, 4 << 20
	// blocks is of how many blocks of a response what is left is, as long as it is much.
	blocks = 16
)

// take takes a block; 0: nothing is left of most.
func (a *Account) take(most int64) int64 {
	for {
		was := a.used.Load()
		left := most - was
		if left <= 0 {
			return 0
		}
		n := min(left, max(least, min(largest, left/blocks)))
		if a.used.CompareAndSwap(was, was+n) {
			return n
		}
	}
}

// Of returns the account of a name in a period; it is made if there is none.
func (b *Book) Of(name []byte, p Period) *Account {
	s := &b.shards[maphash.Bytes(seed, name)%uint64(len(b.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[id{string(name), p}] // without a copy of the name
	if a == nil {
		a = &Account{id: id{string(name), p}}
		if s.accounts == nil {
			s.accounts = make(map[id]*Account)
		}
		s.accounts[a.id] = a
	}
	return a
}

// Named returns the accounts of a name whose periods have not ended at now, in Unix seconds. It looks at many
// others.
func (b *Book) Named(name string, now int64) (list []*Account) {
	s := &b.shards[maphash.String(seed, name)%uint64(len(b.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, a := range s.accounts {
		if id.name == name && id.period.Ends() > now {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b *Account) int { return cmp.Compare(a.Ends(), b.Ends()) })
	return list
}

// Refuse counts a request that was refused for its quota.
func (b *Book) Refuse() { b.refused.Add(1) }

// Refused returns how many there were.
func (b *Book) Refused() uint64 { return b.refused.Load() }

// What the names of accounts begin with.
const (
	OfUser    = "user "
	OfAddress = "address "
	OfLink    = "link "
)

// Kind returns of which length its period is.
func (a *Account) Kind() Kind { return a.period.Kind }

// Ends returns when the period of the account ends, in Unix seconds.
func (a *Account) Ends() int64 { return a.period.Ends() }

// Set says what an account has used.
func (a *Account) Set(bytes int64) { a.used.Store(bytes) }

// Accounts returns how many users and links are counted, each of them in each period.
func (b *Book) Accounts() (n int) {
	b.each(func(*Account) bool { n++; return true })
	return n
}

// each calls f with every account. No account is made or forgotten meanwhile in its shard.
func (b *Book) each(f func(*Account) (keep bool)) {
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		for id, a := range s.accounts {
			if !f(a) {
				delete(s.accounts, id)
			}
		}
		s.mu.Unlock()
	}
}

// Period is a day or a month of UTC, or the life of something that ends: its kind and number.
type Period struct {
	Kind   Kind
	Number int64 // days or months since 1970; when it ends, in Unix seconds
}

// Kind is of which length a Period is.
type Kind byte

const (
	Day   Kind = 'd'
	Month Kind = 'm'
	Life  Kind = 'l'
)

func (k Kind) String() string {
	return map[Kind]string{Day: "day", Month: "month", Life: "life of the link"}[k]
}

const daySeconds = 24 * 60 * 60

// At returns the period of a time in Unix seconds. Life has none.
func (k Kind) At(now int64) Period {
	if k == Day {
		return Period{Day, now / daySeconds}
	}
	t := time.Unix(now, 0).UTC()
	return Period{Month, int64(t.Year()-1970)*12 + int64(t.Month()) - 1}
}

// Ends returns when the period ends, in Unix seconds.
func (p Period) Ends() int64 {
	switch p.Kind {
	case Day:
		return (p.Number + 1) * daySeconds
	case Month:
		return time.Date(1970, time.Month(p.Number+2), 1, 0, 0, 0, 0, time.UTC).Unix()
	}
	return p.Number
}

// over reports whether a period has ended so long ago that no clock is likely to be set back to it.
func (p Period) over(now int64) bool { return p.Ends() < now-2*daySeconds }

// Spender is what one response spends, of one or two accounts. It belongs to one goroutine. The zero value
// spends nothing.
type Spender struct {
	parts [2]part
	n     int
}

type part struct {
	account *Account
	most    int64
	then    Then
	over    bool
	block   int64 // taken and not yet spent; below 0: spent beyond what there was
}

// Of adds an account of which most bytes may be used, and what becomes of the response then.
func (s *Spender) Of(a *Account, most int64, then Then) {
	s.parts[s.n] = part{account: a, most: most, then: then}
	s.n++
}

// Counts reports whether there is an account.
func (s *Spender) Counts() bool { return s.n > 0 }

// Spend counts bytes that were sent. over is set, once for each account, when that has nothing left, and
// then says what becomes of the response. What is sent after that is counted all the same.
func (s *Spender) Spend(n int64) (then Then, over bool) {
	for i := range s.parts[:s.n] {
		p := &s.parts[i]
		if p.block -= n; p.block <= 0 && !p.refill() && !p.over {
			p.over, over, then = true, true, max(then, p.then)
		}
	}
	return then, over
}

// refill takes a block, and reports whether there is something left.
func (p *part) refill() bool {
	if p.block < 0 {
		p.account.used.Add(-p.block)
		p.block = 0
	}
	p.block = p.account.take(p.most)
	return p.block > 0
}

// End gives back what was not spent. It may be called again.
func (s *Spender) End() {
	for i := range s.parts[:s.n] {
		p := &s.parts[i]
		p.account.used.Add(-p.block)
	}
	*s = Spender{}
}
