package suite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fserve/fserve/bench/load"
	"github.com/fserve/fserve/bench/peer"
	"github.com/fserve/fserve/bench/report"
	"github.com/fserve/fserve/bench/shape"
)

const (
	// ShapeGroup stands for all cases of shaping.
	ShapeGroup = "shape"

	// ShapeCommand is the subcommand of this program that receives shaped traffic.
	ShapeCommand = "shape-receiver"
)

// shaping is a case of limited downloads.
type shaping struct {
	name, about string
	metrics     []report.Metric

	limits []string // arguments of fserve
	nginx  int64    // limit_rate of nginx in bytes per second; 0: it has no such limit
	admin  bool     // fserve has an admin listener
	conns  int      // connections that must fit; 0: a few

	files   func(o *Options) []file
	config  func(o *Options) shape.Config                                           // all but where and how long
	figures func(o *Options, res *shape.Result) []float64                           // nil with run
	run     func(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) // nil: one measurement
}

// testCase turns a case of limited downloads into one of the suite.
func (g *shaping) testCase() *testCase {
	c := &testCase{
		name:    g.name,
		metrics: g.metrics,
		about:   func(*Options) string { return g.about },
		files:   func(o *Options) []file { return append([]file{file1k}, g.files(o)...) },
		site:    g.site,
		verify: func(ctx context.Context, r *runner, s *peer.Server) error {
			return r.verify.whole(ctx, s, file1k, false)
		},
		excluded: g.excluded,
		run:      g.run,
	}
	if g.conns > 0 {
		c.possible = func(*runner) string {
			// The servers inherit the limit.
			if err := load.RaiseFiles(roomFor(g.conns)); err != nil {
				return err.Error()
			}
			return ""
		}
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

// measure makes the one measurement of most cases.
func (g *shaping) measure(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
	c := g.config(&r.Options)
	c.Measure = r.Shape
	if err := g.warm(r); err != nil {
		return nil, err
	}
	res, err := r.receive(ctx, s, c, nil)
	if err != nil {
		return nil, err
	}
	r.trace(g.name, s.Name, res)
	return g.figures(&r.Options, res), nil
}

// warm brings the files into the page cache.
func (g *shaping) warm(r *runner) error {
	for _, f := range g.files(&r.Options) {
		if err := resident(r.root, f); err != nil {
			return err
		}
	}
	return nil
}

// trace keeps the slots of one connection for the plot: those of the first round.
func (r *runner) trace(name, server string, res *shape.Result) {
	if r.traces == nil {
		r.traces = make(map[string][]shape.Series)
	}
	if !slices.ContainsFunc(r.traces[name], func(s shape.Series) bool { return s.Name == server }) {
		r.traces[name] = append(r.traces[name], shape.Series{Name: server, Bytes: res.Trace})
	}
}

// plots draws what was kept into the directory of Options.Plot.
func (r *runner) plots() error {
	if r.Plot == "" {
		return nil
	}
	for name, series := range r.traces {
		if err := shape.Plot(r.Plot, name, series); err != nil {
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

// expand replaces ShapeGroup among the names of cases by those that it stands for.
func expand(names []string) []string {
	var all []string
	for _, n := range names {
		if n != ShapeGroup {
			all = append(all, n)
			continue
		}
		for _, c := range cases {
			if strings.HasPrefix(c.name, ShapeGroup+"-") {
				all = append(all, c.name)
			}
		}
	}
	return all
}

// times shortens what happens before a measurement when that is short itself, as in
// tests.
func times(o *Options, spread, warm time.Duration) (s, w time.Duration) {
	return min(spread, o.Shape/2), min(warm, o.Shape/2)
}
