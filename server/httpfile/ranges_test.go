package httpfile

import (
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"testing"
)

// modelRange is what becomes of a Range field, by a plain reading of RFC 9110
// and of the rules of this package, with big numbers and one flag per byte.
type modelRange struct {
	status int
	spans  []span
}

var modelSpec = regexp.MustCompile(`^(?:([0-9]+)-([0-9]*)|-([0-9]+))$`)

// model reads a Range field for a file of size bytes.
func model(field string, size int64) modelRange {
	whole := modelRange{200, []span{{0, size}}}
	field = strings.Trim(field, " \t")
	if size == 0 || len(field) < 6 || !strings.EqualFold(field[:6], "bytes=") {
		return whole
	}
	asked, ok := modelSet(field[6:], size)
	if !ok || len(asked) == 0 {
		return modelRange{status: 416}
	}
	sum := int64(0)
	for _, s := range asked {
		sum += s.end - s.off // of small sizes
	}
	if sum > size {
		return whole
	}
	if len(asked) <= 64 && !modelOverlap(asked) {
		return modelRange{206, asked}
	}
	var merged []span
	for k := 2; k <= len(asked); k++ {
		if k <= 64 && !modelOverlap(asked[:k]) {
			continue
		}
		if merged = modelMerge(asked[:k], size); len(merged) > 64 {
			return whole
		}
	}
	return modelRange{206, merged}
}

// modelSet returns the satisfiable ranges of a set, not ok if it is invalid.
func modelSet(set string, size int64) (asked []span, ok bool) {
	elems := 0
	for elem := range strings.SplitSeq(set, ",") {
		elem = strings.Trim(elem, " \t")
		if elem == "" {
			continue
		}
		elems++
		m := modelSpec.FindStringSubmatch(elem)
		if m == nil {
			return nil, false
		}
		last := big.NewInt(size - 1)
		first := new(big.Int)
		if m[3] != "" { // suffix
			n, _ := new(big.Int).SetString(m[3], 10)
			if first.Sub(big.NewInt(size), n); first.Sign() < 0 {
				first.SetInt64(0)
			}
		} else {
			first.SetString(m[1], 10)
			if m[2] != "" {
				end, _ := new(big.Int).SetString(m[2], 10)
				if end.Cmp(first) < 0 {
					return nil, false
				}
				if end.Cmp(last) < 0 {
					last = end
				}
			}
		}
		if first.Cmp(big.NewInt(size)) < 0 {
			asked = append(asked, span{first.Int64(), last.Int64() + 1})
		}
	}
	return asked, elems > 0
}

func modelOverlap(spans []span) bool {
	for i, a := range spans {
		for _, b := range spans[:i] {
			if max(a.off, b.off) < min(a.end, b.end) {
				return true
			}
		}
	}
	return false
}

// modelMerge paints the bytes, closes the gaps under 80 and returns the runs in
// the order in which the first of their ranges was asked for.
func modelMerge(asked []span, size int64) (runs []span) {
	painted := make([]bool, size)
	for _, s := range asked {
		for i := s.off; i < s.end; i++ {
			painted[i] = true
		}
	}
	lastPainted := int64(-1)
	for i := range size {
		if !painted[i] {
			continue
		}
		if lastPainted >= 0 && i-lastPainted-1 < 80 {
			for j := lastPainted; j < i; j++ {
				painted[j] = true
			}
		}
		lastPainted = i
	}
	for _, s := range asked {
		run := span{s.off, s.off}
		for run.off > 0 && painted[run.off-1] {
			run.off--
		}
		for run.end < size && painted[run.end] {
			run.end++
		}
		if !containsSpan(runs, run) {
			runs = append(runs, run)
		}
	}
	return runs
}

func containsSpan(spans []span, s span) bool {
	for _, t := range spans {
		if s == t {
			return true
		}
	}
	return false
}

