package load

import (
	"strings"
	"testing"
)

func TestRangeValues(t *testing.T) {
	if got := RangeValue(100, 10, 3); got != "bytes=100-109,120-129,140-149" {
		t.Error(got)
	}
	r := Ranges{Parts: 3, PartLen: 10, From: 100, Of: 200}
	seen := make(map[string]bool)
	for _, v := range r.values(1) {
		seen[v] = true
	}
	// Positions from 100 to 150: all that fit, and no others.
	if len(seen) != 51 || !seen["bytes=100-109,120-129,140-149"] || !seen["bytes=150-159,170-179,190-199"] {
		t.Errorf("%d different requests", len(seen))
	}
	if r.Of = 149; r.validate(1) == nil {
		t.Error("ranges that do not fit are accepted")
	}
}

// Requests for several ranges are answered, and a body of another length is found out.
func TestParts(t *testing.T) {
	o := newOrigin(t, map[string]int{"/f": 1 << 20})
	c := o.config(Closed, "/f", 1)
	c.Groups[0].Ranges = Ranges{Parts: 4, PartLen: 1000, From: 100_000, Of: 1_000_000}
	if _, err := run(t, c, nil); err == nil || !strings.Contains(err.Error(), "instead of 1") {
		t.Fatalf("error %v", err)
	}
}
