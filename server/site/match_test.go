package site

import (
	"strings"
	"testing"
)

// Of the locations that match a path one counts, in the order of nginx.
func TestPrecedence(t *testing.T) {
	set := compileLocations(t, "/x/", "/x/deep/", "^~ /first/", "/first/not/", "= /x/exact.sql", "= /", "*.sql", "*.tar.gz", "*.gz",
		`~ ^/v[0-9]+/`, `~ ^/v1/`, `~* \.PNG$`)
	for path, want := range map[string]string{
		"/": "= /", "/f": "", "/x": "", "/x/": "/x/", "/x/f": "/x/", "/x/deep/f": "/x/deep/", "/x/deeper": "/x/", "/xf": "",
		"/x/exact.sql": "= /x/exact.sql", "/x/exact.sqlite": "/x/", "/x/exact.sql/": "/x/",
		"/f.sql": "*.sql", "/x/f.sql": "*.sql", "/x/f.SQL": "*.sql", "/.sql": "*.sql", "/sql": "", "/f.sql/g": "", "/f.sqlx": "",
		"/f.gz": "*.gz", "/f.tar.gz": "*.tar.gz", "/f.1.tar.gz": "*.tar.gz", "/x.tar.gz.asc": "", "/f.tar": "",
		"/first/f": "^~ /first/", "/first/f.sql": "^~ /first/", "/first/f.png": "^~ /first/", "/first/not/f.sql": "*.sql", "/first/not/f": "/first/not/",
		"/v1/f": `~ ^/v[0-9]+/`, "/v12/f": `~ ^/v[0-9]+/`, "/v/f": "", "/v1": "", "/x/v1/f": "/x/", "/v1/f.sql": "*.sql",
		"/f.png": `~* \.PNG$`, "/x/f.Png": `~* \.PNG$`, "/v1/f.png": `~ ^/v[0-9]+/`,
		"/" + strings.Repeat("ö", 100) + ".sql": "*.sql",
	} {
		var last LastHost
		if got := set.Find(&last, -1, nil, []byte(path)); string(got.Class) != "/"+want {
			t.Errorf("%s is of %q, want %q", path, got.Class, "/"+want)
		}
	}
}

// compileLocations returns a Set of locations each of which has its Match as its Class.
func compileLocations(t *testing.T, matches ...string) *Set {
	t.Helper()
	base := Host{Site: Site{Root: t.TempDir(), Class: "/"}}
	for _, m := range matches {
		base.Locations = append(base.Locations, Location{Match: m, Site: Site{Root: base.Root, Class: "/" + m}})
	}
	var c Compiler
	set, err := c.Compile(base, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Release)
	return set
}

// To find a place costs no memory, whatever the locations are found by.
func TestFindCostsNoMemory(t *testing.T) {
	set := compileLocations(t, "/x/", "= /exact", "*.sql", `~ ^/v[0-9]+/`)
	var last LastHost
	for _, path := range []string{"/f", "/x/f", "/exact", "/f.SQL", "/v1/f"} {
		path := []byte(path)
		if n := testing.AllocsPerRun(1000, func() { set.Find(&last, -1, nil, path) }); n > 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
}

func TestBegin(t *testing.T) {
	for re, want := range map[string]string{
		"^/v[0-9]+/": "/v", "^/x": "/x", "^/x/(a|b)$": "/x/", "^/(a|b)": "/", `\.png$`: "", "(?i)^/x[a]": "", "^/a|^/b[c]": "", "/x/": "", "^(/x)?/y[0-9]": "", "(?m)^/x[0-9]": "", "^/ü[0-9]": "/ü", "^/x*y": "/",
	} {
		if got := begin(re); string(got) != want {
			t.Errorf("%s: %q, want %q", re, got, want)
		}
	}
}

func TestCheckMatch(t *testing.T) {
	for _, m := range []string{"/x/", "= /", "=  /x", "= /x/", "^~ /x/", "*.x", "*.tar.gz", "~ x", `~* ^/(a|b) c$`} {
		if err := CheckMatch(m); err != nil {
			t.Errorf("%q: %v", m, err)
		}
	}
	for m, want := range map[string]string{
		"": "a prefix is a path", "/": "is the host itself", "/x": "write /x/, or = /x", "^~ /x": "write /x/", "^~ /": "is the host itself", "/x/../y/": "a prefix is a path", "//": "a prefix is a path",
		"=": "behind = stands a path", "= x": "behind = stands a path", "= /a//b": "behind = stands a path", "=/x": "a space stands behind", "^~/x/": "a space stands behind",
		"*": "a suffix is an extension", "*sql": "a suffix is an extension", "*.": "a suffix is an extension", "*.a/b": "a suffix is an extension", "*.*": "a suffix is an extension", "*.a.": "a suffix is an extension",
		"~": "behind ~ and ~* stands", "~ ": "behind ~ and ~* stands", "~* (": "missing closing )", `~ (?!x)`: "patterns are those of RE2", "~x": "a space stands behind", "x/": "a prefix is a path",
	} {
		if err := CheckMatch(m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", m, err, want)
		}
	}
}

// BenchmarkFind finds the place of a small file in a host with three prefixes, for requests that have
// one name of a host again and again, and for those that have two in turn.
func BenchmarkFind(b *testing.B) {
	at := Site{Root: b.TempDir()}
	host := Host{Names: []string{"dl.example.com", "127.0.0.1"}, Site: at}
	for _, prefix := range []string{"/docs/", "/a/b/", "/downloads/"} {
		host.Locations = append(host.Locations, Location{Match: prefix, Site: at})
	}
	var c Compiler
	set, err := c.Compile(Host{Site: at}, []Host{host}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer set.Release()
	path, names := []byte("/1k.bin"), [2][]byte{[]byte("127.0.0.1:43210"), []byte("dl.example.com")}
	for name, turn := range map[string]int{"same": 0, "other": 1} {
		b.Run(name, func(b *testing.B) {
			var last LastHost
			for i := 0; b.Loop(); i++ {
				set.Find(&last, -1, names[i&turn], path)
			}
		})
	}
}
