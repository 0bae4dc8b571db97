package shape

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// More than rapid's hundred runs: they are short.
func TestMain(m *testing.M) {
	flag.Parse()
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "rapid.checks" })
	if !set && !testing.Short() {
		if err := flag.Set("rapid.checks", "1000"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

func TestReport(t *testing.T) {
	w := newWorld(t, Config{
		Loops: 2, Global: Limit{Rate: 12 * mib, Burst: 2 * mib}, Client: Limit{Rate: 4 * mib},
		Paths: []PathLimit{{"/b/", Limit{Rate: 6 * mib}}},
	})
	if _, _, err := w.s.SetClient("own", Limit{Rate: 1 * mib}, 0); err != nil {
		t.Fatal(err)
	}
	for loop := range 2 {
		w.join(loop, "/b/x", "own", -1)
		w.join(loop, "/", "big", -1)
		for i := range 4 {
			w.join(loop, "/b/x", ClientID(fmt.Sprint("small", i)), -1)
		}
	}
	w.run(13 * sec)
	var all, one Report
	w.trees[0].Report(w.now, 1000, &all)
	w.trees[1].Report(w.now, 1000, &one)
	all.add(&one)
	all.Keep(1)

	within(t, "own", float64(all.find("own").Rate10), 1*mib, 0.02)
	within(t, "big", float64(all.find("big").Rate10), 4*mib, 0.02)
	within(t, "the others", float64(all.Others.Rate10), 5*mib, 0.02)
	within(t, "all", float64(all.Global.Rate10), 10*mib, 0.02)
	within(t, "all, last second", float64(all.Global.Rate1), 10*mib, 0.05)
	if len(all.Clients) != 2 || !all.find("own").Custom || all.find("own").Limit != 1*mib || all.find("big").Custom {
		t.Errorf("clients %+v", all.Clients)
	}
	if len(all.Classes) != 2 || all.Classes[0].Name != "" || all.Classes[1].Name != "/b/" {
		t.Fatalf("classes %+v", all.Classes)
	}
	within(t, "class", float64(all.Classes[1].Rate10), 6*mib, 0.02)
	if c := all.Classes[1]; c.Flows != 10 || c.Limit != 6*mib || all.Flows != 12 || all.Global.Flows != 12 || all.ClientCount != 6 {
		t.Errorf("class %+v, %d flows, %d clients", c, all.Flows, all.ClientCount)
	}
	if all.Global.Limit != 12*mib || all.Global.Burst != 2*mib {
		t.Errorf("global %+v", all.Global)
	}
	total := w.total()
	if all.Granted[LevelNone] != total || all.Granted[LevelGlobal] != total || all.Granted[LevelClient] != total ||
		all.Granted[LevelConnection] != 0 || all.Granted[LevelPath] >= total || all.Granted[LevelPath] == 0 {
		t.Errorf("granted %v of %d", all.Granted, total)
	}
	if all.Throttled[LevelClient] == 0 || all.Throttled[LevelPath] == 0 || all.Throttled[LevelConnection] != 0 {
		t.Errorf("throttled %v", all.Throttled)
	}
	// A report that is used again holds nothing of the last one.
	w.trees[1].Report(w.now, 1000, &all)
	w.trees[1].Report(w.now, 1000, &one)
	if fmt.Sprint(all) != fmt.Sprint(one) {
		t.Errorf("%+v\n%+v", all, one)
	}
}

func (r *Report) find(name string) NodeReport {
	for _, c := range r.Clients {
		if c.Name == name {
			return c
		}
	}
	return NodeReport{}
}

func TestLevelNames(t *testing.T) {
	seen := make(map[string]bool)
	for l := range Level(NumLevels) {
		seen[l.String()] = true
	}
	if len(seen) != NumLevels {
		t.Errorf("%v", seen)
	}
}

// A survey in small steps finds what a report at once does, and clients that are
// forgotten between two steps do no harm.
func TestSurvey(t *testing.T) {
	w := newWorld(t, Config{Client: Limit{Rate: 1 * mib}, Paths: []PathLimit{{"/b/", Limit{}}}})
	for i := range 50 {
		w.join(0, "/b/x", ClientID(fmt.Sprint("c", i)), -1)
	}
	w.run(3 * sec)
	tree := w.trees[0]
	var want, got Report
	tree.Report(w.now, 5, &want)
	var s Survey
	steps := 1
	for s.Step(tree, w.now, 7) {
		steps++
	}
	s.AddTo(&got)
	got.Keep(5)
	if steps != 8 || len(got.Clients) != 5 || got.Others.Granted != want.Others.Granted || got.Flows != want.Flows || got.find("c0") != want.find("c0") {
		t.Errorf("in %d steps: %+v\nat once: %+v", steps, got, want)
	}
	for i := range want.Classes {
		if got.Classes[i] != want.Classes[i] {
			t.Errorf("class %+v, want %+v", got.Classes[i], want.Classes[i])
		}
	}
	var gone Survey
	gone.Step(tree, w.now, 0)
	for id, c := range tree.clients { // as forget does
		delete(tree.clients, id)
		*c = client{}
	}
	var after Report
	for gone.Step(tree, w.now, 7) {
	}
	gone.AddTo(&after)
	if len(after.Clients) != 0 {
		t.Errorf("%d clients are told that are gone", len(after.Clients))
	}
}
