package site

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The responses of a host are counted in one row, those of its locations too.
func TestNumber(t *testing.T) {
	dir := t.TempDir()
	at := Site{Root: dir}
	var c Compiler
	set, err := c.Compile(Host{Site: at}, []Host{
		{Names: []string{"a.example", "b.example"}, Site: at, Locations: []Location{{Match: "/l/", Site: at}}},
		{Names: []string{"*.example"}, Site: at},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Release()
	if names := set.Names(); !slices.Equal(names, []string{"a.example", "*.example"}) {
		t.Fatalf("names %v", names)
	}
	set.Number([]int{7, 8})
	var last LastHost
	for target, want := range map[string]int{
		"a.example/": 7, "a.example/l/x": 7, "B.example:80/l/": 7, "c.example/": 8, "a.c.example/": 8, "other/": 0, "/": 0,
	} {
		host, path, _ := strings.Cut(target, "/")
		if p := set.Find(&last, -1, []byte(host), []byte("/"+path)); p.Row != want {
			t.Errorf("%s: row %d, want %d", target, p.Row, want)
		}
	}
}

// What Find remembers holds for one Set, one listener and one name.
func TestLastHost(t *testing.T) {
	dir := t.TempDir()
	c := Compiler{Listeners: []Listener{{Addr: ":1"}, {Addr: ":2"}}}
	compile := func(before *Set, names ...string) *Set {
		t.Helper()
		var hosts []Host
		for _, name := range names {
			name, addr, _ := strings.Cut(name, " ")
			h := Host{Names: []string{name}, ID: name + addr, Site: Site{Root: dir}}
			if addr != "" {
				h.Listen = []string{addr}
			}
			hosts = append(hosts, h)
		}
		set, err := c.Compile(Host{Site: Site{Root: dir}}, hosts, before)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(set.Release)
		return set
	}
	first := compile(nil, "a.example", "b.example", "*.example :1", "c.example :2")
	second := compile(first, "b.example", "A.example")
	var last LastHost
	for i, step := range []struct {
		set        *Set
		at         int
		host, want string
	}{
		{first, 0, "a.example", "a.example"}, {first, 0, "a.example", "a.example"}, {first, 0, "b.example", "b.example"},
		{first, 0, "c.example", "*.example:1"}, {first, 1, "c.example", "c.example:2"}, {first, 0, "c.example", "*.example:1"},
		{second, 0, "c.example", ""}, {second, 0, "", ""}, {second, 0, "a.example:80", "A.example"}, {second, 0, "a.exampl", ""},
		{first, 0, "a.exampl", ""}, {first, 0, "a.example:8o", ""}, {first, 0, "a.example", "a.example"}, {second, 0, "a.example", "A.example"},
	} {
		if got := step.set.Find(&last, step.at, []byte(step.host), []byte("/")).HostName(); got != step.want {
			t.Errorf("step %d: %q at %d is of %q, want %q", i, step.host, step.at, got, step.want)
		}
	}
}

// Roots stay open as long as a Set that has them is held, and no longer.
func TestRootsAreClosed(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	var c Compiler
	compile := func(before *Set, dirs ...string) *Set {
		t.Helper()
		base := Host{Site: Site{Root: dirs[0]}}
		for _, dir := range dirs[1:] {
			base.Locations = append(base.Locations, Location{Match: "/" + filepath.Base(dir) + "/", Site: Site{Root: dir}})
		}
		set, err := c.Compile(base, nil, before)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	open := func() int { return len(c.roots.open) }
	before := openDescriptors(t)
	first := compile(nil, one, two, one)
	second := compile(first, two)
	if open() != 2 {
		t.Errorf("%d roots are open, want 2", open())
	}
	first.Retain()
	first.Release()
	first.Release()
	if open() != 1 {
		t.Errorf("%d roots are open, want the one that is left", open())
	}
	key := string(second.Default(-1).AppendKey(nil, []byte("/f")))
	if !second.HasKey(key) || second.HasKey("77/f") || first.HasKey("77/f") {
		t.Errorf("key %q", key)
	}
	second.Release()
	if open() != 0 || openDescriptors(t) != before {
		t.Errorf("%d roots are open, %d descriptors, %d before", open(), openDescriptors(t), before)
	}
	if _, err := c.Compile(Host{Site: Site{Root: one}, Locations: []Location{{Match: "/x/"}}}, nil, nil); err == nil || open() != 0 {
		t.Errorf("error %v; %d roots are open after it", err, open())
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// Two files of one directory are two in the caches, also when one takes the place of the other.
func TestAnotherFileHasAnotherKey(t *testing.T) {
	dir := t.TempDir()
	var c Compiler
	var before *Set
	keys := make(map[string]bool)
	for _, name := range []string{"a", "b", "b"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		one := Location{Match: "= /x", Alias: true, Site: Site{Root: file}}
		set, err := c.Compile(Host{Site: Site{Root: dir}, Locations: []Location{one}}, nil, before)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(set.Release)
		var last LastHost
		keys[string(set.Find(&last, -1, nil, []byte("/x")).AppendKey(nil, []byte("/x")))] = true
		before = set
	}
	if len(keys) != 2 {
		t.Errorf("keys %v, want one for each file", keys)
	}
}
