package loop

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/aio/aiosim"
	"github.com/fserve/fserve/internal/testenv"
)

// Environment variables of TestSimulation: how many seeds it runs, and the one
// seed to run alone, with its whole log.
const (
	seedsEnv = "FSERVE_SIM_SEEDS"
	seedEnv  = "FSERVE_SIM_SEED"

	// wholeLog is the number of lines that the log of one run keeps.
	wholeLog = 1 << 16
)

// seeds are those that TestSimulation runs: as many as reach everything that it wants to
// have happened, or what the variable says: N, or FROM-TO of a run in parts.
func seeds(t *testing.T) (from, to uint64) {
	if s := os.Getenv(seedsEnv); s != "" {
		first, last, parts := strings.Cut(s, "-")
		if !parts {
			first, last = "0", s
		}
		from, err := strconv.ParseUint(first, 10, 64)
		to, err2 := strconv.ParseUint(last, 10, 64)
		if err := errors.Join(err, err2); err != nil || from > to {
			t.Fatalf("%s=%s: %v", seedsEnv, s, err)
		}
		return from, to
	}
	if testing.Short() || testenv.Race {
		return 0, 1000
	}
	return 0, 10_000
}

// TestSimulation runs the loop in simulated worlds, one for each seed.
func TestSimulation(t *testing.T) {
	if s := os.Getenv(seedEnv); s != "" {
		replay(t, s)
		return
	}
	from, to := seeds(t)
	var sum tally
	var next atomic.Uint64
	next.Store(from)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed := next.Add(1) - 1; seed < to && !t.Failed(); seed = next.Add(1) - 1 {
				m := newSimulation(worldOf(seed))
				if err := m.run(); err != nil {
					t.Errorf("seed %d (%s=%d runs it alone): %v", seed, seedEnv, seed, err)
					return
				}
				sum.add(m)
			}
		})
	}
	workers.Wait()
	if !t.Failed() && to-from >= 1000 {
		sum.check(t)
	}
}

// replay runs one seed and shows all that happened.
func replay(t *testing.T, s string) {
	seed, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", seedEnv, err)
	}
	cfg := worldOf(seed)
	cfg.LogSize = wholeLog
	m := newSimulation(cfg)
	t.Logf("config %+v, faults %+v", m.cfg, cfg.Faults)
	for i, r := range m.requests {
		t.Logf("request %d: %+v", i, *r)
	}
	if err := m.run(); err != nil {
		t.Fatal(err)
	}
	t.Logf("nothing is wrong\n%s", m.w.Log())
}

// tally adds up what happened, to show that everything did.
type tally struct {
	mu      sync.Mutex
	ends    [outcome.NumEnds]int
	via     [aio.NumVia]int64
	clients [aiosim.Refused + 1]int
	counts  map[string]uint64
}

func (y *tally) add(m *simulation) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.counts == nil {
		y.counts = make(map[string]uint64)
	}
	for i, n := range m.session.ends {
		y.ends[i] += n
	}
	var interim int64
	for i, n := range m.session.sent {
		y.via[i] += n
		interim += m.session.interim[i]
	}
	y.counts["bytes ahead of an answer"] += uint64(interim)
	if s := m.limits; s != nil {
		y.counts["worlds with limits"]++
		if m.adapt != nil {
			y.counts["questions about connections"] += m.adapt.asked
		}
		y.counts["responses held back by limits"] += uint64(s.held)
		y.counts["changes of limits"] += uint64(s.retuned)
	}
	y.counts["responses from the headroom"] += uint64(m.session.headed)
	y.counts["bodies that come later"] += uint64(m.session.later)
	if f := m.far; f != nil {
		y.counts["opens of remote files"] += uint64(f.opens)
		y.counts["reads of remote files"] += uint64(f.reads)
		y.counts["calls of remote files after the end"] += uint64(f.late)
	}
	for _, c := range m.clients {
		y.clients[c.peer.Result().End]++
		y.count("patient clients", m.calm && c.patient)
		y.count("adopted", c.adopted != nil && c.adopted.given)
		if k := c.records; k != nil {
			k.count(y)
		}
	}
	if m.loop != nil {
		y.addLoop(m.loop)
	}
}

func (y *tally) addLoop(l *Loop) {
	st, fs := &l.stats, &l.stats.Files
	for what, n := range map[string]uint64{
		"refused": st.Refused, "accept errors": st.AcceptErrors, "resets": st.Resets,
		"header timeouts": st.HeaderTimeouts, "send timeouts": st.SendTimeouts,
		"recalled connections": st.Recalled, "responses planned anew": st.Replanned, "leases refused": fs.LeasesRefused, "leases broken": fs.LeasesBroken,
		"bad records": st.BadRecords, "cache hits": fs.Hits, "changed files": fs.Changed, "evicted files": fs.Evicted,
	} {
		y.counts[what] += n
	}
	y.count("drained", l.draining)
	y.count("cut", !l.draining)
}

func (y *tally) count(what string, yes bool) {
	if yes {
		y.counts[what]++
	} else {
		y.counts[what] += 0 // so that it is missed
	}
}

func (y *tally) check(t *testing.T) {
	for e, n := range y.ends {
		if n == 0 {
			t.Errorf("no response ended with %v", outcome.End(e))
		}
	}
	for v, n := range y.via {
		if n == 0 {
			t.Errorf("no bytes went by %v", aio.Via(v))
		}
	}
	for e, n := range y.clients {
		if n == 0 {
			t.Errorf("no client saw %v", aiosim.End(e))
		}
	}
	for what, n := range y.counts {
		if n == 0 {
			t.Errorf("%s: none", what)
		}
	}
	t.Logf("responses by end %v, bytes by way %v, clients by end %v, %v", y.ends, y.via, y.clients, y.counts)
}

// TestSimulationIsDeterministic: a seed that fails can be run again.
func TestSimulationIsDeterministic(t *testing.T) {
	for seed := range uint64(50) {
		a, b := newSimulation(worldOf(seed)), newSimulation(worldOf(seed))
		if err := a.run(); err != nil {
			t.Fatal(err)
		}
		if err := b.run(); err != nil {
			t.Fatal(err)
		}
		if a.w.Trace() != b.w.Trace() {
			t.Fatalf("seed %d gives different runs", seed)
		}
	}
}

// TestFailEachCall lets the first fallible call fail, then the second, until
// none does.
func TestFailEachCall(t *testing.T) {
	failed := make(map[string]int)
	seeds := []uint64{26, 0, 1, 2, 3, 4, 5, 6, 7} // TLS is spoken in the first
	if testing.Short() || testenv.Race {
		seeds = seeds[:5]
	}
	for _, seed := range seeds {
		cfg := aiosim.Config{Seed: seed, FailWaits: seed%4 == 0}
		if seed%2 == 1 {
			cfg.Faults = aiosim.Rough(0.2)
		}
		aiosim.EachFailure(cfg, func(cfg aiosim.Config) *aiosim.World {
			m := newSimulation(cfg)
			if err := m.run(); err != nil {
				t.Fatal(err)
			}
			failed[m.w.Injected()]++
			return m.w
		})
	}
	for _, call := range []string{"new-driver", "listen", "open", "accepted", "received", "ready", "send",
		"sendfile", "readfile", "readat", "stat", "open-file", "wait"} {
		if failed[call] == 0 {
			t.Errorf("%s never failed", call)
		}
	}
}
