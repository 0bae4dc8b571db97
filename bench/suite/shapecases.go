package suite

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/fserve/fserve/bench/load"
	"github.com/fserve/fserve/bench/peer"
	"github.com/fserve/fserve/bench/report"
)

const (
	shapeGlobal = 100 * mib // bytes per second of what is shared

	tolerance = 0.05 // of the rate, within which a change of it is felt
)

// each returns a case in which each connection has the same limit, which is what
// nginx has too.
func each(name, about, limit string, rate int64, conns int) *testCase {
	off := func(r *load.Result) []float64 { return r.Errors(float64(rate)) }
	first := of(func(c *load.Conn) float64 { return float64(c.First) / float64(rate) })
	g := &shaping{
		name: name, about: about, nginx: rate, conns: conns, limits: []string{"--limit-connection", limit},
		files: lasts(name, rate),
		columns: []column{
			plain("error % p50", median(off)), lower("p99", p99(off)),
			lower("CoV % 100 ms", median(variation)), plain("CoV % 1 s", median(variationSecond)), plain("silence ms p99", p99(silence)),
			plain("1st s/rate", median(first)), plain("p99", p99(first)), lower("CPU %", cpuPart), stallColumn,
		},
	}
	g.groups = func(o *Options) []load.Group {
		return []load.Group{downloads(g.files(o)[0], conns, min(conns, idleSources))}
	}
	return g.testCase()
}

// clients returns a group for each client, with so many connections.
func clients(f file, conns ...int) (groups []load.Group) {
	for i, n := range conns {
		g := downloads(f, n, 1)
		g.Source = i
		groups = append(groups, g)
	}
	return groups
}

// clientLimit has three clients with 1, 4 and 16 connections and the same limit of a client.
func clientLimit() *testCase {
	const rate = 10 * mib
	off := func(group int) func(*load.Result) float64 {
		return func(r *load.Result) float64 { return 100 * math.Abs(r.Rate(group)/rate-1) }
	}
	g := &shaping{
		name: "shape-client", about: "10 MiB/s for each client, of which there are one with 1, one with 4 and one with 16 connections: error of the sum",
		limits:  []string{"--limit-client", "10MiB/s"},
		files:   lasts("shape-client", rate),
		columns: []column{plain("error % of 1", off(0)), plain("of 4", off(1)), plain("of 16", off(2)), covColumn, cpuColumn, stallColumn},
	}
	g.groups = func(o *Options) []load.Group { return clients(g.files(o)[0], 1, 4, 16) }
	return g.testCase()
}

// globalLimit has eight clients with 1, 8 or 64 connections that share one limit.
func globalLimit() *testCase {
	sums := func(r *load.Result) []float64 { return slices.Collect(maps.Values(r.Clients())) }
	g := &shaping{
		name: "shape-global", about: "100 MiB/s for everything, 8 clients with 1, 8, 64, 1, 8, 64, 1 and 8 connections: Jain's index over clients",
		limits: []string{"--limit-global", "100MiB/s"},
		files:  lasts("shape-global", shapeGlobal/4),
		columns: []column{
			plain("Jain", func(r *load.Result) float64 { return report.Jain(sums(r)) }), ofLimit(-1, shapeGlobal),
			plain("least/most", func(r *load.Result) float64 { return slices.Min(sums(r)) / slices.Max(sums(r)) }), cpuColumn, stallColumn,
		},
	}
	g.groups = func(o *Options) []load.Group { return clients(g.files(o)[0], 1, 8, 64, 1, 8, 64, 1, 8) }
	return g.testCase()
}

// weights has three path classes that share a limit by weight.
func weights() *testCase {
	const unit = 4 * mib // of weight 1, in bytes per second
	off := func(group int) func(*load.Result) float64 {
		return func(r *load.Result) float64 {
			return 100 * math.Abs(r.Rate(group)/r.Rate(-1)*7/float64(int(1)<<group)-1)
		}
	}
	g := &shaping{
		name: "shape-weights", about: "28 MiB/s for everything, three paths of weight 1, 2 and 4 with 8 connections each: error of each share",
		limits:  []string{"--limit-global", "28MiB/s"},
		columns: []column{plain("error % of 1", off(0)), plain("of 2", off(1)), plain("of 4", off(2)), ofLimit(-1, 7*unit), stallColumn},
	}
	paths := []string{"shape-w1", "shape-w2", "shape-w4"}
	for i, p := range paths {
		g.limits = append(g.limits, "--limit-path", fmt.Sprintf("/%s=unlimited,weight=%d", p, 1<<i))
	}
	g.files = func(o *Options) (files []file) {
		for i, p := range paths {
			files = append(files, downloadOf(o, p, unit<<i/2)) // of 8 connections
		}
		return files
	}
	g.groups = func(o *Options) (groups []load.Group) {
		for i, f := range g.files(o) {
			d := downloads(f, 8, 2)
			d.Source = 2 * i
			groups = append(groups, d)
		}
		return groups
	}
	return g.testCase()
}

// busyAmongIdle has one client that downloads, among many that have downloaded before.
func busyAmongIdle() *testCase {
	const resting = 1000
	g := &shaping{
		name: "shape-idle", about: fmt.Sprintf("100 MiB/s for everything, one connection that downloads beside %d of 100 other clients that rest", resting),
		limits: []string{"--limit-global", "100MiB/s"}, conns: resting,
		files:   lasts("shape-idle", shapeGlobal),
		columns: []column{ofLimit(0, shapeGlobal), covColumn, cpuColumn, stallColumn},
	}
	g.groups = func(o *Options) []load.Group {
		return []load.Group{
			downloads(g.files(o)[0], 1, 1),
			{Mode: load.Hold, Conns: resting, Source: 1, Clients: 100, Path: file1k.path(), BodyLen: file1k.size},
		}
	}
	return g.testCase()
}

