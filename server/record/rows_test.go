package record

import (
	"fmt"
	"testing"
)

// A host keeps its row for good; those beyond the bound, and those that are called
// like the rest, are counted with it.
func TestRows(t *testing.T) {
	var r Rows
	first := r.Assign([]string{"a", "default", "b", "other"})
	a, b := first[0], first[2]
	if a == b || a < firstRow || b < firstRow || first[1] != rowDefault || first[3] != rowOther {
		t.Errorf("rows %v", first)
	}
	r.Assign([]string{"c"})
	var crowd []string
	for i := range 2 * maxCountedHosts {
		crowd = append(crowd, fmt.Sprint("h", i))
	}
	rows := r.Assign(append(crowd, "b", "a"))
	if last := len(rows) - 1; rows[last] != a || rows[last-1] != b {
		t.Error("a host has lost its row")
	}
	seen := make(map[int]int)
	for _, row := range rows {
		seen[row]++
	}
	if want := 2*maxCountedHosts - (maxCountedHosts - 3); seen[rowOther] != want || len(*r.names.Load()) != firstRow+maxCountedHosts {
		t.Errorf("%d hosts are among the others, want %d; %d names", seen[rowOther], want, len(*r.names.Load()))
	}
	// Counts of loops that know different configurations.
	var sum, one, two Responses
	one.Resize(&r)
	one[a][2], one[rowOther][4] = 5, 1
	two = append(two, [6]uint64{2: 7})
	sum.Add(two)
	sum.Add(one)
	sum.Add(two)
	if all := sum.status(); all[2] != 19 || all[4] != 1 {
		t.Errorf("status %v", all)
	}
	got := make(map[string][6]uint64)
	for _, h := range sum.Named(&r) {
		got[h.Host] = h.Status
	}
	if got["default"][2] != 14 || got["a"][2] != 5 || got["other"][4] != 1 || len(got) != firstRow+maxCountedHosts {
		t.Errorf("%d hosts; default %v, a %v, other %v", len(got), got["default"], got["a"], got["other"])
	}
	if all := two.Named(&r); len(all) != 1 {
		t.Errorf("%v: the others are told though there are none", all)
	}
}
