package config

import (
	"reflect"
	"regexp"
	"slices"
	"testing"
)

func TestTable(t *testing.T) {
	name := regexp.MustCompile(`^[a-z][a-z0-9]*([-_.][a-z0-9]+)*$`)
	seen := make(map[string]string)
	for _, f := range fields {
		for kind, n := range map[string]string{"path": f.path, "flag": f.flag, "variable": f.env} {
			if n == "" && kind != "path" {
				continue
			}
			if other, twice := seen[kind+n]; twice {
				t.Errorf("%s: %s %s is that of %s too", f.path, kind, n, other)
			}
			seen[kind+n] = f.path
			if kind != "variable" && !name.MatchString(n) {
				t.Errorf("%s: %s %q", f.path, kind, n)
			}
		}
		if (f.flag == "") != (f.help == "") {
			t.Errorf("%s: flag %q with the help %q", f.path, f.flag, f.help)
		}
		records := f.typ.Kind() == reflect.Map && isSection(f.typ.Elem()) // for files only
		if f.flag == "" && !f.secret && !records {
			t.Errorf("%s has no flag, though it is no secret", f.path)
		}
		if (f.env == "") != records {
			t.Errorf("%s: variable %q", f.path, f.env)
		}
		if f.secret && f.flag != "" {
			t.Errorf("%s is secret and has a flag, which everybody can see", f.path)
		}
		if (f.typ.Kind() == reflect.Map && !records) != (f.form != "") {
			t.Errorf("%s: form %q of %v", f.path, f.form, f.typ)
		}
		if !slices.Contains([]string{"", "yes", "path"}, f.live) {
			t.Errorf("%s: live %q", f.path, f.live)
		}
		if fieldAt(f.path) == nil || fieldAt(f.path).env != f.env {
			t.Errorf("%s is not found", f.path)
		}
	}
}

// The default of every field can be written and read.
func TestDefaultsAreText(t *testing.T) {
	c := Default()
	for i := range fields {
		f := &fields[i]
		v := reflect.New(f.typ).Elem()
		for _, p := range parts(f.in(c)) {
			if err := f.set(v, p); err != nil {
				t.Errorf("%s: %v", f.path, err)
			}
		}
		if !f.equal(v, f.in(c)) {
			t.Errorf("%s: %v is read as %v", f.path, f.in(c), v)
		}
	}
}

func TestChoicesHaveNames(t *testing.T) {
	for typ, names := range choices {
		if len(names) < 2 || slices.Contains(names, "") {
			t.Errorf("%v: %q", typ, names)
		}
		for i, n := range names {
			v := reflect.New(typ).Elem()
			if err := setText(v, n); err != nil || v.Uint() != uint64(i) || textOf(v) != n {
				t.Errorf("%v: %s is %v, %v", typ, n, v, err)
			}
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"listen", "root", "timeouts", "proxy_protocol", "pin"}
	for _, test := range []struct{ word, want string }{
		{"lisen", "listen"}, {"listne", "listen"}, {"timeout", "timeouts"}, {"pni", "pin"}, {"proxyprotocol", "proxy_protocol"},
		{"rot", "root"}, {"nothing", ""}, {"", ""}, {"x", ""}, {"listen", "listen"},
	} {
		if got := nearest(test.word, names); got != test.want {
			t.Errorf("%q: %q, want %q", test.word, got, test.want)
		}
	}
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "", 3}, {"", "abc", 3}, {"abc", "acb", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 1}} {
		if got := slips(test.a, test.b); got != test.want {
			t.Errorf("%q to %q: %d, want %d", test.a, test.b, got, test.want)
		}
	}
}
