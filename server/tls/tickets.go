package tls

import (
	"crypto/rand"
	crypto "crypto/tls"
	"slices"
	"sync"
	"time"
)

// TicketKey is what session tickets are encrypted with.
type TicketKey struct {
	Key  [32]byte
	Made int64 // Unix time in seconds
}

const (
	// ticketLife is how long the newest key encrypts, and ticketMemory how long a key decrypts:
	// crypto/tls has the same.
	ticketLife   = 24 * time.Hour
	ticketMemory = 7 * 24 * time.Hour
)

// tickets are the keys of a Front, the newest first. All its handshakes share them, and
// those of its successor.
type tickets struct {
	mu    sync.Mutex
	keys  []TicketKey
	newly uint64 // counts the changes, from 1
}

// current returns the keys at now, and a number that changes with them.
func (t *tickets) current(now time.Time) ([]TicketKey, uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.keys) == 0 || now.Sub(t.keys[0].made()) >= ticketLife {
		k := TicketKey{Made: now.Unix()}
		_, _ = rand.Read(k.Key[:]) // never fails
		t.add(now, k)
	}
	return t.keys, t.newly
}

func (k *TicketKey) made() time.Time { return time.Unix(k.Made, 0) }

// add adds keys, which it may know. Those that are of no use any more go.
func (t *tickets) add(now time.Time, keys ...TicketKey) {
	all := slices.Clone(t.keys)
	for _, k := range keys {
		if !slices.ContainsFunc(all, func(o TicketKey) bool { return o.Key == k.Key }) {
			all = append(all, k)
		}
	}
	all = slices.DeleteFunc(all, func(k TicketKey) bool { return now.Sub(k.made()) >= ticketMemory })
	slices.SortStableFunc(all, func(a, b TicketKey) int { return b.made().Compare(a.made()) })
	t.keys = all
	t.newly++
}

// ticketsOf notes which keys a configuration has.
type ticketsOf struct {
	mu    sync.Mutex
	newly uint64
}

// config returns that of a face's handshakes that begin at now, which has the current keys.
func (f *Front) config(p *face, now time.Time) *crypto.Config {
	keys, newly := f.tickets.current(now)
	p.tickets.mu.Lock()
	defer p.tickets.mu.Unlock()
	if p.tickets.newly != newly {
		p.tickets.newly = newly
		of := make([][32]byte, len(keys))
		for i := range keys {
			of[i] = keys[i].Key
		}
		p.config.SetSessionTicketKeys(of)
	}
	return p.config
}

// TicketKeys returns the keys of session tickets, for LearnTicketKeys of a successor. They are secret.
func (f *Front) TicketKeys() []TicketKey {
	if f == nil {
		return nil
	}
	keys, _ := f.tickets.current(time.Now())
	return keys
}

// LearnTicketKeys makes sessions resumable that were begun with those keys.
func (f *Front) LearnTicketKeys(keys []TicketKey) {
	if f == nil {
		return
	}
	f.tickets.mu.Lock()
	defer f.tickets.mu.Unlock()
	f.tickets.add(time.Now(), keys...)
}
