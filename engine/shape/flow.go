package shape

// Flow is the place of one connection in the tree of its loop. The zero value is ready for
// [Tree.Join]; it must not be copied after that. It belongs to the loop's
// goroutine.
type Flow struct {
	// Owner is the caller's, to know by whose flow Next has returned. Leave clears it.
	Owner any

	member
	client *node // nil: not in a response

	bucket   bucket
	change   uint64 // of the connection default that is in bucket
	begun    bool   // bucket holds the state of an earlier response
	stale    bool   // the limit must be looked up
	override bool   // own counts
	own      Limit  // of the response, in place of the connection's
	class    Rate   // what the class lets a connection have; part of what is in bucket
	free     bool   // Limit.After of the class has not passed

	want    int64
	granted int64 // last grant, less what was given back
	sent    int64 // in this response

	hungry bool // has waited in this response
	since  int64
	mark   [LevelConnection]int64 // for how long nodes above had been parked when it was queued; see node.markAt
	held   [NumLevels]int64
}

// Limited reports whether the connection's own bucket has something to remember
// after a response, so that the flow must outlive it.
func (f *Flow) Limited() bool { return f.begun && f.bucket.Rate != Unlimited }

// Granted returns the bytes of the last grant, less what was given back.
func (f *Flow) Granted() int64 { return f.granted }

// Waiting reports whether the flow waits for a grant.
func (f *Flow) Waiting() bool { return f.state != idle }

// Held returns for how many ns the response has waited, by the level that was short of
// tokens. [LevelNone] is what the loop itself took to come back. Join sets all to zero.
func (f *Flow) Held() [NumLevels]int64 { return f.held }

// Since returns the instant from which the flow waits. That wait is not yet in Held. The
// instant means nothing if the flow does not wait.
func (f *Flow) Since() int64 { return f.since }

// beginQueue notes what endQueue needs.
func (f *Flow) beginQueue(now int64) {
	f.since = now
	for n := f.parent; n != nil; n = n.parent {
		f.mark[n.markAt()] = n.parkedUntil(now)
	}
}

// markAt is the place of a node in Flow.mark.
func (n *node) markAt() Level {
	if n.isInner() {
		return LevelNone
	}
	return n.level
}

// endQueue adds the wait that ends now to the levels that caused it. Each level from the
// client up gets the time for which its node was parked meanwhile.
func (f *Flow) endQueue(s *scheduler) {
	left := s.now - f.since
	for n := f.parent; n != nil; n = n.parent {
		d := min(n.parkedUntil(s.now)-f.mark[n.markAt()], left)
		f.hold(s, n.level, d)
		left -= d
	}
	f.hold(s, LevelNone, left)
}

func (f *Flow) hold(s *scheduler, level Level, ns int64) {
	f.held[level] += ns
	s.throttled[level] += ns
}
