package httpfile

import (
	"strings"
	"testing"
)

func TestRules(t *testing.T) {
	rules := []Rule{
		{"/exact", "1"}, {"/dir/", "2"}, {"/pre*", "3"}, {"/assets/*.js", "4"}, {"/assets/", "5"}, {"*.css", "6"}, {"/x*x", "7"}, {"*", "8"},
	}
	compiled, err := compileRules("test", rules)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, want string }{
		{"/exact", "1"}, {"/exact/", "8"}, {"/exactly", "8"}, {"/EXACT", "8"},
		{"/dir/", "2"}, {"/dir/a/b.css", "2"}, {"/dir", "8"},
		{"/pre", "3"}, {"/prefix/f", "3"},
		{"/assets/a.js", "4"}, {"/assets/b/c.JS", "4"}, {"/assets/.js", "4"}, {"/assets/a.jsx", "5"}, {"/assets/js", "5"},
		{"/f.css", "6"}, {"/a/f.CsS", "6"},
		{"/xx", "7"}, {"/x", "8"}, {"/xyx", "7"}, // the two ends do not overlap
		{"/", "8"},
	} {
		if got := firstMatch(compiled, c.path); got != c.want {
			t.Errorf("%s: rule %q, want %q", c.path, got, c.want)
		}
	}
	if got := firstMatch(compiled[:1], "/f"); got != "" {
		t.Errorf("no rule: %q", got)
	}
}

func TestPolicyFaults(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Server: "a\r\nX: y"}, "server"},
		{Config{Server: " a"}, "white space"},
		{Config{Charset: "utf 8"}, "charset"},
		{Config{DefaultType: "text"}, "default type"},
		{Config{DefaultType: "/plain"}, "default type"},
		{Config{DefaultType: "text/"}, "default type"},
		{Config{DefaultType: "text/pl ain"}, "default type"},
		{Config{DefaultType: "text/plain\n"}, "default type"},
		{Config{ContentTypes: map[string]string{"x": "y"}}, `content type of "x"`},
		{Config{ContentTypes: map[string]string{"": "text/plain"}}, "neither an extension nor"},
		{Config{ContentTypes: map[string]string{"tar.gz": "text/plain"}}, "neither an extension nor"},
		{Config{CacheControl: []Rule{{"", "x"}}}, "cache control rule"},
		{Config{CacheControl: []Rule{{"css", "x"}}}, "cache control rule"},
		{Config{CacheControl: []Rule{{"*a*", "x"}}}, "cache control rule"},
		{Config{CacheControl: []Rule{{"/f", ""}}}, "no value"},
		{Config{CacheControl: []Rule{{"/f", "a\nb"}}}, "control character"},
		{Config{Disposition: []Rule{{"/f", "download"}}}, "neither attachment nor inline"},
		{Config{DownloadParam: "a=b"}, "download parameter"},
		{Config{MaxRanges: -1}, "max ranges"},
		{Config{MaxRanges: 257}, "max ranges"},
		{Config{MergeGap: -1}, "merge gap"},
		{Config{RetryAfter: -1}, "retry after"},
	} {
		p, err := NewPolicy(c.config)
		if err == nil || p != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.config, err, c.want)
		}
	}
	_, err := NewPolicy(Config{Server: "\x00", MaxRanges: 999})
	if err == nil || !strings.Contains(err.Error(), "server") || !strings.Contains(err.Error(), "max ranges") {
		t.Errorf("two faults: %v", err)
	}
}

// TestPolicyLimits: the limits themselves are allowed.
func TestPolicyLimits(t *testing.T) {
	for _, c := range []Config{
		{MaxRanges: 1, MergeGap: 1, RetryAfter: 1},
		{MaxRanges: maxMaxRanges, MergeGap: maxMergeGap, RetryAfter: maxRetryAfter},
	} {
		p := testPolicy(t, c)
		if p.maxRanges != c.MaxRanges || p.mergeGap != c.MergeGap || p.retryAfter != c.RetryAfter {
			t.Errorf("%+v: %+v", c, p)
		}
	}
	if p := testPolicy(t, Config{}); p.maxRanges != 64 || p.mergeGap != 80 || p.retryAfter != 1 {
		t.Errorf("defaults: %+v", p)
	}
}

func TestHidden(t *testing.T) {
	none, some, all := Config{}, Config{DotDirs: []string{".a", ".b"}}, Config{Dotfiles: true}
	for _, c := range []struct {
		config Config
		path   string
		want   bool
	}{
		{none, "/", false}, {none, "/f", false}, {none, "/f.", false}, {none, "/a.b/c.d", false},
		{none, "/.f", true}, {none, "/.git/config", true}, {none, "/a/.f", true}, {none, "/a/.b/c", true}, {none, "/...", true},
		{none, "/.well-known/x", false}, {none, "/.well-known/", false}, {none, "/.well-known", false},
		{none, "/.well-known/.f", true}, {none, "/.well-known/a/.f", true}, {none, "/.well-known-x/f", true}, {none, "/.well-know", true},
		{none, "/a/.well-known/x", true}, {none, "/.Well-Known/x", true},
		{some, "/.a/x", false}, {some, "/.b", false}, {some, "/.well-known/x", true}, {some, "/.c", true},
		{Config{DotDirs: []string{}}, "/.well-known/x", true},
		{all, "/.git/.f", false},
	} {
		if got := testPolicy(t, c.config).Hidden([]byte(c.path)); got != c.want {
			t.Errorf("%v %s: %v", c.config.DotDirs, c.path, got)
		}
	}
}

func TestDownload(t *testing.T) {
	p := testPolicy(t, Config{DownloadParam: "dl"})
	for _, c := range []struct {
		query string
		want  bool
	}{
		{"dl", true}, {"dl=", true}, {"dl=name.exe", true}, {"a=b&dl", true}, {"&&dl&", true}, {"a&dl=1&b", true},
		{"", false}, {"a=dl", false}, {"dlx", false}, {"xdl", false}, {"DL", false}, {"a=b&c=d", false}, {"d%6c", false},
	} {
		if got := p.Download([]byte(c.query)); got != c.want {
			t.Errorf("%q: %v", c.query, got)
		}
	}
	if testPolicy(t, Config{}).Download([]byte("=x&")) {
		t.Error("a download without a parameter")
	}
}
