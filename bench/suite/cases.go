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

	usualFiles = 1000   // that nginx keeps open, where a case is not about that
	wideFiles  = 10_000 // where it has all
)

// The files of the cases. That of "range" and "cold" has the size of Options.
var (
	file1k   = file{name: "1k.bin", size: kib}
	file16k  = file{name: "16k.bin", size: 16 * kib}
	file64k  = file{name: "64k.bin", size: rangeLen}
	file100k = file{name: "100k.bin", size: 100 * kib}
	file1m   = file{name: "1m.bin", size: mib}
	file10m  = file{name: "10m.bin", size: 10 * mib}
)

func (o *Options) large(i int) file {
	return file{name: fmt.Sprintf("large%d.bin", i), size: o.LargeFile}
}

// testCase is one case. All functions but field and possible are set.
type testCase struct {
	name    string
	metrics []report.Metric
	fresh   bool // a new server process for each measurement
	cold    bool // nginx takes part with "aio threads" too
	open    bool // nginx takes part with a cache of all open files too, its own is off

	field func(o *Options) []Contestant // the servers, if the case has its own

	about    func(o *Options) string
	files    func(o *Options) []file
	site     func(r *runner) peer.Site
	possible func(r *runner) string      // why it cannot be measured here; "": it can
	excluded func(kind peer.Kind) string // why a kind of server does not take part
	verify   func(ctx context.Context, r *runner, s *peer.Server) error
	run      func(ctx context.Context, r *runner, s *peer.Server) ([]float64, error)
}

// What is looked at of small and of large files. For these it counts what a byte
// costs the server, since the receiver is often the bottleneck.
var (
	ofRequests = []column{
		higher("requests/s", perSecond), lower("CPU µs/request", cpuMicros),
		plain("p50 µs", p50Micros), plain("p99 µs", p99Micros), plain("load busy %", busy),
	}
	ofBytes = []column{
		higher("GB/server CPU s", perCPUSecond), higher("GB/s", gigabytes),
		plain("CPU ms/request", func(r *load.Result) float64 { return float64(file10m.size) / 1e6 / perCPUSecond(r) }),
		plain("load busy %", busy),
	}
	ofLatency = []column{lower("p50 µs", p50Micros), plain("p99 µs", p99Micros), lower("CPU µs/request", cpuMicros)}
)

// cases in the order in which they run. "cold" is last: it drops the page cache.
var cases = []*testCase{
	single("1k", "1 KiB, {conns} keep-alive connections", file1k, ofRequests),
	single("16k", "16 KiB, {conns} keep-alive connections", file16k, ofRequests),
	single("64k", "64 KiB, {conns} keep-alive connections", file64k, ofRequests),
	single("100k", "100 KiB, {conns} keep-alive connections", file100k, ofRequests),
	single("1m", "1 MiB, {conns} keep-alive connections", file1m, ofRequests),
	single("10m", "10 MiB, {conns} keep-alive connections", file10m, ofBytes),
	single("latency", "1 KiB, one connection", file1k, ofLatency, func(g *load.Group) { g.Conns = 1 }),
	idle(),
	ranges(),
	multiparts(),
	reconnect(),
	several("wide-500", "500 files of 16 KiB drawn at random, {conns} keep-alive connections", file{name: "wide16k/", size: 16 * kib, many: 500}),
	several("wide-3000", "3,000 files of 16 KiB drawn at random, {conns} keep-alive connections", file{name: "wide16k/", size: 16 * kib, many: 3000}),
	several("wide-800", "800 files of 64 KiB drawn at random, {conns} keep-alive connections", file{name: "wide64k/", size: 64 * kib, many: 800}),
	tail(),
	hotBesideTail(),
	slowloris(),
	secure("tls-1k", "1 KiB, {conns} keep-alive connections", file1k),
	secure("tls-100k", "100 KiB, {conns} keep-alive connections", file100k),
	secure("tls-1m", "1 MiB, {conns} keep-alive connections", file1m),
	secure("tls-10m", "10 MiB, {conns} keep-alive connections", file10m),
	handshakes("tls-new", "a new connection per request", load.NewSessions),
	handshakes("tls-resumed", "a new connection per request, which resumes a session", load.Resumed),
	secureIdle(),
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
	embedFiles(),
	embedLimited("embed-200m", "200 MB/s", 200_000_000),
	embedLimited("embed-1g", "1 GB/s", 1_000_000_000),
	embedGin(),
	embedCold(),
	cold(),
}

// Names of groups of cases.
const (
	// ShapeGroup stands for all cases of limited downloads.
	ShapeGroup = "shape"
	// TLSGroup stands for all cases over TLS.
	TLSGroup = "tls"
	// EmbedGroup stands for all cases of servers that the engine is embedded in.
	EmbedGroup = "embed"
	// BuildsGroup stands for what to look at when two builds of fserve are compared.
	BuildsGroup = "builds"
)

