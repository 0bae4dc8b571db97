package load

// schedule says when requests are due: at a fixed rate, whether or not earlier
// ones have been answered.
type schedule struct {
	next   int64 // instant at which the next request is due, in ns
	every  int64 // ns
	behind bool  // a request was due while no connection was free
	skip   bool  // see Group.Skip
}

// due takes the next request if its time has come and a connection is free.
// start is the instant from which its latency counts: the time at which it was
// due if it had to wait for a connection, which is the server's delay; now if
// the generator merely woke up late.
func (s *schedule) due(now int64, free bool) (start int64, ok bool) {
	if s.next > now {
		s.behind = false
		return 0, false
	}
	if !free {
		s.behind = true
		return 0, false
	}
	start = now
	if s.behind {
		start = s.next
	}
	s.next += s.every
	if s.skip && s.next < now {
		s.next += (now - s.next + s.every - 1) / s.every * s.every
	}
	return start, true
}

// at returns when to look again; without a free connection, an answer decides.
func (s *schedule) at(free bool) int64 {
	if !free {
		return never
	}
	return s.next
}
