package suite

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/fserve/fserve/bench/peer"
	"github.com/fserve/fserve/bench/report"
	"github.com/fserve/fserve/bench/shape"
)

const (
	shapeGlobal = 100 * mib // bytes per second of what is shared
	shapeSpread = time.Second
	shapeWarm   = time.Second

	tolerance = 0.05 // of the rate, within which a change of it is felt
)

// each returns a case in which each connection has the same limit, which is what
// nginx has too.
func each(name, about, limit string, rate int64, conns int) *testCase {
	g := &shaping{
		name: name, about: about, nginx: rate, conns: conns, limits: []string{"--limit-connection", limit},
		metrics: []report.Metric{
			{Name: "error % p50"}, {Name: "p99", Better: report.Lower}, {Name: "CoV % 100 ms", Better: report.Lower},
			{Name: "CoV % 1 s"}, {Name: "silence ms p99"}, {Name: "1st s/rate"}, {Name: "p99"},
			{Name: "CPU %", Better: report.Lower}, {Name: "stall ms"},
		},
		files: lasts(name, rate),
	}
	g.config = func(o *Options) shape.Config {
		c := shape.Config{
			Groups: []shape.Group{{Conns: conns, Clients: min(conns, idleSources), Path: g.files(o)[0].path()}},
		}
		c.Spread, c.Warm = times(o, shapeSpread, shapeWarm)
		if conns == 1 {
			c.Spread = 0
		}
		return c
	}
	g.figures = func(_ *Options, res *shape.Result) []float64 {
		off := res.Errors(float64(rate))
		first := res.Of(-1, func(c *shape.Conn) float64 { return float64(c.First) / float64(rate) })
		return []float64{
			report.Median(off), shape.Quantile(off, 0.99),
			100 * report.Median(res.Of(-1, func(c *shape.Conn) float64 { return c.CoV })),
			100 * report.Median(res.Of(-1, func(c *shape.Conn) float64 { return c.CoVSec })),
			shape.Quantile(res.Of(-1, func(c *shape.Conn) float64 { return millis(c.Silence) }), 0.99),
			report.Median(first), shape.Quantile(first, 0.99), cpuPart(res), millis(res.Stall),
		}
	}
	return g.testCase()
}

func cpuPart(res *shape.Result) float64 { return 100 * res.ServerCPU / res.Seconds }

// clientLimit has three clients with 1, 4 and 16 connections and the same limit of a client.
func clientLimit() *testCase {
	const rate = 10 * mib
	g := &shaping{
		name: "shape-client", about: "10 MiB/s for each client, of which there are one with 1, one with 4 and one with 16 connections: error of the sum",
		limits: []string{"--limit-client", "10MiB/s"},
		metrics: []report.Metric{
			{Name: "error % of 1"}, {Name: "of 4"}, {Name: "of 16"}, {Name: "CoV % 100 ms"}, {Name: "CPU %"}, {Name: "stall ms"},
		},
		files: lasts("shape-client", rate),
	}
	g.config = func(o *Options) shape.Config {
		var c shape.Config
		for i, n := range []int{1, 4, 16} {
			c.Groups = append(c.Groups, shape.Group{Conns: n, Source: i, Clients: 1, Path: g.files(o)[0].path()})
		}
		c.Spread, c.Warm = times(o, shapeSpread, shapeWarm)
		return c
	}
	g.figures = func(_ *Options, res *shape.Result) []float64 {
		var v []float64
		for i := range 3 {
			v = append(v, 100*math.Abs(res.Rate(i)/rate-1))
		}
		return append(v, 100*report.Median(res.Of(-1, func(c *shape.Conn) float64 { return c.CoV })), cpuPart(res), millis(res.Stall))
	}
	return g.testCase()
}