func FuzzRange(f *testing.F) {
	for _, field := range []string{
		"bytes=0-4", "bytes=-0", "bytes=-100", "bytes=20-", "bytes=5-2", "bytes=0--1", "bytes=0-1,5-6", "items=0-4",
		"BYTES= 0-4 ,\t,-1", "bytes=0-9,5-14,94-99", "bytes=1000-1009,500-509,0-9,5-504", "bytes=", "bytes=,",
		"bytes=" + strings.Join(every(20, 65), ","), "bytes=" + strings.Join(every(45, 65), ","), "bytes=" + strings.Join(every(45, 65), ",") + ",0-",
		"bytes=18446744073709551616-18446744073709551617", "bytes=9223372036854775807-9223372036854775806", "bytes=-9223372036854775808",
		"bytes=00018-0000000000000000000000019",
	} {
		f.Add(field, uint16(20))
		f.Add(field, uint16(2000))
	}
	f.Add("bytes=0-0", uint16(0))
	check := rangeChecker(f)
	f.Fuzz(check)
}

// rangeChecker returns a function that compares the plan for a Range field with the model.
func rangeChecker(tb testing.TB) func(t *testing.T, field string, size uint16) {
	pol := testPolicy(tb, Config{})
	var p Plan
	return func(t *testing.T, field string, size uint16) {
		size %= 3000
		facts := pol.MakeFacts(File{Path: "/f", Size: int64(size), MtimeNs: testMtime})
		req := &Request{Method: MethodGet, Range: []byte(field)}
		r := planned(t, &p, req, facts, testNow)
		want := model(field, int64(size))
		if size == 0 {
			want.spans = nil
		}
		if p.Status != want.status || fmt.Sprint(fileSpans(&p)) != fmt.Sprint(want.spans) {
			t.Fatalf("%q of %d: %d %v, want %d %v", field, size, p.Status, fileSpans(&p), want.status, want.spans)
		}
		checkContentRange(t, &p, r, want, int64(size))
	}
}

func checkContentRange(t *testing.T, p *Plan, r response, want modelRange, size int64) {
	t.Helper()
	expected, parts := "", 0
	switch {
	case want.status == 416:
		expected = fmt.Sprintf("bytes */%d", size)
	case want.status == 206:
		parts = len(want.spans)
		if parts == 1 {
			expected = fmt.Sprintf("bytes %d-%d/%d", want.spans[0].off, want.spans[0].end-1, size)
		}
	}
	if got := r.fields.Get("Content-Range"); got != expected || p.Parts != parts {
		t.Fatalf("Content-Range %q and %d parts, want %q and %d", got, p.Parts, expected, parts)
	}
}

// TestMaxRanges checks the limits of the configuration.
func TestMaxRanges(t *testing.T) {
	for _, c := range []struct {
		config Config
		field  string
		want   string
	}{
		{Config{MaxRanges: 1}, "bytes=0-1,500-501", "200 [0-9998]"},
		{Config{MaxRanges: 1}, "bytes=0-1,60-61", "206 bytes 0-61/9999 [0-61]"},
		{Config{MaxRanges: 1}, "bytes=0-1", "206 bytes 0-1/9999 [0-1]"},
		{Config{MaxRanges: 2}, "bytes=0-1,60-61", "206 [0-1 60-61]"},
		{Config{MaxRanges: 2, MergeGap: 1}, "bytes=0-1,1-2,4-4", "206 [0-2 4-4]"},
		{Config{MaxRanges: 2, MergeGap: 1}, "bytes=0-1,1-2,3-4", "206 bytes 0-4/9999 [0-4]"},
		{Config{MaxRanges: 20}, "bytes=" + strings.Join(every(100, 20), ","), "206 [" + strings.Join(every(100, 20), " ") + "]"},
		{Config{MaxRanges: 20}, "bytes=" + strings.Join(every(100, 21), ","), "200 [0-9998]"},
	} {
		f := testFacts(t, c.config, File{Path: "/f", Size: 9999, MtimeNs: testMtime})
		var p Plan
		req := &Request{Method: MethodGet, Range: []byte(c.field)}
		if got := summary(&p, planned(t, &p, req, f, testNow)); got != c.want {
			t.Errorf("%+v %q: got %s, want %s", c.config, c.field, got, c.want)
		}
	}
}
