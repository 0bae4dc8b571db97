package suite

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fserve/fserve/bench/load"
	"github.com/fserve/fserve/bench/peer"
	"github.com/fserve/fserve/bench/report"
)

const (
	shapeSpread = time.Second
	shapeWarm   = time.Second

	shapeTurn = 4 * mib // taken at once of a download, in bytes: others wait meanwhile
)

// shaping is a case of limited downloads.
type shaping struct {
	name, about string

	limits []string // arguments of fserve
	nginx  int64    // limit_rate of nginx in bytes per second; 0: it has no such limit
	admin  bool     // fserve has an admin listener
	conns  int      // connections that must fit; 0: a few

	files  func(o *Options) []file
	groups func(o *Options) []load.Group

	// One measurement, or
	columns []column
	// several.
	metrics []report.Metric
	run     func(ctx context.Context, r *runner, s *peer.Server) ([]float64, error)
}

// testCase turns a case of limited downloads into one of the suite.
func (g *shaping) testCase() *testCase {
	c := &testCase{
		name:    g.name,
		metrics: append(metrics(g.columns), g.metrics...),
		about:   func(*Options) string { return g.about },
		files:   func(o *Options) []file { return append([]file{file1k}, g.files(o)...) },
		site:    g.site,
		verify: func(ctx context.Context, r *runner, s *peer.Server) error {
			for _, f := range g.files(&r.Options) {
				if err := resident(r.root, f); err != nil {
					return err
				}
			}
			return r.verify.whole(ctx, s, file1k, false)
		},
		excluded: g.excluded,
		run:      g.run,
	}
	if g.conns > 0 {
		c.possible = func(*runner) string { return fits(roomFor(g.conns)) }
	}
	if c.run == nil {
		c.run = g.measure
	}
	return c
}

func (g *shaping) site(r *runner) peer.Site {
	site := r.site(file1k, max(roomFor(g.conns), r.Conns))
	site.FserveArgs, site.NginxRate, site.Admin = g.limits, g.nginx, g.admin
	return site
}

func (g *shaping) excluded(kind peer.Kind) string {
	switch {
	case kind == peer.Nginx && g.nginx == 0:
		return "it has no such limit"
	case kind != peer.Nginx && kind != peer.Fserve:
		return "it has no limits"
	}
	return ""
}

// load returns the load of the case. What happens before the measurement is short when
// that is short itself, as in tests.
func (g *shaping) load(r *runner) load.Config {
	c := load.Config{
		Groups: g.groups(&r.Options), Slots: true, Measure: r.Shape,
		Spread: min(shapeSpread, r.Shape/2), Warm: min(shapeWarm, r.Shape/2),
	}
	if len(c.Groups) == 1 && c.Groups[0].Conns == 1 {
		c.Spread = 0
	}
	return c
}

// measure makes the one measurement of most cases.
func (g *shaping) measure(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
	res, err := r.steady(ctx, s, g.load(r), nil)
	if err != nil {
		return nil, err
	}
	r.trace(g.name, s.Name, res)
	return figures(g.columns, res), nil
}

// trace keeps the slots of one connection for the plot: those of the first round.
func (r *runner) trace(name, server string, res *load.Result) {
	if r.traces == nil {
		r.traces = make(map[string][]series)
	}
	if !slices.ContainsFunc(r.traces[name], func(s series) bool { return s.name == server }) {
		r.traces[name] = append(r.traces[name], series{name: server, bytes: res.Trace})
	}
}

// plots draws what was kept into the directory of Options.Plot.
func (r *runner) plots() error {
	if r.Plot == "" {
		return nil
	}
	for name, series := range r.traces {
		if err := plotTo(r.Plot, name, series); err != nil {
			return fmt.Errorf("plot of %s: %w", name, err)
		}
	}
	return nil
}

// lasts returns a file of a name of the case's own that one connection does not finish
// at so many bytes per second.
func lasts(name string, rate int64) func(o *Options) []file {
	return func(o *Options) []file { return []file{downloadOf(o, name, rate)} }
}

func downloadOf(o *Options, name string, rate int64) file {
	const opening = 4 // seconds for Spread and Warm, and more
	size := int64(float64(rate) * (o.Shape.Seconds() + opening))
	return file{name: name + ".bin", size: (size/mib + 1) * mib}
}

// downloads returns connections that download f over and over, of so many clients.
func downloads(f file, conns, clients int) load.Group {
	return load.Group{Mode: load.Closed, Conns: conns, Path: f.path(), BodyLen: f.size, Clients: clients, Turn: shapeTurn}
}

// of returns the figure of each connection, of all groups.
func of(figure func(*load.Conn) float64) func(*load.Result) []float64 {
	return func(r *load.Result) []float64 { return r.Of(-1, figure) }
}

// The figures of connections.
var (
	variation       = of(func(c *load.Conn) float64 { return 100 * c.CoV })
	variationSecond = of(func(c *load.Conn) float64 { return 100 * c.CoVSec })
	silence         = of(func(c *load.Conn) float64 { return millis(c.Silence) })
)

// median and p99 make one figure of those of all connections.
func median(of func(*load.Result) []float64) func(*load.Result) float64 {
	return func(r *load.Result) float64 { return report.Median(of(r)) }
}

func p99(of func(*load.Result) []float64) func(*load.Result) float64 {
	return func(r *load.Result) float64 { return report.Quantile(of(r), 0.99) }
}

// ofLimit returns the part of a limit that a group uses, all groups with -1, in percent.
func ofLimit(group int, limit float64) column {
	return plain("% of the limit", func(r *load.Result) float64 { return 100 * r.Rate(group) / limit })
}

var (
	cpuColumn   = plain("CPU %", cpuPart)
	covColumn   = plain("CoV % 100 ms", median(variation))
	stallColumn = plain("stall ms", stall)
)
