package server

import (
	"fmt"
	"testing"
)

// hostsOf makes sites with hosts of these names.
func hostsOf(names ...string) *sites {
	t := &sites{}
	for _, name := range names {
		h := &vhost{name: name, whole: &place{}, byPath: map[string]*place{"/l/": {}}}
		t.hosts = append(t.hosts, h)
	}
	return t
}

// A host keeps its row for good; those beyond the bound, and those that are called
// like the rest, are counted with it.
func TestHostRows(t *testing.T) {
	var r hostRows
	row := func(h *vhost) int {
		t.Helper()
		if h.whole.row != h.byPath["/l/"].row {
			t.Errorf("%s: a location has another row", h.name)
		}
		return h.whole.row
	}
	first := hostsOf("a", "default", "b", "other")
	r.assign(first)
	a, b := row(first.hosts[0]), row(first.hosts[2])
	if a == b || a < firstRow || b < firstRow || row(first.hosts[1]) != rowDefault || row(first.hosts[3]) != rowOther {
		t.Errorf("rows %d, %d, %d, %d", a, b, row(first.hosts[1]), row(first.hosts[3]))
	}
	r.assign(hostsOf("c"))
	var many []string
	for i := range 2 * maxCountedHosts {
		many = append(many, fmt.Sprint("h", i))
	}
	crowd := hostsOf(append(many, "b", "a")...)
	r.assign(crowd)
	last := len(crowd.hosts) - 1
	if row(crowd.hosts[last]) != a || row(crowd.hosts[last-1]) != b {
		t.Error("a host has lost its row")
	}
	seen := make(map[int]int)
	for _, h := range crowd.hosts {
		seen[row(h)]++
	}
	if want := 2*maxCountedHosts - (maxCountedHosts - 3); seen[rowOther] != want || len(*r.names.Load()) != firstRow+maxCountedHosts {
		t.Errorf("%d hosts are among the others, want %d; %d names", seen[rowOther], want, len(*r.names.Load()))
	}
	// Counts of loops that know different configurations.
	var sum, one, two responseCounts
	one.resize(&r)
	one[a][2], one[rowOther][4] = 5, 1
	two = append(two, [6]uint64{2: 7})
	sum.add(two)
	sum.add(one)
	sum.add(two)
	if all := sum.status(); all[2] != 19 || all[4] != 1 {
		t.Errorf("status %v", all)
	}
	got := make(map[string][6]uint64)
	for _, h := range sum.named(&r) {
		got[h.Host] = h.Status
	}
	if got["default"][2] != 14 || got["a"][2] != 5 || got["other"][4] != 1 || len(got) != firstRow+maxCountedHosts {
		t.Errorf("%d hosts; default %v, a %v, other %v", len(got), got["default"], got["a"], got["other"])
	}
	if all := two.named(&r); len(all) != 1 {
		t.Errorf("%v: the others are told though there are none", all)
	}
}
