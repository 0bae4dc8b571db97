package config

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine/adapt"
	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/shape"
)

// problemsOf are those of a file that has these lines besides a root.
func problemsOf(text string) string {
	b := newBuild()
	b.readFile("f.yaml", []byte("root: /r\n"+text))
	return append(b.problems, b.cfg.validate(b.origins)...).Error()
}

func TestAdaptFaults(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"adapt: {min: 1MiB/s, max: 50MiB/s}", ""},
		{"adapt: {min: 1MiB/s, max: 50MiB/s, start: 2MiB/s, tune: {raise: 0.04, breaker_quiet: 5m, ecn_in_row: 2}}", ""},
		{"adapt: {min: 1MiB/s}", "a floor without a ceiling"},
		{"adapt: {max: 1MiB/s}", "a ceiling without a floor"},
		{"adapt: {min: 2MiB/s, max: 1MiB/s}", "max is"},
		{"adapt: {min: 0B/s, max: 1MiB/s}", "a rate of 0"},
		{"adapt: {min: 1, max: 1MiB/s}", "has no unit"},
		{"adapt: {min: 1MiB/s, max: 2MiB/s, start: 3MiB/s}", "start is"},
		{"adapt: {start: 3MiB/s}", "without a floor and a ceiling"},
		{"adapt: {tune: {rais: 0.1}}", "did you mean raise"},
		{"adapt: {tune: {raise: x}}", "not a number"},
		{"adapt: {tune: {raise: 0}}", "must not be 0"},
		{"adapt: {tune: {raise: NaN}}", "not a number"},
		{"adapt: {tune: {breaker_quiet: 5}}", "not a duration"},
		{"adapt: {tune: {raise: 0.5}}", "drift upwards"},
		{"limits: {client: {rate: 1MiB/s, adapt_min: 1MiB/s, adapt_max: 2MiB/s}}", "for classes of paths"},
		{"limits: {paths: {/a/: {adapt_min: 1MiB/s}}}", "a floor without a ceiling"},
		{"limits: {paths: {/a/: {adapt_min: 1MiB/s, adapt_max: 2MiB/s}}}", ""},
		{"profiles: {d: {global: 40MiB/s, match: {alertname: X}}}", ""},
		{"profiles: {d: {global: 40MiB/s}}", "match is missing"},
		{"profiles: {d: {global: 40MiB/s, match: {}}}", "match is missing"},
		{"profiles: {d: {global: 40MiB/s, match: x}}", "a mapping of keys to values is needed"},
		{"profiles: {d: {match: {alertname: X}}}", "it has no rate"},
		{"profiles: {d: {client: 1MiB/s, match: {\"a b\": X}}}", "not the name of a label"},
		{"profiles: {d: {client: 1MiB/s, match: {a: X}, forget: -1s}}", "must not be negative"},
		{"profiles: {d: {clint: 1MiB/s, match: {a: X}}}", "did you mean client"},
		{"alerts: {webhook: \"https://h/p\", token_file: /t}", ""},
		{"alerts: {webhook: \"ftp://h/p\"}", "not a URL"},
		{"alerts: {webhook: \"https://u:p@h/p\"}", "shown to everybody"},
		{"alerts: {token_file: /t}", "without a webhook"},
	} {
		if got := problemsOf(c.text); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.text, got, c.want)
		}
	}
}

func TestAdaptation(t *testing.T) {
	b := newBuild()
	b.readFile("f.yaml", []byte("adapt: {min: 1MiB/s, max: 50MiB/s, tune: {breaker_quiet: 5m}}\nlimits: {paths: {/a/: {adapt_min: 2MiB/s, adapt_max: 3MiB/s}, /b/: 1MiB/s}}\n"))
	a := b.cfg.Adaptation()
	if a.Client == nil || len(a.Paths) != 1 || a.Paths["/a/"] == nil {
		t.Fatalf("%+v, problems %v", a, b.problems)
	}
	if c := a.Client.Config(); c.Min != 1<<20 || c.Max != 50<<20 || c.Start != 1<<20 || c.Breaker.Quiet != 5*time.Minute || c.SampleEvery != measure.SampleEvery {
		t.Errorf("%+v", c)
	}
	if c := a.Paths["/a/"].Config(); c.Min != 2<<20 || c.Max != 3<<20 || c.Breaker.Quiet != 5*time.Minute {
		t.Errorf("%+v", c)
	}
	if a := Default().Adaptation(); a.Client != nil || a.Paths != nil {
		t.Errorf("by default: %+v", a)
	}
}

// Every threshold can be set, and each sets one thing of its own.
func TestKnobs(t *testing.T) {
	seen := make(map[any]string)
	var c adapt.Config
	for _, threshold := range c.Thresholds() {
		name, value, at := threshold.Name, "7", threshold.At
		if _, ok := at.(*time.Duration); ok {
			value = "7s"
		}
		if other, twice := seen[at]; twice {
			t.Errorf("%s sets what %s sets", name, other)
		}
		seen[at] = name
		if err := setThreshold(threshold, value); err != nil || reflect.ValueOf(at).Elem().IsZero() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProfileText(t *testing.T) {
	p := Profile{Global: 40 << 20, Connection: shape.Paused, Forget: time.Hour, Match: map[string]string{"alertname": "A,b=c%2C\n", "severity": "page"}}
	var q Profile
	if err := q.Set(p.String()); err != nil || !reflect.DeepEqual(p, q) {
		t.Errorf("%s: %+v, %v", p, q, err)
	}
	for _, bad := range []string{"", "global", "global=x", "global=1MiB/s,global=2MiB/s", "glob=1MiB/s", "forget=x", "match.a="} {
		if err := new(Profile).Set(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