// groups are names that stand for several cases.
var groups = map[string]func(name string) bool{
	ShapeGroup: func(name string) bool { return strings.HasPrefix(name, ShapeGroup+"-") },
	TLSGroup:   func(name string) bool { return strings.HasPrefix(name, TLSGroup+"-") },
	EmbedGroup: func(name string) bool { return strings.HasPrefix(name, EmbedGroup+"-") },
	BuildsGroup: func(name string) bool {
		return slices.Contains([]string{"1k", "16k", "100k", "range", "idle", "shape-10k", "cold"}, name)
	},
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
// those of ShapeGroup, which take long, and of EmbedGroup.
func Usual() []string {
	return slices.DeleteFunc(Names(), func(name string) bool { return groups[ShapeGroup](name) || groups[EmbedGroup](name) })
}

// HaveOwn tells whether all these cases have their own servers.
func HaveOwn(names []string) bool {
	sel, err := selectCases(names)
	return err == nil && !slices.ContainsFunc(sel, func(c *testCase) bool { return c.field == nil })
}

// Known tells whether there is a case or a group of cases of that name.
func Known(name string) bool { return groups[name] != nil || slices.Contains(Names(), name) }

// selectCases returns the named cases and groups, in the order in which they run.
func selectCases(names []string) (sel []*testCase, err error) {
	for _, n := range names {
		if !Known(n) {
			return nil, fmt.Errorf("unknown case %q; there are %s", n, strings.Join(Names(), ", "))
		}
	}
	for _, c := range cases {
		if slices.ContainsFunc(names, func(n string) bool { return n == c.name || groups[n] != nil && groups[n](c.name) }) {
			sel = append(sel, c)
		}
	}
	return sel, nil
}

// single returns a case in which all connections ask for one file over and over, but
// for what edit changes of that. Others begin with it and replace what differs. In what it
// is about, names in braces stand for what the options say.
func single(name, about string, f file, columns []column, edit ...func(*load.Group)) *testCase {
	return &testCase{
		name:     name,
		metrics:  metrics(columns),
		about:    func(o *Options) string { return o.fill(about) },
		files:    func(*Options) []file { return []file{f} },
		site:     func(r *runner) peer.Site { return r.site(f, r.Conns) },
		excluded: func(peer.Kind) string { return "" },
		verify: func(ctx context.Context, r *runner, s *peer.Server) error {
			return r.verify.whole(ctx, s, f, false)
		},
		run: func(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
			g := r.closed(f)
			for _, e := range edit {
				e(&g)
			}
			res, err := r.generate(ctx, s, r.load(g))
			if err != nil {
				return nil, err
			}
			return figures(columns, res), nil
		},
	}
}

// fill puts what the options say into a text.
func (o *Options) fill(text string) string {
	return strings.NewReplacer("{conns}", fmt.Sprint(o.Conns), "{idle}", fmt.Sprint(o.IdleConns),
		"{large}", fmt.Sprintf("%d MiB", o.LargeFile/mib)).Replace(text)
}

func (r *runner) site(f file, conns int) peer.Site {
	return peer.Site{
		Root: r.root, Scratch: r.scratch, Self: r.Self, CPU: r.ServerCPU, Path: f.path(), Conns: max(conns, 1024),
		NginxFiles: usualFiles, Host: r.Host,
	}
}

// reconnect opens a connection for each request.
func reconnect() *testCase {
	c := single("conn", "1 KiB, a new connection per request, {conns} at a time", file1k, ofRequests, func(g *load.Group) {
		g.Mode, g.Clients = load.Reconnect, connSources
	})
	c.site = func(r *runner) peer.Site {
		site := r.site(file1k, r.Conns)
		site.Close = true
		return site
	}
	c.verify = func(ctx context.Context, r *runner, s *peer.Server) error {
		return r.verify.whole(ctx, s, file1k, true)
	}
	return c
}

// ranges asks for parts of a large file, and for a whole file of their size.
func ranges() *testCase {
	c := single("range", "random ranges of 64 KiB out of {large}, beside a whole file of 64 KiB, {conns} keep-alive connections", file64k, nil)
	c.metrics = []report.Metric{
		{Name: "ranges/s", Better: report.Higher}, {Name: "CPU µs/range", Better: report.Lower},
		{Name: "files/s", Better: report.Higher}, {Name: "CPU µs/file"}, {Name: "ranges/files"},
	}
	c.files = func(o *Options) []file { return []file{file64k, o.large(0)} }
	c.excluded = oneAnswer
	c.verify = func(ctx context.Context, r *runner, s *peer.Server) error {
		if err := resident(r.root, r.large(0)); err != nil {
			return err
		}
		if err := r.verify.whole(ctx, s, file64k, false); err != nil {
			return err
		}
		return r.verify.ranges(ctx, s, r.large(0), rangeLen)
	}
	c.run = runRanges
	return c
}

func runRanges(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
	g := r.closed(r.large(0))
	g.BodyLen, g.Ranges.Of = rangeLen, r.LargeFile
	part, err := r.generate(ctx, s, r.load(g))
	if err != nil {
		return nil, err
	}
	whole, err := r.generate(ctx, s, r.load(r.closed(file64k)))
	if err != nil {
		return nil, err
	}
	return []float64{
		perSecond(part), cpuMicros(part), perSecond(whole), cpuMicros(whole), perSecond(part) / perSecond(whole),
	}, nil
}

// oneAnswer leaves the floor out of cases that need more than one response.
func oneAnswer(kind peer.Kind) string {
	if kind == peer.Floor {
		return "it has one response only"
	}
	return ""
}
