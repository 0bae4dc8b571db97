package suite

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/fserve/fserve/bench/load"
	"github.com/fserve/fserve/bench/peer"
	"github.com/fserve/fserve/bench/report"
)

const (
	kib = 1 << 10
	mib = 1 << 20

	rangeLen    = 64 * kib
	connSources = 64 // source addresses of "conn": ports linger for a minute each
	idleSources = 8
)

// The files of the cases. That of "range" and "cold" has the size of Options.
var (
	file1k   = file{"1k.bin", kib}
	file16k  = file{"16k.bin", 16 * kib}
	file64k  = file{"64k.bin", rangeLen}
	file100k = file{"100k.bin", 100 * kib}
	file1m   = file{"1m.bin", mib}
	file10m  = file{"10m.bin", 10 * mib}
)

func (o *Options) large(i int) file { return file{fmt.Sprintf("large%d.bin", i), o.LargeFile} }

// testCase is one case. All functions but possible are set.
type testCase struct {
	name    string
	metrics []report.Metric
	fresh   bool // a new server process for each measurement
	cold    bool // nginx takes part with "aio threads" too

	about    func(o *Options) string
	files    func(o *Options) []file
	site     func(r *runner) peer.Site
	possible func(r *runner) string      // why it cannot be measured here; "": it can
	excluded func(kind peer.Kind) string // why a kind of server does not take part
	verify   func(ctx context.Context, r *runner, s *peer.Server) error
	run      func(ctx context.Context, r *runner, s *peer.Server) ([]float64, error)
}

// cases in the order in which they run. "cold" is last: it drops the page cache.
var cases = []*testCase{
	throughput("1k", "1 KiB", file1k),
	throughput("16k", "16 KiB", file16k),
	throughput("100k", "100 KiB", file100k),
	throughput("1m", "1 MiB", file1m),
	bulk(),
	latency(),
	idle(),
	ranges(),
	multiparts(),
	reconnect(),
	slowloris(),
	each("shape-one", "one connection with a limit of 1 MiB/s", "1MiB/s", mib, 1),
	each("shape-fast", "one connection with a limit of 100 MiB/s", "100MiB/s", 100*mib, 1),
	each("shape-100", "100 connections with a limit of 1 MiB/s each", "1MiB/s", mib, 100),
	each("shape-10k", "10,000 connections with a limit of 50 KB/s each", "50KB/s", 50_000, 10_000),
	clientLimit(),
	globalLimit(),
	weights(),
	busyAmongIdle(),
	probeBeside(),
	retune(),
	scraped(),
	costs(),
	cold(),
}

// Names returns the names of all cases.
func Names() []string {
	var names []string
	for _, c := range cases {
		names = append(names, c.name)
	}
	return names
}

// Usual returns the names of the cases that are measured if none are named: all but
// those of ShapeGroup, which take long.
func Usual() []string {
	return slices.DeleteFunc(Names(), func(name string) bool { return strings.HasPrefix(name, ShapeGroup+"-") })
}

// selectCases returns the named cases, in the order in which they run.
func selectCases(names []string) ([]*testCase, error) {
	names = expand(names)
	for _, n := range names {
		if !slices.Contains(Names(), n) {
			return nil, fmt.Errorf("unknown case %q; there are %s", n, strings.Join(Names(), ", "))
		}
	}
	var sel []*testCase
	for _, c := range cases {
		if slices.Contains(names, c.name) {
			sel = append(sel, c)
		}
	}
	return sel, nil
}

// single returns a case that asks for one file, for others to complete.
func single(name string, f file) *testCase {
	return &testCase{
		name:     name,
		files:    func(*Options) []file { return []file{f} },
		site:     func(r *runner) peer.Site { return r.site(f, r.Conns) },
		excluded: func(peer.Kind) string { return "" },
		verify: func(ctx context.Context, r *runner, s *peer.Server) error {
			return r.verify.whole(ctx, s, f, false)
		},
	}
}

func (r *runner) site(f file, conns int) peer.Site {
	return peer.Site{
		Root: r.root, Scratch: r.scratch, Self: r.Self, CPU: r.ServerCPU, Path: f.path(), Conns: max(conns, 1024),
	}
}

// throughput asks for one file over and over on all connections.
func throughput(name, what string, f file) *testCase {
	c := single(name, f)
	c.about = func(o *Options) string { return fmt.Sprintf("%s, %d keep-alive connections", what, o.Conns) }
	c.metrics = []report.Metric{
		{Name: "requests/s", Better: report.Higher}, {Name: "CPU µs/request", Better: report.Lower},
		{Name: "p50 µs"}, {Name: "p99 µs"}, {Name: "load busy %"},
	}
	c.run = func(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
		res, err := r.closed(ctx, s, f, load.Closed)
		return []float64{perSecond(res), cpuMicros(res), micros(res.P50), micros(res.P99), busy(res)}, err
	}
	return c
}

