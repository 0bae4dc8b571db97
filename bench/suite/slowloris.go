package suite

import (
	"context"
	"fmt"
	"time"

	"github.com/fserve/fserve/bench/load"
	"github.com/fserve/fserve/bench/peer"
	"github.com/fserve/fserve/bench/proc"
	"github.com/fserve/fserve/bench/report"
)

// calmRate is how many requests a second the attack meets, which leaves the
// server's core nearly idle: then p99 is made by what the attack costs.
const calmRate = 2000

// slowloris measures what connections that send a byte a second do to a server. Its
// memory is compared with that for as many idle connections, and the latency of other
// requests with that of the same requests without slow connections.
//
// A server with little to do sleeps most of the time, and p99 is then mostly how long it
// waits for its core. So the core is kept awake. The median of p99 over slots leaves out
// whatever stops the machine now and then.
func slowloris() *testCase {
	c := single("slowloris", fmt.Sprintf("{idle} connections that send a byte a second of a head, beside hot 1 KiB (%d/s on %d connections); "+
		"memory beside that of as many idle ones, p99 beside that without them", calmRate, hotConns), file1k, nil)
	c.fresh = true
	c.metrics = []report.Metric{
		{Name: "hot p99 ms", Better: report.Lower}, {Name: "p99 calm ms"}, {Name: "p99/calm", Better: report.Lower}, {Name: "hot max ms"},
		{Name: "slots p99 ms", Better: report.Lower}, {Name: "slots calm ms"}, {Name: "slots/calm", Better: report.Lower},
		{Name: "MB", Better: report.Lower}, {Name: "MB idle"}, {Name: "MB/idle", Better: report.Lower},
		{Name: "CPU %", Better: report.Lower}, {Name: "cut off/s"},
	}
	c.site = func(r *runner) peer.Site { return r.site(file1k, roomFor(r.IdleConns+hotConns)) }
	c.possible = idle().possible
	c.excluded = oneAnswer
	c.run = runSlowloris
	return c
}

// roomFor returns the limit of connections that lets a server keep n of them:
// nginx closes idle ones when less than a sixteenth is left.
func roomFor(n int) int { return n + n/8 }

func runSlowloris(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
	rested, err := r.idleMemory(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("idle connections: %w", err)
	}
	if r.ServerCPU != r.LoadCPU {
		stop, err := proc.KeepAwake(r.ServerCPU)
		if err != nil {
			return nil, err
		}
		defer stop()
	}
	c := r.load(hot(file1k, time.Second/calmRate))
	c.Warm, c.Measure, c.Memory = 0, r.Attack, true
	calm, err := r.generate(ctx, s, c)
	if err != nil {
		return nil, err
	}
	before, err := settled(ctx, s)
	if err != nil {
		return nil, err
	}
	c.Groups = append(c.Groups, load.Group{
		Mode: load.Trickle, Conns: r.IdleConns, Path: file1k.path(), BodyLen: file1k.size, Clients: idleSources,
	})
	c.Spread = r.Attack
	attacked, err := r.generate(ctx, s, c)
	if err != nil {
		return nil, err
	}
	added, hit, rest := float64(attacked.ServerRSS-before), attacked.Groups[0], calm.Groups[0]
	return []float64{
		millis(hit.P99), millis(rest.P99), millis(hit.P99) / millis(rest.P99), millis(hit.Max),
		millis(hit.SlotP99), millis(rest.SlotP99), millis(hit.SlotP99) / millis(rest.SlotP99),
		added / 1e6, rested / 1e6, added / rested,
		cpuPart(attacked), float64(attacked.Groups[1].Cut) / attacked.Seconds,
	}, nil
}

// idleMemory returns what the idle connections cost in memory, in bytes, in a
// process of their own: memory that a server has once had is not added again.
func (r *runner) idleMemory(ctx context.Context, s *peer.Server) (float64, error) {
	twin, err := peer.Start(ctx, s.Spec, r.site(file1k, roomFor(r.IdleConns)))
	if err != nil {
		return 0, err
	}
	defer twin.Stop()
	values, err := runIdle(ctx, r, twin, "")
	if err != nil {
		return 0, err
	}
	// Never nothing: it is divided by. A few connections may fit into pages that
	// are there already.
	return max(values[0]*1e6, pageSize), nil
}