// probe returns a short request at fixed times, whose latency counts from when it was due.
func probe(f file, source int, every time.Duration) load.Group {
	return load.Group{
		Mode: load.Timed, Conns: 1, Source: source, Clients: 1, Path: f.path(), BodyLen: f.size, Every: every, Skip: true,
	}
}

// probeBeside has short requests beside downloads that use a limit up.
func probeBeside() *testCase {
	const conns, every = 64, 20 * time.Millisecond
	small := file{name: "4k.bin", size: 4 * kib}
	probes := func(r *load.Result) load.Seen { return r.Groups[1] }
	g := &shaping{
		name: "shape-short", about: fmt.Sprintf("4 KiB every %v beside %d downloads of 8 clients, 100 MiB/s for everything", every, conns),
		limits: []string{"--limit-global", "100MiB/s"},
		columns: []column{
			plain("p50 ms", func(r *load.Result) float64 { return millis(probes(r).P50) }),
			plain("p99 ms", func(r *load.Result) float64 { return millis(probes(r).P99) }),
			plain("max ms", func(r *load.Result) float64 { return millis(probes(r).Max) }),
			ofLimit(-1, shapeGlobal), stallColumn,
		},
	}
	g.files = func(o *Options) []file { return append(lasts("shape-short", 4*shapeGlobal/conns)(o), small) }
	g.groups = func(o *Options) []load.Group {
		return []load.Group{downloads(g.files(o)[0], conns, 8), probe(small, 8, every)}
	}
	return g.testCase()
}

// retune changes the limit of everything over HTTP while downloads run.
func retune() *testCase {
	const conns = 100
	g := &shaping{
		name: "shape-retune", about: fmt.Sprintf("%d downloads, 100 MiB/s for everything, changed over HTTP to 50 and then to 150 MiB/s: "+
			"time from the request until the rate stays within %.0f %%", conns, 100*tolerance),
		limits: []string{"--limit-global", "100MiB/s"}, admin: true,
		metrics: []report.Metric{{Name: "down ms"}, {Name: "up ms"}, {Name: "answer ms"}, {Name: "stall ms"}},
		files:   lasts("shape-retune", 6*shapeGlobal/conns),
	}
	g.groups = func(o *Options) []load.Group { return []load.Group{downloads(g.files(o)[0], conns, 10)} }
	g.run = func(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
		if _, err := putRate(ctx, s, "100MiB/s"); err != nil {
			return nil, err
		}
		var put puts
		res, err := r.steady(ctx, s, g.load(r), func(ctx context.Context, began int64) (err error) {
			put, err = putThirds(ctx, s, began, r.Shape/3)
			return err
		})
		if err != nil {
			return nil, err
		}
		down, okDown := res.Settled(put.at[0], put.at[1], 50*mib, tolerance)
		up, okUp := res.Settled(put.at[1], res.Began+int64(r.Shape), 150*mib, tolerance)
		if !okDown || !okUp {
			return nil, fmt.Errorf("the new rate was never reached: %v, %v", okDown, okUp)
		}
		return []float64{millis(down), millis(up), millis(put.answer), stall(res)}, nil
	}
	return g.testCase()
}

// costs compares one fast limited download with one that its client slows down.
func costs() *testCase {
	const rate = 1024 * mib
	g := &shaping{
		name: "shape-cost", about: "one download limited to 1 GiB/s, beside one of a server without limits whose client takes 1 GiB/s",
		limits: []string{"--limit-connection", "1GiB/s"}, nginx: rate,
		metrics: []report.Metric{
			{Name: "CPU ms/GB limited", Better: report.Lower}, {Name: "CPU ms/GB paced"}, {Name: "limited/paced", Better: report.Lower},
			{Name: "GB/s limited"}, {Name: "GB/s paced"}, {Name: "stall ms"},
		},
		files:  func(o *Options) []file { return []file{o.large(0)} },
		groups: func(o *Options) []load.Group { return []load.Group{downloads(o.large(0), 1, 1)} },
	}
	g.run = func(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
		c := g.load(r)
		limited, err := r.steady(ctx, s, c, nil)
		if err != nil {
			return nil, err
		}
		r.trace(g.name, s.Name, limited)
		site := g.site(r)
		site.FserveArgs, site.NginxRate = nil, 0
		free, err := peer.Start(ctx, s.Spec, site)
		if err != nil {
			return nil, err
		}
		defer free.Stop()
		c.Groups[0].Pace = rate
		paced, err := r.steady(ctx, free, c, nil)
		if err != nil {
			return nil, err
		}
		a, b := perGigabyte(limited), perGigabyte(paced)
		return []float64{
			a, b, a / b, limited.Rate(-1) / 1e9, paced.Rate(-1) / 1e9, max(stall(limited), stall(paced)),
		}, nil
	}
	return g.testCase()
}

// perGigabyte returns the server's CPU time in ms for each GB.
func perGigabyte(res *load.Result) float64 {
	return 1e3 * res.ServerCPU / (res.Rate(-1) * res.Seconds / 1e9)
}