// closed runs one closed-loop load.
func (r *runner) closed(ctx context.Context, s *peer.Server, f file, mode load.Mode) (load.Result, error) {
	c, err := r.config(s, mode, f)
	if err != nil {
		return load.Result{}, err
	}
	if mode == load.Reconnect {
		c.Sources = connSources
	}
	return r.generate(ctx, c)
}

// bulk sends large files: what counts is what a byte costs the server, since
// the receiver is often the bottleneck.
func bulk() *testCase {
	c := single("10m", file10m)
	c.about = func(o *Options) string { return fmt.Sprintf("10 MiB, %d keep-alive connections", o.Conns) }
	c.metrics = []report.Metric{
		{Name: "GB/server CPU s", Better: report.Higher}, {Name: "GB/s", Better: report.Higher},
		{Name: "CPU ms/request"}, {Name: "load busy %"},
	}
	c.run = func(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
		res, err := r.closed(ctx, s, file10m, load.Closed)
		perCPU := perCPUSecond(res)
		return []float64{perCPU, gigabytes(res), float64(file10m.size) / 1e6 / perCPU, busy(res)}, err
	}
	return c
}

// latency has one request in flight in all.
func latency() *testCase {
	c := single("latency", file1k)
	c.about = func(*Options) string { return "1 KiB, one connection" }
	c.metrics = []report.Metric{
		{Name: "p50 µs", Better: report.Lower}, {Name: "p99 µs"}, {Name: "CPU µs/request", Better: report.Lower},
	}
	c.run = func(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
		lc, err := r.config(s, load.Closed, file1k)
		if err != nil {
			return nil, err
		}
		lc.Conns = 1
		res, err := r.generate(ctx, lc)
		return []float64{micros(res.P50), micros(res.P99), cpuMicros(res)}, err
	}
	return c
}

// reconnect opens a connection for each request.
func reconnect() *testCase {
	c := throughput("conn", "", file1k)
	c.about = func(o *Options) string {
		return fmt.Sprintf("1 KiB, a new connection per request, %d at a time", o.Conns)
	}
	c.site = func(r *runner) peer.Site {
		site := r.site(file1k, r.Conns)
		site.Close = true
		return site
	}
	c.verify = func(ctx context.Context, r *runner, s *peer.Server) error {
		return r.verify.whole(ctx, s, file1k, true)
	}
	c.run = func(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
		res, err := r.closed(ctx, s, file1k, load.Reconnect)
		return []float64{perSecond(res), cpuMicros(res), micros(res.P50), micros(res.P99), busy(res)}, err
	}
	return c
}

// ranges asks for parts of a large file, and for a whole file of their size.
func ranges() *testCase {
	return &testCase{
		name: "range",
		about: func(o *Options) string {
			return fmt.Sprintf("random ranges of 64 KiB out of %d MiB, beside a whole file of 64 KiB, %d keep-alive connections",
				o.LargeFile/mib, o.Conns)
		},
		metrics: []report.Metric{
			{Name: "ranges/s", Better: report.Higher}, {Name: "CPU µs/range", Better: report.Lower},
			{Name: "files/s", Better: report.Higher}, {Name: "CPU µs/file"}, {Name: "ranges/files"},
		},
		files:    func(o *Options) []file { return []file{file64k, o.large(0)} },
		site:     func(r *runner) peer.Site { return r.site(file64k, r.Conns) },
		excluded: oneAnswer,
		verify: func(ctx context.Context, r *runner, s *peer.Server) error {
			if err := resident(r.root, r.large(0)); err != nil {
				return err
			}
			if err := r.verify.whole(ctx, s, file64k, false); err != nil {
				return err
			}
			return r.verify.ranges(ctx, s, r.large(0), rangeLen)
		},
		run: runRanges,
	}
}

func runRanges(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
	c, err := r.config(s, load.Closed, r.large(0))
	if err != nil {
		return nil, err
	}
	c.BodyLen, c.RangeOf = rangeLen, r.LargeFile
	part, err := r.generate(ctx, c)
	if err != nil {
		return nil, err
	}
	whole, err := r.closed(ctx, s, file64k, load.Closed)
	return []float64{
		perSecond(part), cpuMicros(part), perSecond(whole), cpuMicros(whole), perSecond(part) / perSecond(whole),
	}, err
}

// oneAnswer leaves the floor out of cases that need more than one response.
func oneAnswer(kind peer.Kind) string {
	if kind == peer.Floor {
		return "it has one response only"
	}
	return ""
}
