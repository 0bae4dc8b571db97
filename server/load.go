package server

import (
	"context"
	"log/slog"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/server/breaker"
)

// BreakerControl is a server's breaker. It is safe for concurrent use.
type BreakerControl struct {
	breaker.Breaker
	log  *slog.Logger
	lag  func(context.Context) (late time.Duration, err error) // of event loops
	mu   sync.Mutex
	end  context.CancelFunc // nil: it does not run
	done sync.WaitGroup
}

// watch goes by another configuration, for so many tiers.
func (w *BreakerControl) watch(c *breaker.Config, tiers int) {
	w.tell(w.Breaker.Set(*c, tiers, sys.Nanotime()))
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
			r := w.read(ctx, c)
			w.tell(w.Note(sys.Nanotime(), &r))
		}
	})
}

// stop ends the readings. It may be called again.
func (w *BreakerControl) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.end != nil {
		w.end()
		w.done.Wait()
		w.end = nil
	}
}

// read measures what a configuration has bounds for.
func (w *BreakerControl) read(ctx context.Context, c *breaker.Config) (r breaker.Readings) {
	if c.LoopLag > 0 {
		turn, cancel := context.WithTimeout(ctx, max(2*c.LoopLag, breaker.Every))
		r.LoopLag, _ = w.lag(turn) // late is all that it wants to know
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

// tell logs a change; nil: there is none.
func (w *BreakerControl) tell(c *breaker.Change) {
	if c != nil {
		w.log.Warn("breaker", "was", c.From.String(), "is", c.To.String(), "tiers_refused", c.Refused, "why", c.Why)
	}
}

// Status returns whom the server refuses, and why.
func (w *BreakerControl) Status() BreakerStatus { return w.Breaker.Status(sys.Nanotime()) }

// Force refuses requests, or none, whatever is measured; for a time, 0: until Auto.
func (w *BreakerControl) Force(open bool, d time.Duration) {
	w.tell(w.Breaker.Force(open, d, sys.Nanotime()))
	w.expireAfter(d)
}

// expireAfter ends an order after its time, if that is above 0: there may be nobody who takes readings.
func (w *BreakerControl) expireAfter(d time.Duration) {
	if d > 0 {
		time.AfterFunc(d, func() { w.tell(w.Expire(sys.Nanotime())) })
	}
}

// Order returns the last order, with Unix ns as its times: for Obey in another process.
func (w *BreakerControl) Order() BreakerOrder {
	return w.Breaker.Order().Shift(time.Now().UnixNano() - sys.Nanotime())
}

// Obey follows an order that another process was given, unless a later one was given to this.
func (w *BreakerControl) Obey(o BreakerOrder) {
	now := sys.Nanotime()
	o = o.Shift(now - time.Now().UnixNano())
	w.tell(w.Breaker.Obey(o, now))
	w.expireAfter(time.Duration(o.Ends - now))
}

// Auto ends what Force has begun.
func (w *BreakerControl) Auto() { w.tell(w.Breaker.Auto(sys.Nanotime())) }

// Breaker returns what refuses requests while the server has too much to do.
func (s *Server) Breaker() *BreakerControl { return &s.load }
