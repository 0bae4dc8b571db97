package report

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		in   []float64
		want float64
	}{
		{[]float64{3}, 3},
		{[]float64{3, 1}, 2},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		before := append([]float64(nil), tc.in...)
		if got := Median(tc.in); got != tc.want {
			t.Errorf("%v: %g, want %g", tc.in, got, tc.want)
		}
		if !reflect.DeepEqual(tc.in, before) {
			t.Errorf("%v was reordered", before)
		}
	}
	if got := Median(nil); !math.IsNaN(got) {
		t.Errorf("of none: %g", got)
	}
}

func TestRatios(t *testing.T) {
	for _, tc := range []struct {
		name string
		a, b []float64
		want Ratio
		ok   bool
	}{
		// The ratio of the medians would be 1.
		{"pairs", []float64{10, 30, 60}, []float64{10, 60, 30}, Ratio{1, 0.5, 2}, true},
		{"spread", []float64{10, 22, 36}, []float64{10, 20, 30}, Ratio{1.1, 1, 1.2}, true},
		{"uneven", []float64{10, 20, 30}, []float64{5}, Ratio{2, 2, 2}, true},
		{"zero", []float64{10, 20}, []float64{0, 10}, Ratio{2, 2, 2}, true},
		{"only zeros", []float64{10}, []float64{0}, Ratio{}, false},
		{"none", nil, []float64{1}, Ratio{}, false},
	} {
		got, ok := Ratios(tc.a, tc.b)
		if ok != tc.ok || math.Abs(got.Median-tc.want.Median) > 1e-9 ||
			math.Abs(got.Min-tc.want.Min) > 1e-9 || math.Abs(got.Max-tc.want.Max) > 1e-9 {
			t.Errorf("%s: %+v %v, want %+v", tc.name, got, ok, tc.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for in, want := range map[float64]string{
		93120.4: "93120", 1000: "1000", 123.456: "123.5", 12.3456: "12.35", 1.23456: "1.235", 0.01234: "0.012",
		0: "0", 4: "4", math.NaN(): "-",
	} {
		if got := Number(in); got != want {
			t.Errorf("%g: %q, want %q", in, got, want)
		}
	}
}

func sample() *Case {
	return &Case{
		Name: "1k", About: "1 KiB",
		Metrics: []Metric{{"requests/s", Higher}, {"CPU µs", Lower}, {"p50 µs", NotCompared}},
		Rows: []Row{
			{"nginx", "nginx", [][]float64{{90000, 10, 700}, {100000, 10, 600}}},
			{"uring", "nginx", [][]float64{{135000, 7, 400}, {160000, 8, 401}}},
			{"alone", "gone", [][]float64{{5, 1, 2}}},
		},
		Notes: []string{"floor: not measured: x"},
	}
}

func TestWriteText(t *testing.T) {
	const want = `1k: 1 KiB
  server  requests/s           ratio ↑  CPU µs           ratio ↓  p50 µs
  nginx        95000                 1      10                 1     650
  uring       147500  1.55 (1.50-1.60)   7.500  0.75 (0.70-0.80)   400.5
  alone            5                 -       1                 -       2
  note: floor: not measured: x

`
	var b bytes.Buffer
	if err := sample().WriteText(&b); err != nil || b.String() != want {
		t.Errorf("error %v, got:\n%swant:\n%s", err, b.String(), want)
	}
}

func TestWriteMarkdown(t *testing.T) {
	const want = `### 1k

1 KiB

| server | requests/s | ratio ↑ | CPU µs | ratio ↓ | p50 µs |
|---|---:|---:|---:|---:|---:|
| nginx | 95000 (90000-100000) | 1 | 10 | 1 | 650 (600-700) |
| uring | 147500 (135000-160000) | 1.55 (1.50-1.60) | 7.500 (7-8) | 0.75 (0.70-0.80) | 400.5 (400-401) |
| alone | 5 | - | 1 | - | 2 |

Note: floor: not measured: x

`
	var b bytes.Buffer
	if err := sample().WriteMarkdown(&b); err != nil || b.String() != want {
		t.Errorf("error %v, got:\n%swant:\n%s", err, b.String(), want)
	}
}

// A case without rows has no table, only the reason.
func TestWriteNotMeasured(t *testing.T) {
	c := &Case{Name: "cold", About: "x", Metrics: sample().Metrics, Notes: []string{"not measured: no root"}}
	var text, md bytes.Buffer
	if err := c.WriteText(&text); err != nil || text.String() != "cold: x\n  note: not measured: no root\n\n" {
		t.Errorf("error %v: %q", err, text.String())
	}
	if err := c.WriteMarkdown(&md); err != nil || strings.Contains(md.String(), "|") || !strings.Contains(md.String(), "no root") {
		t.Errorf("error %v: %q", err, md.String())
	}
}

func TestWriteSection(t *testing.T) {
	want := "## 2026-01-02\n\n| | |\n|---|---|\n| kernel | 6.18 |\n| go | 1.26 |\n\n" + Legend + "\n\n"
	var b bytes.Buffer
	err := WriteSection(&b, []Field{{"date", "2026-01-02"}, {"kernel", "6.18"}, {"go", "1.26"}})
	if err != nil || b.String() != want {
		t.Errorf("error %v, got:\n%swant:\n%s", err, b.String(), want)
	}
}

func TestHeaderAndJSON(t *testing.T) {
	r := Report{Header: []Field{{"kernel", "6.18"}, {"go", "1.26"}}, Cases: []Case{*sample()}}
	var head bytes.Buffer
	if err := WriteHeader(&head, r.Header); err != nil || !strings.HasPrefix(head.String(), "kernel 6.18 | go 1.26\n") {
		t.Errorf("error %v: %q", err, head.String())
	}
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("error %v: %+v", err, back)
	}
}
