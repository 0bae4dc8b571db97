package release

import (
	"math"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// split is how the line is divided between stable and canary. It is not changed.
type split struct {
	canary  uint64   // points below it are the canary's
	changes []change // within the time for which resumes are held, in order
	rested  bool     // it was rolled back
	begun   *begun   // what has begun since the first of these; nil: there were no changes
}

// change is one of the share of the canary.
type change struct {
	before uint64 // split.canary
	until  int64  // monotonic ns: resumes are held until then
	round  uint32 // it is the how manieth
}

// maxChanges bounds those that are remembered.
const maxChanges = 32

func (s *split) side(point uint64) Index { return sideOf(point, s.canary) }

func sideOf(point, canary uint64) Index {
	if point < canary {
		return Canary
	}
	return Stable
}

// threshold returns the end of the part of the line that a share is.
func threshold(weight float64) uint64 { return uint64(math.Ldexp(min(max(weight, 0), 1), 63)) }

// divide divides the line anew.
func (s *State) divide(weight float64, now int64) {
	old := s.split.Load()
	next := &split{canary: threshold(weight), begun: old.begun}
	if next.canary == old.canary { // nobody is moved: those who were are held on
		next.changes = old.changes
	}
	if s.cfg.Hold > 0 && now > 0 && next.canary != old.canary {
		round := uint32(1)
		for _, c := range old.changes {
			if round = c.round + 1; c.until > now {
				next.changes = append(next.changes, c)
			}
		}
		if next.changes = append(next.changes, change{old.canary, now + int64(s.cfg.Hold), round}); len(next.changes) > maxChanges {
			next.changes = next.changes[1:]
		}
		if next.begun == nil {
			next.begun = new(begun)
		}
	}
	s.split.Store(next)
}

// held returns the version of a point whose own is own. A download that is resumed without a tag goes
// on with the version that it has begun with: with the one before the changes, unless it is known to
// have begun since.
func (r *Release) held(s *split, point uint64, q *Request, own Index) Index {
	first := -1
	for i, c := range s.changes {
		if c.until > q.Now {
			first = i
			break
		}
	}
	if first < 0 || !q.Begins && !q.Resumes {
		return own
	}
	moved := false
	for _, c := range s.changes[first:] {
		moved = moved || sideOf(point, c.before) != own
	}
	if !moved {
		return own
	}
	id := r.hash('p', q.Path) ^ point
	if q.Begins {
		s.begun.put(id, own, s.changes[len(s.changes)-1].round)
		return own
	}
	v, known := s.begun.find(id, s.changes[first].round)
	if !known {
		v = sideOf(point, s.changes[first].before)
	}
	if v != own {
		r.Held.Add(1)
	}
	return v
}

// begun remembers with which version downloads have begun while the share had just changed. What finds
// no room puts another out. It is safe for concurrent use, without locks.
type begun [1 << 15][4]atomic.Uint64

// Each entry has 40 bits of the identity, 22 of the round, 2 of the version.
const (
	entryID    = ^uint64(1<<24 - 1)
	entryRound = 1<<22 - 1
)

func (b *begun) put(id uint64, v Index, round uint32) {
	id = mix(id)
	row, at := &b[id&(1<<15-1)], int(id>>15&3)
	oldest := uint64(entryRound)
	for i := range row {
		e := row[i].Load()
		if e != 0 && e&entryID == id&entryID {
			at = i
			break
		}
		if r := e >> 2 & entryRound; r < uint64(round) && r < oldest {
			at, oldest = i, r
		}
	}
	row[at].Store(id&entryID | uint64(round&entryRound)<<2 | uint64(v))
}

// find returns the version of what has begun in a round or later.
func (b *begun) find(id uint64, from uint32) (Index, bool) {
	id = mix(id)
	for i := range b[id&(1<<15-1)] {
		e := b[id&(1<<15-1)][i].Load()
		if e != 0 && e&entryID == id&entryID && uint32(e>>2&entryRound) >= from {
			return Index(e & 3), true
		}
	}
	return 0, false
}

// mix spreads an identity over the table.
func mix(id uint64) uint64 {
	var b [8]byte
	for i := range b {
		b[i] = byte(id >> (8 * i))
	}
	return xxhash.Sum64(b[:])
}
