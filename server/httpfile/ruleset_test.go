package httpfile

import (
	"slices"
	"testing"
)

func TestRulesAll(t *testing.T) {
	rules, err := CompileRules("test", []Rule{
		{"/a/", "dir"}, {"*.CSS", "css"}, {"/a/x.css", "exact"}, {"/a/*.css", "both"}, {"*", "all"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		"/a/x.css": {"dir", "css", "exact", "both", "all"},
		"/a/y.Css": {"dir", "css", "both", "all"},
		"/a":       {"all"},
		"/b.css":   {"css", "all"},
		"":         {"all"},
	} {
		if got := slices.Collect(rules.All(path)); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
	for first := range rules.All("/a/x.css") { // whoever has enough stops
		if first != "dir" {
			t.Errorf("the first is %q", first)
		}
		break
	}
	if _, err := CompileRules("test", []Rule{{"a", "v"}, {"/", "v"}}); err == nil {
		t.Error("a pattern that is no path was taken")
	}
}
