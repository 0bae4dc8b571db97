// Package suite holds the cases that are measured and runs them: the servers
// in turn, in rounds, each under the same load within the same minute.
package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fserve/fserve/bench/peer"
	"github.com/fserve/fserve/bench/proc"
	"github.com/fserve/fserve/bench/report"
)

// ErrFailed means that at least one server could not be started, sent
// something wrong or broke a connection. The notes of its case say which.
var ErrFailed = errors.New("a server failed; see the notes")

// disturbed is the part of the servers' core that other work may use unnoted.
// The clock of a core counts whole ticks, so less cannot be told from nothing.
const disturbed = 0.1

// Contestant is one server of the comparison.
type Contestant struct {
	peer.Spec
	Baseline string // name of the contestant that it is compared with; its own: none
}

// Options describes a run of the suite.
type Options struct {
	Cases       []string
	Contestants []Contestant
	Nginx       peer.NginxInfo // zero if nginx is not among the contestants
	Missing     []string       // servers that were asked for and are not installed

	Pairs     int           // rounds
	Measure   time.Duration // length of each measurement
	Conns     int           // connections of the throughput cases
	IdleConns int           // connections of the case "idle", and slow ones of "slowloris"
	Attack    time.Duration // how long that of "slowloris" builds up, and then is measured
	LargeFile int64         // size of the files of "range", "multipart" and "cold", in bytes

	Shape time.Duration // length of a measurement of limited downloads
	Plot  string        // directory for plots of those; empty: none
	Gin   string        // path of the program of examples/gin; empty: it is not measured

	Dir       string // where temporary files go; must hold 4 GiB for "cold"
	Self      string // path of this program
	ServerCPU int
	LoadCPU   int
	Spin      bool // see load.Config

	Host  string // address of the servers; empty: loopback
	Netns string // path of the network namespace that the load comes from; empty: this one

	Progress io.Writer // one line a measurement
}

// runner runs the cases of one suite.
type runner struct {
	Options
	root    string // files that are served
	scratch string // configurations and logs
	verify  *verifier
	others  []float64           // of each run of this case, the part of the core that others used
	traces  map[string][]series // by case
}

// Run measures the cases one after the other and hands each to emit when it is
// complete. A server that fails is noted and left out of its case; Run then
// returns ErrFailed at the end. Everything that was started has been stopped,
// and all files are gone, when it returns.
func Run(ctx context.Context, o Options, emit func(report.Case) error) error {
	selected, err := selectCases(o.Cases)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.Dir, "fserve-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r := &runner{Options: o, root: filepath.Join(dir, "files"), scratch: filepath.Join(dir, "servers")}
	for _, d := range []string{r.root, r.scratch} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	// Servers that drop their privileges must be able to enter.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	r.verify = newVerifier(r.root)
	failed := false
	for _, c := range selected {
		res, ok, err := r.measure(ctx, c)
		if err != nil {
			return fmt.Errorf("case %s: %w", c.name, err)
		}
		failed = failed || !ok
		if err := emit(res); err != nil {
			return err
		}
	}
	if err := r.plots(); err != nil {
		return err
	}
	if failed {
		return ErrFailed
	}
	return nil
}

// entry is one contestant in one case.
type entry struct {
	Contestant
	server *peer.Server // nil while it is not running
	row    report.Row
}

// measure runs one case. ok is false if a server failed.
func (r *runner) measure(ctx context.Context, c *testCase) (res report.Case, ok bool, err error) {
	res = report.Case{Name: c.name, About: c.about(&r.Options), Metrics: c.metrics}
	if c.possible != nil {
		if reason := c.possible(r); reason != "" {
			res.Notes = append(res.Notes, "not measured: "+reason)
			return res, true, nil
		}
	}
	if err := ensure(r.root, c.files(&r.Options)); err != nil {
		return res, false, err
	}
	entries, notes := r.entries(c)
	res.Notes = append(res.Notes, notes...)
	defer func() {
		for _, e := range entries {
			r.stop(e)
		}
	}()
	r.others = nil
	fail := r.rounds(ctx, c, entries)
	if err := ctx.Err(); err != nil {
		return res, false, err
	}
	for _, e := range entries {
		switch err := fail[e.Name]; {
		case errors.Is(err, errUnsteady): // no fault of the server's
			delete(fail, e.Name)
			res.Notes = append(res.Notes, fmt.Sprintf("%s: not measured: %v", e.Name, err))
			continue
		case err != nil:
			res.Notes = append(res.Notes, fmt.Sprintf("%s FAILED: %v", e.Name, err))
			continue
		}
		res.Notes = append(res.Notes, r.strays(e)...)
		res.Rows = append(res.Rows, e.row)
	}
	res.Notes = append(res.Notes, r.disturbance()...)
	return res, len(fail) == 0, nil
}

