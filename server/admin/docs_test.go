package admin

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// The page on metrics has each one with its kind, labels and help, and no others.
func TestMetricsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	kinds := map[prometheus.ValueType]string{
		prometheus.CounterValue: "counter", prometheus.GaugeValue: "gauge", prometheus.UntypedValue: "histogram",
	}
	for _, f := range families {
		var labels []string
		for _, l := range f.labels {
			labels = append(labels, "`"+l+"`")
		}
		row := fmt.Sprintf("| `%s` | %s | %s | %s |\n", f.name, kinds[f.kind], strings.Join(labels, ", "), f.help)
		if !strings.Contains(page, row) {
			t.Errorf("docs/metrics.md lacks\n%s", row)
		}
	}
	if rows := strings.Count(page, "\n| `fserve_") + strings.Count(page, "\n| `download_"); rows != len(families) {
		t.Errorf("docs/metrics.md has %d metrics, there are %d", rows, len(families))
	}
}
