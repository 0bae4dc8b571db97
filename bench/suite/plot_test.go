package suite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPlot(t *testing.T) {
	dir := t.TempDir()
	if err := plotTo(dir, "one", []series{{"a server", []int64{1, 5, 2}}, {"another", []int64{3, 3, 3}}}); err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(filepath.Join(dir, "one.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<svg", "a server", "another", "KiB in 100 ms"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("the plot lacks %q", want)
		}
	}
}