// entries returns the contestants that take part in a case.
func (r *runner) entries(c *testCase) (entries []*entry, notes []string) {
	field := r.Contestants
	if c.field != nil {
		field = c.field(&r.Options)
	}
	if c.cold {
		field, notes = withThreads(field, r.Nginx)
	}
	if c.open {
		field = withOpen(field)
	}
	for _, ct := range field {
		if reason := c.excluded(ct.Kind); reason != "" {
			notes = append(notes, fmt.Sprintf("%s: not measured: %s", ct.Name, reason))
			continue
		}
		entries = append(entries, &entry{Contestant: ct, row: report.Row{Server: ct.Name, Baseline: ct.Baseline}})
	}
	return entries, notes
}

// withThreads adds nginx with "aio threads", which becomes the baseline of
// whatever nginx was the baseline of.
func withThreads(field []Contestant, info peer.NginxInfo) ([]Contestant, []string) {
	i := slices.IndexFunc(field, func(c Contestant) bool { return c.Kind == peer.Nginx })
	if i < 0 {
		return field, nil
	}
	if !info.Threads {
		return field, []string{"nginx with aio threads: not measured: this nginx was built without --with-threads"}
	}
	plain := field[i]
	threads := plain
	threads.Name, threads.Kind = plain.Name+"-aio", peer.NginxAIO
	field = slices.Insert(slices.Clone(field), i+1, threads)
	for j := range field {
		if field[j].Baseline == plain.Name {
			field[j].Baseline = threads.Name
		}
	}
	return field, nil
}

// rounds measures all entries in every round and returns the errors of those
// that failed, by name. The order rotates from round to round.
func (r *runner) rounds(ctx context.Context, c *testCase, entries []*entry) map[string]error {
	fail := make(map[string]error)
	for round := range r.Pairs {
		for i := range entries {
			e := entries[(round+i)%len(entries)]
			if ctx.Err() != nil || fail[e.Name] != nil {
				continue
			}
			values, err := r.once(ctx, c, e)
			if err != nil {
				fail[e.Name] = err
				continue
			}
			e.row.Runs = append(e.row.Runs, values)
			fmt.Fprintf(r.Progress, "%s, round %d of %d, %s: %s %s\n", c.name, round+1, r.Pairs, e.Name,
				report.Number(values[0]), c.metrics[0].Name)
		}
	}
	return fail
}

// once makes one measurement of one entry. The first one starts the server and
// verifies what it sends; so does each one if the case wants a fresh process.
func (r *runner) once(ctx context.Context, c *testCase, e *entry) ([]float64, error) {
	if e.server == nil {
		s, err := peer.Start(ctx, e.Spec, c.site(r))
		if err != nil {
			return nil, err
		}
		e.server = s
		err = c.verify(ctx, r, s)
		r.verify.close()
		if err != nil {
			return nil, err
		}
	}
	if c.fresh {
		defer r.stop(e)
	}
	values, err := c.run(ctx, r, e.server)
	if err != nil {
		return nil, err
	}
	return values, finite(values)
}

// finite refuses the figures of a run that was too short for a tick of CPU time.
func finite(values []float64) error {
	for _, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return errors.New("the measurement was too short for the clock of CPU time")
		}
	}
	return nil
}

func (r *runner) stop(e *entry) {
	if e.server != nil {
		e.server.Stop()
		e.server = nil
	}
}

// disturbance notes how much the machine's other work got of the core that
// the servers should have had for themselves.
func (r *runner) disturbance() []string {
	if len(r.others) == 0 || r.ServerCPU == r.LoadCPU {
		return nil
	}
	median, most := report.Median(r.others), slices.Max(r.others)
	if most < disturbed {
		return nil
	}
	return []string{fmt.Sprintf("disturbed: other work used %.0f %% of the servers' core (median of the runs; at most %.0f %%)",
		100*median, 100*most)}
}

// strays notes threads of a server that are not bound to its core.
func (r *runner) strays(e *entry) []string {
	if e.server == nil {
		return nil
	}
	pids, err := e.server.Pids()
	if err != nil {
		return []string{err.Error()}
	}
	if n := proc.Strays(pids, r.ServerCPU); n > 0 {
		return []string{fmt.Sprintf("%s: %d threads may run on other cores than %d", e.Name, n, r.ServerCPU)}
	}
	return nil
}
