package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/fserve/fserve/bench/peer"
	"github.com/fserve/fserve/bench/proc"
	"github.com/fserve/fserve/bench/suite"
)

const (
	defaultServers = "nginx,uring,fallback"
	compareServers = "uring,fallback" // with -compare
	compareSuffix  = "-compare"       // of the names of the other binary's rows
)

var errUsage = errors.New("wrong command line")

// flags is the command line.
type flags struct {
	cases, servers, peers string
	pairs, conns, idle    int
	seconds, attack       float64
	shape                 float64
	plot, record          string
	fserve, fserveArgs    string
	gin                   string
	compare, compareArgs  string
	dir, congestion       string
	serverCore, loadCore  int
	spin, veth            bool
	missing               []string // servers that are not installed
	json, markdown, list  bool
	largeMiB              int64
}

func parseFlags(args []string, stderr io.Writer) (*flags, error) {
	f := &flags{}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	f.bind(fs)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, errUsage // the flag set has said what is wrong
	}
	if f.servers == "" {
		f.servers = defaultServers
		if f.compare != "" {
			f.servers = compareServers
		}
	}
	return f, f.validate(fs)
}

// defaultCongestion is one algorithm for all servers, where it can be set: fserve has Reno
// at loopback, whatever the system has, and the others would have the system's.
func defaultCongestion() string {
	if os.Geteuid() != 0 {
		return ""
	}
	return "reno"
}

func (f *flags) bind(fs *flag.FlagSet) {
	fs.StringVar(&f.cases, "cases", strings.Join(suite.Usual(), ","), "what to measure, separated by `commas`; "+suite.ShapeGroup+" is all cases of limited downloads,\n"+
		suite.EmbedGroup+" of servers that the engine is embedded in, "+suite.TLSGroup+" over TLS, "+suite.BuildsGroup+" what to look at when two builds are compared")
	fs.StringVar(&f.servers, "servers", "", "what to compare: nginx, uring, fallback (fserve with that driver)\n"+
		"and any of -peers (default "+defaultServers+"; with -compare "+compareServers+")")
	fs.StringVar(&f.peers, "peers", "", "further servers: fasthttp, nethttp, floor; h2o, lighttpd, caddy, apache2 if they\n"+
		"are installed")
	fs.IntVar(&f.pairs, "pairs", 5, "rounds")
	fs.Float64Var(&f.seconds, "seconds", 2, "length of each measurement")
	fs.IntVar(&f.conns, "conns", 64, "connections")
	fs.IntVar(&f.idle, "idle-conns", 10000, "connections of the case idle, and slow ones of slowloris")
	fs.Float64Var(&f.attack, "attack-seconds", 10, "how long the attack of the case slowloris builds up, and then is measured:\n"+
		"as long as a server gives a request to arrive, so that it sees what cutting clients off costs")
	fs.Float64Var(&f.shape, "shape-seconds", 10, "length of each measurement of limited downloads")
	fs.StringVar(&f.plot, "plot", "", "`directory` in which each case of limited downloads is plotted (SVG)")
	fs.StringVar(&f.record, "record", "", "Markdown `file` that the results are added to, as a section with date and machine")
	fs.Int64Var(&f.largeMiB, "large-mib", 1024, "size of the files of the cases range, multipart and cold, in `MiB`")
	fs.StringVar(&f.fserve, "fserve", "", "`path` of the fserve binary (default: built from ./cmd/fserve)")
	fs.StringVar(&f.fserveArgs, "fserve-args", "", "further `arguments` for it")
	fs.StringVar(&f.compare, "compare", "", "`path` of another fserve binary to compare with")
	fs.StringVar(&f.compareArgs, "compare-args", "", "further `arguments` for that one")
	fs.StringVar(&f.gin, "gin", "", "`path` of the program of examples/gin, for the case embed-gin")
	fs.StringVar(&f.dir, "dir", "", "`directory` for test files, on a disk (default: that for temporary files)")
	fs.StringVar(&f.congestion, "congestion", defaultCongestion(), "measure in a network namespace of its own with this TCP congestion\n"+
		"control `algorithm` (needs root; the system's setting stays as it is); \"\": as the system is")
	fs.BoolVar(&f.veth, "veth", false, "the load comes over a pair of veth devices, and each side receives on its own core\n"+
		"(needs root, ip and nsenter)")
	fs.IntVar(&f.serverCore, "server-core", -1, "core of the servers (default: the first that may be used)")
	fs.IntVar(&f.loadCore, "load-core", -1, "core of the load (default: the last that may be used)")
	fs.BoolVar(&f.spin, "spin", true, "the load polls instead of sleeping, if it has a core of its own")
	fs.BoolVar(&f.json, "json", false, "print JSON with the values of every run")
	fs.BoolVar(&f.markdown, "markdown", false, "print Markdown")
	fs.BoolVar(&f.list, "list", false, "print the names of the cases")
}

