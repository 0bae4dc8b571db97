package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/bench/peer"
	"github.com/fserve/fserve/bench/report"
	"github.com/fserve/fserve/bench/suite"
)

// TestMain lets this test binary be started as what bench starts itself as.
func TestMain(m *testing.M) {
	ctx := context.Background()
	ok, err := helper(os.Args[1:])
	if !ok && len(os.Args) > 1 && os.Args[1] == namespaceCommand {
		ok, err = true, bench(ctx, os.Args[1:], os.Stdout)
	}
	if ok {
		os.Exit(status(ctx, err))
	}
	os.Exit(m.Run())
}

// testOptions is one short round of everything that this machine has.
func testOptions(t *testing.T) suite.Options {
	t.Helper()
	f, err := parseFlags([]string{"-pairs=1", "-seconds=0.3", "-conns=8", "-idle-conns=50", "-attack-seconds=0.3", "-large-mib=4", "-dir=" + t.TempDir()}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	o := suite.Options{
		Pairs: f.pairs, Measure: time.Duration(f.seconds * 1e9), Attack: time.Duration(f.attack * 1e9), Conns: f.conns, IdleConns: f.idle,
		LargeFile: f.largeMiB << 20, Dir: f.dir, Progress: t.Output(),
	}
	if o.Self, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	if o.ServerCPU, o.LoadCPU, err = f.cores(); err != nil {
		t.Fatal(err)
	}
	o.Contestants = []suite.Contestant{{Spec: peer.Spec{Name: "fasthttp", Kind: peer.FastHTTP}, Baseline: "fasthttp"}}
	return o
}

// addNginx adds nginx if it is installed.
func addNginx(t *testing.T, o *suite.Options) {
	t.Run("nginx", func(t *testing.T) {
		info, err := peer.FindNginx()
		if errors.Is(err, peer.ErrNoNginx) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		o.Nginx = info
		o.Contestants = append(o.Contestants, suite.Contestant{
			Spec: peer.Spec{Name: "nginx", Kind: peer.Nginx, Binary: info.Binary}, Baseline: "fasthttp",
		})
	})
}

// addFserve adds fserve with the drivers that this kernel allows.
func addFserve(t *testing.T, o *suite.Options) {
	bin, err := peer.BuildFserve(t.Context(), t.TempDir())
	for _, driver := range []string{"fallback", "uring"} {
		t.Run(driver, func(t *testing.T) {
			if err != nil {
				t.Skip(err)
			}
			if _, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, 0, 0, 0); driver == "uring" && e != unix.EFAULT && e != unix.EINVAL {
				t.Skip("io_uring_setup:", e)
			}
			o.Contestants = append(o.Contestants, suite.Contestant{
				Spec:     peer.Spec{Name: driver, Kind: peer.Fserve, Binary: bin, Args: []string{"--driver", driver}},
				Baseline: "fasthttp",
			})
		})
	}
}

// The suite measures every server of this machine: bodies are verified, all
// figures are positive. Figures themselves are not looked at.
func TestSuite(t *testing.T) {
	o := testOptions(t)
	addNginx(t, &o)
	addFserve(t, &o)
	o.Cases = []string{"1k", "range", "wide-500"}
	checkSuite(t, o)
}

// The other cases need to work with one server to be kept from rotting. "cold"
// is left out: it drops the page cache of the machine.
func TestSuiteCases(t *testing.T) {
	o := testOptions(t)
	o.Cases = []string{"10m", "latency", "idle", "conn"}
	o.Contestants = append(o.Contestants, suite.Contestant{Spec: peer.Spec{Name: "floor", Kind: peer.Floor}, Baseline: "fasthttp"})
	checkSuite(t, o)
}

// These need servers that know several ranges, have time-outs and speak TLS.
func TestSuiteOfOrigins(t *testing.T) {
	o := testOptions(t)
	o.Cases = []string{"multipart", "slowloris", "tls-1k", "tls-new", "tls-resumed", "tls-idle"}
	o.Contestants = nil
	addNginx(t, &o)
	addFserve(t, &o)
	if len(o.Contestants) == 0 {
		t.Skip("neither nginx nor fserve can be had")
	}
	checkSuite(t, o)
}

