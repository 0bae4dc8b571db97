package admin

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

//go:generate env FSERVE_DOCS=write go test -count=1 -run ^TestDocs$ .

// docs/metrics.md has the tables of the code between its marks. FSERVE_DOCS=write
// puts them there, which make docs does.
func TestDocs(t *testing.T) {
	const file = "../../docs/metrics.md"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for mark, table := range map[string]string{"metrics": metricsTable()} {
		page = replaceTable(t, page, mark, table)
	}
	if os.Getenv("FSERVE_DOCS") == "write" {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if page != string(b) {
		t.Error("docs/metrics.md is not what the tables say: run make docs")
	}
}

// replaceTable puts a table between two marks of a page.
func replaceTable(t *testing.T, page, mark, table string) string {
	t.Helper()
	begin, end := "<!-- "+mark+": made by `make docs`, do not edit -->\n\n", "\n<!-- end of "+mark+" -->\n"
	before, rest, ok := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("the page has no marks of %s", mark)
	}
	return before + begin + table + end + after
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
