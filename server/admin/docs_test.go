package admin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fserve/fserve/internal/testenv"
)

//go:generate env FSERVE_DOCS=write go test -count=1 -run ^TestDocs$ .

// docs/metrics.md has the tables of the code.
func TestDocs(t *testing.T) {
	a, _ := newAdmin(t)
	testenv.Page(t, "../../docs/metrics.md", map[string]string{"metrics": metricsTable(), "routes": routesTable(a.table)})
}

// metricsTable is the table of metrics as Markdown.
func metricsTable() string {
	kinds := map[prometheus.ValueType]string{
		prometheus.CounterValue: "counter", prometheus.GaugeValue: "gauge", prometheus.UntypedValue: "histogram",
	}
	var b strings.Builder
	b.WriteString("| name | kind | labels | meaning |\n|---|---|---|---|\n")
	for _, g := range groups {
		for _, m := range g.metrics {
			labels := slices.Clone(m.labels)
			for i, l := range labels {
				labels[i] = "`" + l + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, kinds[m.kind], strings.Join(labels, ", "), m.help)
		}
	}
	return b.String()
}

// routesTable is the table of routes as Markdown, those of pprof at the end.
func routesTable(routes []route) string {
	var b strings.Builder
	b.WriteString("| request | query or body | |\n|---|---|---|\n")
	row := func(r *route, note string) {
		method, path := r.request()
		example := r.example
		if example != "" {
			example = "`" + strings.ReplaceAll(example, "|", "\\|") + "`"
		}
		fmt.Fprintf(&b, "| `%s %s` | %s | %s%s |\n", method, path, example, r.summary(), note)
	}
	for i := range routes {
		row(&routes[i], "")
	}
	for i := range profiles {
		row(&profiles[i], "; with `--admin-pprof`")
	}
	return b.String()
}

// The index has each route and no others, and each is found at the path that it has
// there.
func TestIndex(t *testing.T) {
	a, _ := newAdmin(t)
	a.cfg.PProf = true
	a.table = a.routes(http.NotFoundHandler())
	mux, want := http.NewServeMux(), []string(nil)
	for _, r := range a.table {
		mux.Handle(r.pattern, r.handler)
		method, path := r.request()
		want = append(want, method+" "+path)
		if r.about == "" || r.example != "" && !strings.ContainsAny(r.example[:1], "?{") {
			t.Errorf("%s: about %q, example %q", r.pattern, r.about, r.example)
		}
	}
	w := httptest.NewRecorder()
	a.index(w, nil)
	var got []string
	for line := range strings.Lines(strings.TrimPrefix(w.Body.String(), "fserve admin listener\n\n")) {
		f := strings.Fields(line)
		got = append(got, f[0]+" "+f[1])
		at, pattern := mux.Handler(httptest.NewRequest(f[0], f[1], nil))
		if at == nil || !slices.ContainsFunc(a.table, func(r route) bool { return r.pattern == pattern }) {
			t.Errorf("%s: nothing is there (%q)", line, pattern)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the index has\n%q, want\n%q", got, want)
	}
}
