package server

import (
	"context"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/server/breaker"
	"github.com/fserve/fserve/server/site"
)

// loadWatch is what gives the breaker its readings, while there is anything to read.
type loadWatch struct {
	mu   sync.Mutex
	end  context.CancelFunc // nil: it does not run
	done sync.WaitGroup
}

// watchLoad goes by another configuration of the breaker.
func (s *Server) watchLoad(c *breaker.Config, set *site.Set) {
	s.tellBreaker(s.http.Breaker.Set(*c, set.Methods().Ranks(), sys.Nanotime()))
	w := &s.load
	w.stop()
	if !c.Watches() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	w.end = cancel
	w.done.Go(func() {
		tick := time.NewTicker(breaker.Every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			r := s.readLoad(ctx, c)
			s.tellBreaker(s.http.Breaker.Note(sys.Nanotime(), &r))
		}
	})
}

// stop ends the readings. It may be called again.
func (w *loadWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.end != nil {
		w.end()
		w.done.Wait()
		w.end = nil
	}
}

// readLoad measures what a configuration has bounds for.
func (s *Server) readLoad(ctx context.Context, c *breaker.Config) (r breaker.Readings) {
	if c.LoopLag > 0 {
		turn, cancel := context.WithTimeout(ctx, max(2*c.LoopLag, breaker.Every))
		r.LoopLag, _ = s.engine.Turning(turn) // late is all that it wants to know
		cancel()
	}
	if c.Descriptors > 0 {
		r.Descriptors = float64(sys.OpenDescriptors()) / float64(sys.DescriptorLimit())
	}
	if c.Memory > 0 {
		r.Memory = max(heapPart(), sys.MemoryGroupPart())
	}
	return r
}

// heapPart is how much of GOMEMLIMIT the runtime has mapped; 0: there is no limit.
func heapPart() float64 {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return 0
	}
	m := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(m)
	return float64(m[0].Value.Uint64()-m[1].Value.Uint64()) / float64(limit)
}

// tellBreaker logs a change; nil: there is none.
func (s *Server) tellBreaker(c *breaker.Change) {
	if c != nil {
		s.cfg.Log.Warn("breaker", "was", c.From.String(), "is", c.To.String(), "tiers_refused", c.Refused, "why", c.Why)
	}
}

// Breaker returns whom the server refuses because it has too much to do.
func (s *Server) Breaker() BreakerStatus { return s.http.Breaker.Status(sys.Nanotime()) }

// BreakerRefused returns how many requests were refused for that.
func (s *Server) BreakerRefused() uint64 { return s.http.Breaker.Refused() }

// ForceBreaker refuses requests, or none, whatever is measured; for a time, 0: until AutoBreaker.
func (s *Server) ForceBreaker(open bool, d time.Duration) {
	b := s.http.Breaker
	s.tellBreaker(b.Force(open, d, sys.Nanotime()))
	if d > 0 { // there may be nobody who takes readings
		time.AfterFunc(d, func() { s.tellBreaker(b.Expire(sys.Nanotime())) })
	}
}

// AutoBreaker ends what ForceBreaker has begun.
func (s *Server) AutoBreaker() { s.tellBreaker(s.http.Breaker.Auto(sys.Nanotime())) }

// ProfilesInForce tells the server of profiles of limits, for Breaker.Profiles.
func (s *Server) ProfilesInForce(names []string) { s.http.Breaker.InForce(names) }
