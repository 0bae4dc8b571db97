package server

import (
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/server/record"
)

// Stats are the counters of a server since its start.
type Stats struct {
	Loops    []loop.Stats
	Sessions []SessionStats // of the same loops
	Hosts    []HostStats    // of all loops; the default host first
	TLS      TLSStats
	Compress CompressStats
}

// Stats returns the counters. It asks each loop and waits for the answer, and
// costs the loops nothing when it is not called.
func (s *Server) Stats() Stats {
	var out Stats
	var responses record.Responses
	s.engine.Ask(func(l *loop.Loop) {
		out.Loops = append(out.Loops, l.Stats())
		var one SessionStats
		if x := s.sessions.of(l); x != nil {
			one = x.Recorder().Snapshot(&responses)
		}
		out.Sessions = append(out.Sessions, one)
	})
	out.Compress = s.http.Forms.Stats()
	out.Hosts = responses.Named(&s.rows)
	if s.tls != nil {
		out.TLS = s.TLSStats()
	}
	return out
}

// Admission returns what admits requests, for its counters.
func (s *Server) Admission() *AdmissionControl { return s.http.Admission }

// Identity returns how requests prove who asks, for its counters; nil: the server has ended.
func (s *Server) Identity() *IdentityMethods {
	s.swapping.Lock()
	defer s.swapping.Unlock()
	if s.set == nil {
		return nil
	}
	return s.set.Methods()
}

// LostLines returns how many lines of access logs could not be written.
func (s *Server) LostLines() (n uint64) {
	if s.cfg.AccessLog != nil {
		n += s.cfg.AccessLog.Dropped()
	}
	if s.cfg.AccessLogs != nil {
		n += s.cfg.AccessLogs.Dropped()
	}
	return n
}
