package server

import (
	"sync"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/http1"
	"github.com/fserve/fserve/server/record"
)

// Stats are the counters of a server since its start.
type Stats struct {
	Loops    []engine.LoopStats
	Sessions []SessionStats // of the same loops
	Hosts    []HostStats    // of all loops; the default host first
	TLS      TLSStats
}

// Stats returns the counters. It asks each loop and waits for the answer, and
// costs the loops nothing when it is not called.
func (s *Server) Stats() Stats {
	var out Stats
	var responses record.Responses
	s.engine.Ask(func(l *engine.Loop) {
		out.Loops = append(out.Loops, l.Stats())
		var one SessionStats
		if x := s.sessions.of(l); x != nil {
			one = x.Recorder().Snapshot(&responses)
		}
		out.Sessions = append(out.Sessions, one)
	})
	out.Hosts = responses.Named(&s.rows)
	if s.tls != nil {
		out.TLS = s.TLSStats()
	}
	return out
}

// sessionSet finds the session of a loop. A session is looked into on its own
// loop only.
type sessionSet struct {
	mu     sync.Mutex
	byLoop map[*engine.Loop]*http1.Session
}

func (t *sessionSet) add(l *engine.Loop, s *http1.Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byLoop == nil {
		t.byLoop = make(map[*engine.Loop]*http1.Session)
	}
	t.byLoop[l] = s
}

func (t *sessionSet) of(l *engine.Loop) *http1.Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byLoop[l]
}

// AccessLog returns the log of the Config, nil if there is none.
func (s *Server) AccessLog() *AccessLog { return s.cfg.AccessLog }