func (f *flags) validate(fs *flag.FlagSet) error {
	switch {
	case fs.NArg() > 0:
		return fmt.Errorf("%w: unexpected argument %q", errUsage, fs.Arg(0))
	case f.pairs < 1 || f.pairs > 1000:
		return fmt.Errorf("%w: -pairs %d is out of range", errUsage, f.pairs)
	case f.seconds < 0.05 || f.seconds > 60:
		return fmt.Errorf("%w: -seconds %g is out of range", errUsage, f.seconds)
	case f.attack < 0.05 || f.attack > 120:
		return fmt.Errorf("%w: -attack-seconds %g is out of range", errUsage, f.attack)
	case f.shape < 0.2 || f.shape > 120:
		return fmt.Errorf("%w: -shape-seconds %g is out of range", errUsage, f.shape)
	case f.conns < 1 || f.conns > 10000 || f.idle < 1 || f.idle > 500_000:
		return fmt.Errorf("%w: number of connections out of range", errUsage)
	case f.largeMiB < 1 || f.largeMiB > 1<<14:
		return fmt.Errorf("%w: -large-mib %d is out of range", errUsage, f.largeMiB)
	case f.json && f.markdown:
		return fmt.Errorf("%w: either -json or -markdown", errUsage)
	}
	for _, name := range list(f.cases) {
		if !suite.Known(name) {
			return fmt.Errorf("%w: unknown case %q; there are %s", errUsage, name, strings.Join(suite.Names(), ", "))
		}
	}
	return nil
}

// list splits at commas and drops what is empty.
func list(s string) []string {
	return slices.DeleteFunc(strings.Split(s, ","), func(e string) bool { return e == "" })
}

// options turns flags into a run; binaries that are built go to tmp.
func (f *flags) options(ctx context.Context, tmp string) (suite.Options, error) {
	o := suite.Options{
		Cases: list(f.cases), Pairs: f.pairs, Measure: time.Duration(f.seconds * float64(time.Second)),
		Attack: time.Duration(f.attack * float64(time.Second)), Conns: f.conns, IdleConns: f.idle, LargeFile: f.largeMiB << 20, Dir: f.dir,
		Shape: time.Duration(f.shape * float64(time.Second)), Plot: f.plot, Gin: f.gin,
	}
	var err error
	if o.Self, err = os.Executable(); err != nil {
		return o, err
	}
	if o.ServerCPU, o.LoadCPU, err = f.cores(); err != nil {
		return o, err
	}
	o.Spin = f.spin && o.ServerCPU != o.LoadCPU
	if suite.HaveOwn(o.Cases) {
		return o, nil
	}
	if o.Contestants, err = f.contestants(); err != nil {
		return o, err
	}
	o.Missing = f.missing
	if err := findNginx(&o); err != nil {
		return o, err
	}
	return o, f.buildFserve(ctx, &o, tmp)
}

// cores returns the cores of the servers and of the load.
func (f *flags) cores() (server, load int, err error) {
	allowed, err := proc.Allowed()
	if err != nil {
		return 0, 0, err
	}
	server, load = allowed[0], allowed[len(allowed)-1]
	if f.serverCore >= 0 {
		server = f.serverCore
	}
	if f.loadCore >= 0 {
		load = f.loadCore
	}
	for _, c := range []int{server, load} {
		if !slices.Contains(allowed, c) {
			return 0, 0, fmt.Errorf("%w: core %d may not be used; these may: %v", errUsage, c, allowed)
		}
	}
	return server, load, nil
}

// contestants returns the servers, still without their binaries. nginx is the
// baseline if it takes part; with -compare each driver is compared with the
// same driver of the other binary.
func (f *flags) contestants() ([]suite.Contestant, error) {
	names := append(list(f.servers), list(f.peers)...)
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: no servers", errUsage)
	}
	baseline := names[0]
	if slices.Contains(names, string(peer.Nginx)) {
		baseline = string(peer.Nginx)
	}
	var field []suite.Contestant
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("%w: server %q twice", errUsage, name)
		}
		c := suite.Contestant{Spec: peer.Spec{Name: name, Kind: peer.Kind(name)}, Baseline: baseline}
		switch name {
		case "uring", "fallback":
			field = append(field, f.drivers(c)...)
			continue
		case string(peer.Nginx), string(peer.FastHTTP), string(peer.NetHTTP), string(peer.Floor):
			field = append(field, c)
		case string(peer.H2O), string(peer.Lighttpd), string(peer.Caddy), string(peer.Apache):
			if c.Binary = peer.FindOther(c.Kind); c.Binary == "" {
				f.missing = append(f.missing, name)
				continue
			}
			field = append(field, c)
		default:
			return nil, fmt.Errorf("%w: unknown server %q", errUsage, name)
		}
	}
	return field, nil
}

// drivers returns fserve with the driver that c is named after, and with
// -compare the other binary before it.
func (f *flags) drivers(c suite.Contestant) []suite.Contestant {
	driver := []string{"--driver", c.Name}
	c.Kind, c.Binary, c.Args = peer.Fserve, f.fserve, append(driver, strings.Fields(f.fserveArgs)...)
	if f.compare == "" {
		return []suite.Contestant{c}
	}
	other := c
	other.Name += compareSuffix
	other.Binary, other.Args = f.compare, append(slices.Clone(driver), strings.Fields(f.compareArgs)...)
	other.Baseline, c.Baseline = other.Name, other.Name
	return []suite.Contestant{other, c}
}

// findNginx fills in nginx if it takes part.
func findNginx(o *suite.Options) error {
	for i := range o.Contestants {
		if c := &o.Contestants[i]; c.Kind == peer.Nginx {
			info, err := peer.FindNginx()
			if err != nil {
				return err
			}
			o.Nginx, c.Binary = info, info.Binary
		}
	}
	return nil
}

// buildFserve builds fserve if it takes part and no binary was given.
func (f *flags) buildFserve(ctx context.Context, o *suite.Options, tmp string) error {
	built := ""
	for i := range o.Contestants {
		c := &o.Contestants[i]
		if c.Kind != peer.Fserve || c.Binary != "" {
			continue
		}
		if built == "" {
			var err error
			if built, err = peer.BuildFserve(ctx, tmp); err != nil {
				return err
			}
		}
		c.Binary = built
	}
	return nil
}