// globalLimit has eight clients with 1, 8 or 64 connections that share one limit.
func globalLimit() *testCase {
	g := &shaping{
		name: "shape-global", about: "100 MiB/s for everything, 8 clients with 1, 8, 64, 1, 8, 64, 1 and 8 connections: Jain's index over clients",
		limits:  []string{"--limit-global", "100MiB/s"},
		metrics: []report.Metric{{Name: "Jain"}, {Name: "% of the limit"}, {Name: "least/most"}, {Name: "CPU %"}, {Name: "stall ms"}},
		files:   lasts("shape-global", shapeGlobal/4),
	}
	g.config = func(o *Options) shape.Config {
		var c shape.Config
		for i, n := range []int{1, 8, 64, 1, 8, 64, 1, 8} {
			c.Groups = append(c.Groups, shape.Group{Conns: n, Source: i, Clients: 1, Path: g.files(o)[0].path()})
		}
		c.Spread, c.Warm = times(o, shapeSpread, shapeWarm)
		return c
	}
	g.figures = func(_ *Options, res *shape.Result) []float64 {
		var sums []float64
		for _, b := range res.Clients() {
			sums = append(sums, b)
		}
		return []float64{
			shape.Jain(sums), 100 * res.Rate(-1) / shapeGlobal, slices.Min(sums) / slices.Max(sums), cpuPart(res), millis(res.Stall),
		}
	}
	return g.testCase()
}

// weights has three path classes that share a limit by weight.
func weights() *testCase {
	const unit = 4 * mib // of weight 1, in bytes per second
	paths := []string{"shape-w1", "shape-w2", "shape-w4"}
	g := &shaping{
		name: "shape-weights", about: "28 MiB/s for everything, three paths of weight 1, 2 and 4 with 8 connections each: error of each share",
		limits:  []string{"--limit-global", "28MiB/s"},
		metrics: []report.Metric{{Name: "error % of 1"}, {Name: "of 2"}, {Name: "of 4"}, {Name: "% of the limit"}, {Name: "stall ms"}},
	}
	g.files = func(o *Options) (files []file) {
		for i, p := range paths {
			files = append(files, downloadOf(o, p, unit<<i/2)) // of 8 connections
		}
		return files
	}
	for i, f := range g.files(&Options{}) {
		prefix := f.path()[:len(f.path())-len(".bin")]
		g.limits = append(g.limits, "--limit-path", fmt.Sprintf("%s=unlimited,weight=%d", prefix, 1<<i))
	}
	g.config = func(o *Options) shape.Config {
		var c shape.Config
		for i, f := range g.files(o) {
			c.Groups = append(c.Groups, shape.Group{Conns: 8, Source: 2 * i, Clients: 2, Path: f.path()})
		}
		c.Spread, c.Warm = times(o, shapeSpread, shapeWarm)
		return c
	}
	g.figures = func(_ *Options, res *shape.Result) []float64 {
		var v []float64
		for i := range paths {
			v = append(v, 100*math.Abs(res.Rate(i)/res.Rate(-1)*7/float64(int(1)<<i)-1))
		}
		return append(v, 100*res.Rate(-1)/(7*unit), millis(res.Stall))
	}
	return g.testCase()
}

// busyAmongIdle has one client that downloads, among many that have downloaded before.
func busyAmongIdle() *testCase {
	const resting = 1000
	g := &shaping{
		name: "shape-idle", about: fmt.Sprintf("100 MiB/s for everything, one connection that downloads beside %d of 100 other clients that rest", resting),
		limits: []string{"--limit-global", "100MiB/s"}, conns: resting,
		metrics: []report.Metric{{Name: "% of the limit"}, {Name: "CoV % 100 ms"}, {Name: "CPU %"}, {Name: "stall ms"}},
		files:   lasts("shape-idle", shapeGlobal),
	}
	g.config = func(o *Options) shape.Config {
		c := shape.Config{Groups: []shape.Group{
			{Conns: 1, Clients: 1, Path: g.files(o)[0].path()},
			{Conns: resting, Source: 1, Clients: 100, Path: file1k.path(), Once: true},
		}}
		c.Spread, c.Warm = times(o, shapeSpread, shapeWarm)
		return c
	}
	g.figures = func(_ *Options, res *shape.Result) []float64 {
		return []float64{100 * res.Rate(0) / shapeGlobal, 100 * res.Conns[0].CoV, cpuPart(res), millis(res.Stall)}
	}
	return g.testCase()
}