// Limited downloads. What a machine that is busy cannot measure it says so about;
// figures are not looked at, and may be zero. "shape-retune" is left out: it fails
// where a rate is never steady.
func TestSuiteOfShaping(t *testing.T) {
	o := testOptions(t)
	o.Cases, o.Shape, o.Plot = []string{"shape-one", "shape-client", "shape-short"}, 300*time.Millisecond, t.TempDir()
	o.Contestants = nil
	addNginx(t, &o)
	addFserve(t, &o)
	if len(o.Contestants) == 0 {
		t.Skip("neither nginx nor fserve can be had")
	}
	var out bytes.Buffer
	if err := measure(t.Context(), o, (&flags{json: true}).format(), &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	var rep report.Report
	if err := json.Unmarshal(out.Bytes(), &rep); err != nil {
		t.Fatal(err)
	}
	for _, c := range rep.Cases {
		if said := len(c.Rows) + strings.Count(strings.Join(c.Notes, "\n"), "not measured"); said != len(o.Contestants) {
			t.Errorf("%s: %d rows, notes %q", c.Name, len(c.Rows), c.Notes)
		}
		_, err := os.Stat(filepath.Join(o.Plot, c.Name+".svg"))
		if plotted := err == nil; plotted != (len(c.Rows) > 0) {
			t.Errorf("%s: %d rows, plot: %v", c.Name, len(c.Rows), err)
		}
	}
}

// The servers that the engine is embedded in are those of the cases themselves. The
// program of examples/gin is a module of its own.
func TestSuiteOfEmbedding(t *testing.T) {
	o := testOptions(t)
	o.Contestants = nil
	for name, rows := range map[string]int{"embed-files": 2, "embed-1g": 2, "embed-cold": 3, "embed-gin": 0} {
		o.Cases = []string{name}
		checkRows(t, o, rows)
	}
}

func checkSuite(t *testing.T, o suite.Options) {
	t.Helper()
	checkRows(t, o, len(o.Contestants))
}

// checkRows runs the suite and looks for so many rows in each case.
func checkRows(t *testing.T, o suite.Options, rows int) {
	t.Helper()
	var out bytes.Buffer
	if err := measure(t.Context(), o, (&flags{json: true}).format(), &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	var rep report.Report
	if err := json.Unmarshal(out.Bytes(), &rep); err != nil {
		t.Fatal(err)
	}
	if len(rep.Cases) != len(o.Cases) {
		t.Errorf("%d cases, want %d", len(rep.Cases), len(o.Cases))
	}
	for _, c := range rep.Cases {
		if len(c.Rows) != rows {
			t.Errorf("%s: %d rows, want %d: %q", c.Name, len(c.Rows), rows, c.Notes)
		}
		for _, row := range c.Rows {
			if len(row.Runs) != o.Pairs {
				t.Errorf("%s, %s: %d runs", c.Name, row.Server, len(row.Runs))
			}
			checkValues(t, c, row)
		}
	}
	if left, err := os.ReadDir(o.Dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, error %v", left, err)
	}
}

// checkValues: every figure is positive, except that memory may not grow, a
// load may hardly be busy, and nobody may be cut off.
func checkValues(t *testing.T, c report.Case, row report.Row) {
	t.Helper()
	for i, m := range c.Metrics {
		mayBeZero := c.Name == "idle" && m.Name != "MB before" || m.Name == "load busy %" ||
			c.Name == "slowloris" && (strings.HasPrefix(m.Name, "MB") || m.Name == "cut off/s")
		if v := row.Runs[0][i]; v <= 0 && !mayBeZero {
			t.Errorf("%s, %s: %g %s", c.Name, row.Server, v, m.Name)
		}
	}
}

// A server that sends something wrong fails its case, and the run.
func TestSuiteFails(t *testing.T) {
	o := testOptions(t)
	o.Cases = []string{"1k"}
	o.Contestants = append(o.Contestants, suite.Contestant{
		Spec: peer.Spec{Name: "broken", Kind: peer.Fserve, Binary: "/bin/false"}, Baseline: "fasthttp",
	})
	var got report.Case
	err := suite.Run(t.Context(), o, func(c report.Case) error { got = c; return nil })
	if !errors.Is(err, suite.ErrFailed) {
		t.Errorf("error %v", err)
	}
	if len(got.Rows) != 1 || !slices.ContainsFunc(got.Notes, func(n string) bool { return strings.Contains(n, "broken FAILED") }) {
		t.Errorf("%+v", got)
	}
}

func TestContestants(t *testing.T) {
	type row struct{ name, baseline, binary, args string }
	for _, tc := range []struct {
		args string
		want []row
	}{
		{"", []row{
			{"nginx", "nginx", "", ""}, {"uring", "nginx", "", "--driver uring"}, {"fallback", "nginx", "", "--driver fallback"},
		}},
		{"-servers uring -peers floor -fserve /x -fserve-args=--a=1,-b", []row{
			{"uring", "uring", "/x", "--driver uring --a=1,-b"}, {"floor", "uring", "", ""},
		}},
		{"-compare /old -compare-args=-c", []row{
			{"uring-compare", "uring-compare", "/old", "--driver uring -c"}, {"uring", "uring-compare", "", "--driver uring"},
			{"fallback-compare", "fallback-compare", "/old", "--driver fallback -c"},
			{"fallback", "fallback-compare", "", "--driver fallback"},
		}},
		{"-compare /old -servers nginx,uring", []row{
			{"nginx", "nginx", "", ""}, {"uring-compare", "uring-compare", "/old", "--driver uring"},
			{"uring", "uring-compare", "", "--driver uring"},
		}},
		{"-servers uring -peers caddy", []row{{"uring", "uring", "", "--driver uring"}}},
		{"-servers fasthttp,nethttp", []row{{"fasthttp", "fasthttp", "", ""}, {"nethttp", "fasthttp", "", ""}}},
	} {
		f, err := parseFlags(strings.Fields(tc.args), t.Output())
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", "/none") // no peer is installed
		field, err := f.contestants()
		if err != nil {
			t.Fatal(err)
		}
		var got []row
		for _, c := range field {
			got = append(got, row{c.Name, c.Baseline, c.Binary, strings.Join(c.Args, " ")})
		}
		if !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%q:\n%v, want\n%v", tc.args, got, tc.want)
		}
	}
}

// Cases that bring their own servers need none that others compare.
func TestOptionsOfEmbedding(t *testing.T) {
	f, err := parseFlags([]string{"-cases=embed", "-gin=/x"}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if o, err := f.options(t.Context(), t.TempDir()); err != nil || o.Contestants != nil || o.Gin != "/x" {
		t.Errorf("%+v, error %v", o, err)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range []string{
		"-cases=2k", "-pairs=0", "-seconds=0", "-seconds=1000", "-conns=0", "-idle-conns=0", "-large-mib=0",
		"-json -markdown", "extra", "-no-such-flag", "-servers=apache1", "-servers=uring,uring", "-server-core=4000",
		"-servers=,",
	} {
		f, err := parseFlags(strings.Fields(args), t.Output())
		if err == nil {
			if _, err = f.contestants(); err == nil {
				_, _, err = f.cores()
			}
		}
		if !errors.Is(err, errUsage) {
			t.Errorf("%q: error %v", args, err)
		}
	}
	if _, err := parseFlags([]string{"-h"}, t.Output()); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: error %v", err)
	}
}

func TestStatus(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, 0}, {flag.ErrHelp, 0}, {suite.ErrFailed, 1}, {errUsage, 2}, {peer.ErrNoNginx, 3}, {innerStatus(3), 3},
	} {
		if got := status(t.Context(), tc.err); got != tc.want {
			t.Errorf("%v: %d, want %d", tc.err, got, tc.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := status(ctx, context.Canceled); got != exitInterrupted {
		t.Errorf("interrupted: %d", got)
	}
}

func TestHeader(t *testing.T) {
	o := testOptions(t)
	o.Nginx = peer.NginxInfo{Binary: "/x", Version: "1.2.3"}
	var b bytes.Buffer
	if err := report.WriteHeader(&b, header(&o)); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"date 20", "kernel ", "CPU ", "cores server ", "tcp ", "go 1.", "nginx 1.2.3", "connections 8", "pairs 1 of 300ms"} {
		if !strings.Contains(b.String(), part) {
			t.Errorf("no %q in %q", part, b.String())
		}
	}
}

// A run adds its section to the page of results and leaves what stands there.
func TestRecord(t *testing.T) {
	page := filepath.Join(t.TempDir(), "measured.md")
	if err := os.WriteFile(page, []byte("# Measured\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-congestion=", "-servers=floor", "-cases=1k", "-pairs=2", "-seconds=0.1", "-conns=4", "-record=" + page}
	var out bytes.Buffer
	if err := bench(t.Context(), args, &out); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"# Measured\n\n## 20", "\n| kernel | ", "\n| pairs | 2 of 100ms |", "\n### 1k\n", "\n| floor | "} {
		if !strings.Contains(string(got), part) {
			t.Errorf("no %q in\n%s", part, got)
		}
	}
	if !strings.Contains(out.String(), "\n  floor ") {
		t.Errorf("not printed:\n%s", out.String())
	}
}

// Inside a namespace the suite runs with the congestion control asked for.
func TestNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a network namespace needs root")
	}
	var out bytes.Buffer
	for _, veth := range []string{"-veth=false", "-veth"} {
		out.Reset()
		args := []string{veth, "-congestion=reno", "-servers=floor", "-cases=1k", "-pairs=1", "-seconds=0.1", "-conns=4"}
		err := inNamespace(t.Context(), args, &out, t.Output())
		if errors.Is(err, unix.EPERM) {
			t.Skip(err) // root of a container
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", veth, err, out.String())
		}
		if !strings.Contains(out.String(), "tcp reno") || !strings.Contains(out.String(), "\n  floor ") {
			t.Errorf("%s: %s", veth, out.String())
		}
	}
	if before := text(congestionFile); before == "reno" {
		t.Skip("reno is the system's own")
	}
	if err := inNamespace(t.Context(), []string{"-congestion=no-such-algorithm"}, &out, t.Output()); !errors.Is(err, innerStatus(exitFailed)) {
		t.Errorf("error %v", err)
	}
}