// probeBeside has short requests beside downloads that use a limit up.
func probeBeside() *testCase {
	const conns, every = 64, 20 * time.Millisecond
	small := file{"4k.bin", 4 * kib}
	g := &shaping{
		name: "shape-short", about: fmt.Sprintf("4 KiB every %v beside %d downloads of 8 clients, 100 MiB/s for everything", every, conns),
		limits:  []string{"--limit-global", "100MiB/s"},
		metrics: []report.Metric{{Name: "p50 ms"}, {Name: "p99 ms"}, {Name: "max ms"}, {Name: "% of the limit"}, {Name: "stall ms"}},
	}
	g.files = func(o *Options) []file { return append(lasts("shape-short", 4*shapeGlobal/conns)(o), small) }
	g.config = func(o *Options) shape.Config {
		c := shape.Config{
			Groups: []shape.Group{{Conns: conns, Clients: 8, Path: g.files(o)[0].path()}},
			Probe:  shape.Probe{Path: small.path(), Source: 8, Every: every},
		}
		c.Spread, c.Warm = times(o, shapeSpread, shapeWarm)
		return c
	}
	g.figures = func(_ *Options, res *shape.Result) []float64 {
		var ms []float64
		for _, d := range res.Probes {
			ms = append(ms, millis(d))
		}
		return []float64{
			report.Median(ms), shape.Quantile(ms, 0.99), shape.Quantile(ms, 1), 100 * res.Rate(-1) / shapeGlobal, millis(res.Stall),
		}
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
	g.run = func(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
		if err := g.warm(r); err != nil {
			return nil, err
		}
		if _, err := putRate(ctx, s, "100MiB/s"); err != nil {
			return nil, err
		}
		c := shape.Config{
			Groups:  []shape.Group{{Conns: conns, Clients: 10, Path: g.files(&r.Options)[0].path()}},
			Measure: r.Shape,
		}
		c.Spread, c.Warm = times(&r.Options, shapeSpread, shapeWarm)
		third := r.Shape / 3
		var at [2]int64
		var answer time.Duration
		res, err := r.receive(ctx, s, c, func(ctx context.Context, began int64) error {
			for i, rate := range []string{"50MiB/s", "150MiB/s"} {
				at[i] = began + int64(third)*int64(i+1)
				if err := sleepUntil(ctx, at[i]); err != nil {
					return err
				}
				at[i] = shape.Clock()
				took, err := putRate(ctx, s, rate)
				if err != nil {
					return err
				}
				answer = max(answer, took)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		down, okDown := res.Settled(at[0], at[1], 50*mib, tolerance)
		up, okUp := res.Settled(at[1], res.Began+int64(r.Shape), 150*mib, tolerance)
		if !okDown || !okUp {
			return nil, fmt.Errorf("the new rate was never reached: %v, %v", okDown, okUp)
		}
		return []float64{millis(down), millis(up), millis(answer), millis(res.Stall)}, nil
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
		files: func(o *Options) []file { return []file{o.large(0)} },
	}
	g.run = func(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
		if err := g.warm(r); err != nil {
			return nil, err
		}
		c := shape.Config{Groups: []shape.Group{{Conns: 1, Clients: 1, Path: r.large(0).path()}}, Measure: r.Shape}
		_, c.Warm = times(&r.Options, 0, shapeWarm)
		limited, err := r.receive(ctx, s, c, nil)
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
		paced, err := r.receive(ctx, free, c, nil)
		if err != nil {
			return nil, err
		}
		a, b := perGigabyte(limited), perGigabyte(paced)
		return []float64{
			a, b, a / b, limited.Rate(-1) / 1e9, paced.Rate(-1) / 1e9, millis(max(limited.Stall, paced.Stall)),
		}, nil
	}
	return g.testCase()
}

// perGigabyte returns the server's CPU time in ms for each GB.
func perGigabyte(res *shape.Result) float64 {
	return 1e3 * res.ServerCPU / (res.Rate(-1) * res.Seconds / 1e9)
}
