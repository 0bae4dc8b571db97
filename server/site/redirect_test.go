package site

import (
	"slices"
	"strings"
	"testing"
)

// redirected returns a Set of a host, a.example, with a redirect and locations.
func redirected(t *testing.T, to string, locations ...Location) (*Set, error) {
	t.Helper()
	h := Host{Names: []string{"a.example", "*.b.example"}, Site: Site{Redirect: Redirect{To: to}}, Locations: locations}
	var c Compiler
	set, err := c.Compile(Host{}, []Host{h, {Names: []string{"other.example"}, Site: Site{Respond: Respond{Body: "x"}}}}, nil)
	if err == nil {
		t.Cleanup(set.Release)
	}
	return set, err
}

// Where a request goes; nothing: it stays.
func TestRedirect(t *testing.T) {
	for _, c := range []struct{ to, host, path, query, want string }{
		{"https://x.example/", "a.example", "/f", "q", "https://x.example/"},
		{"https://x.example{uri}", "a.example", "/f", "q=1", "https://x.example/f?q=1"},
		{"https://x.example{uri}", "a.example", "/f", "", "https://x.example/f"},
		{"https://x.example{path}?a&{query}", "a.example", "/f", "q", "https://x.example/f?a&q"},
		{"https://x.example{path}?a&{query}", "a.example", "/f", "", "https://x.example/f?a"},
		{"https://x.example/?p={path}", "a.example", "/f", "", "https://x.example/?p=/f"},
		{"https://x.example:8443/in{uri}#top", "a.example", "/f", "", "https://x.example:8443/in/f#top"},
		{"https://{host}{uri}", "A.Example:8080", "/f", "q", "https://a.example/f?q"},
		{"https://{host}{uri}", "any.b.example", "/f", "", "https://any.b.example/f"},
		{"https://{host}:8443{uri}", "a.example", "/f", "", "https://a.example:8443/f"},
		{"{scheme}://x.example{uri}", "a.example", "/f", "", "http://x.example/f"},
		{"/fixed", "a.example", "/f", "q", "/fixed"},
		{"/{path}", "a.example", "/f/g", "", ""},
		// What a client writes stays in its place.
		{"https://x.example{uri}", "a.example", "/a b\r\nX: y", "", "https://x.example/a%20b%0D%0AX:%20y"},
		{"/{query}", "a.example", "/f", "///evil.example", "/evil.example"},
		{"https://x.example/?{query}", "a.example", "/", "a=\"<>", "https://x.example/?a=%22%3C%3E"},
		// It is there already.
		{"http://{host}{uri}", "a.example", "/f", "q", ""},
		{"http://{host}{uri}", "A.example:80", "/f", "", ""},
		{"http://{host}:80{uri}", "a.example", "/f", "", ""},
		{"http://{host}:8080{uri}", "a.example:8080", "/f", "", ""},
		// Another port is another place.
		{"http://{host}{uri}", "a.example:8080", "/f", "", "http://a.example/f"},
		{"http://a.example{uri}", "a.example:8080", "/f", "", "http://a.example/f"},
		{"http://{host}:8080{uri}", "a.example", "/f", "", "http://a.example:8080/f"},
		{"http://a.example:443{uri}", "a.example", "/f", "", "http://a.example:443/f"},
		{"http://a.example{uri}", "any.b.example", "/f", "", "http://a.example/f"},
		{"http://a.example/f", "a.example", "/f", "", ""},
		{"http://a.example", "a.example", "/", "", ""},
		{"/f#part", "a.example", "/f", "", ""},
		{"{uri}", "a.example", "/f", "q", ""},
	} {
		set, err := redirected(t, c.to)
		if err != nil {
			t.Errorf("%s: %v", c.to, err)
			continue
		}
		r := Requested{Host: []byte(c.host), Path: []byte(c.path)}
		if c.query != "" {
			r.Query = []byte(c.query)
		}
		got, status := set.hosts[0].whole.Redirect([]byte("before "), &r)
		if url := strings.TrimPrefix(string(got), "before "); url != c.want || (status == 0) != (url == "") {
			t.Errorf("%s for %s%s: %d to %q, want %q", c.to, c.host, c.path, status, url, c.want)
		}
	}
}

// A name from which a client would make another host is none of ours.
func TestNamesThatWouldLeadElsewhere(t *testing.T) {
	set, err := redirected(t, "https://{host}{uri}")
	if err != nil {
		t.Fatal(err)
	}
	var last LastHost
	for _, host := range []string{"evil.example/.b.example", "evil.example@.b.example", `evil.example\.b.example`, "evil.example?.b.example", "evil.example#.b.example", "evil .b.example"} {
		if p := set.Find(&last, -1, []byte(host), []byte("/")); p != set.Default(-1) {
			t.Errorf("%q has found a host", host)
		}
	}
	if p := set.Find(&last, -1, []byte("evil.b.example"), []byte("/")); p == set.Default(-1) {
		t.Error("a name of ours has found none")
	}
}

func TestRedirectByPattern(t *testing.T) {
	for _, c := range []struct{ match, to, path, want string }{
		{"~ ^/old(/.*)$", "/new{1}", "/old/a/b", "/new/a/b"},
		{"~ ^/old(/.*)$", "/{1}", "/old/evil.example", "/evil.example"},
		{"~ ^/(x)?old/(.*)$", "/{1}/{2}", "/old/evil.example", "/evil.example"},
		{"~ ^/(x?)/?(.*)$", "/{1}/{2}", "/evil.example", ""},
		{"~ ^/old/(?P<rest>.*)$", "https://x.example/{rest}", "/old/a b", "https://x.example/a%20b"},
		{`~ ^/b(\\.*)$`, "/{1}", `/b\evil.example`, "/%5Cevil.example"},
		{"~* ^/OLD/(.*)$", "/{1}", "/Old/f", "/f"},
		{"= /a", "/b", "/a", "/b"},
		{"*.php", "/b", "/x.php", "/b"},
	} {
		set, err := redirected(t, "", Location{Match: c.match, Site: Site{Redirect: Redirect{To: c.to, Status: 308}}})
		if err != nil {
			t.Errorf("%s to %s: %v", c.match, c.to, err)
			continue
		}
		p := set.hosts[0].find([]byte(c.path))
		got, status := p.Redirect(nil, &Requested{Host: []byte("a.example"), Path: []byte(c.path)})
		if string(got) != c.want || status != 308 && c.want != "" {
			t.Errorf("%s of %s to %s: %d to %q, want %q", c.path, c.match, c.to, status, got, c.want)
		}
	}
}

func TestBadRedirects(t *testing.T) {
	for to, want := range map[string]string{
		"x": "neither a URL", "//x.example/": "neither a URL", "ftp://x.example/": "neither a URL", "javascript:x": "neither a URL", "{query}": "neither a URL", "{host}/": "neither a URL",
		"https://{nope}/": "unknown placeholder {nope}", "/{1}": "unknown placeholder {1}", "/{": "a { without its }", "/{uri": "a { without its }", "/a b": `" " has no place`, "/a\r\nX: y": "has no place", "/ü": "has no place", "/a}": "has no place", `/\x.example`: "has no place",
		"https://{query}/": "a client could choose", "https://x{query}": "a client could choose", "https://{scheme}/": "a client could choose",
		"https://u@x.example/": "with a user",
	} {
		if _, err := redirected(t, to); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", to, err, want)
		}
	}
	at := func(match, to string) Location { return Location{Match: match, Site: Site{Redirect: Redirect{To: to}}} }
	for _, c := range []struct {
		location Location
		want     string
	}{
		{at("~ ^/(.*)$", "https://{1}/"), "a client could choose"},
		{at("~ ^/(.*)$", "https://x.example{1}"), "a client could choose"},
		{at("~ ^/(.*)$", "/{2}"), "unknown placeholder {2}: the pattern has 1 captures"},
		{at("~ ^/(.*)$", "{1}"), "neither a URL"},
		{Location{Match: "/x/", Site: Site{Redirect: Redirect{To: "/", Status: 300}}}, "status 300: one of 301"},
		{Location{Match: "/x/", Site: Site{Redirect: Redirect{Status: 301}}}, "to is missing"},
		{at("/x/", "/x/y{uri}"), "a loop: /x/x leads to /x/y/x/x, /x/y/x/y/x/x, …"},
	} {
		if _, err := redirected(t, "", c.location); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.location, err, c.want)
		}
	}
	var c Compiler
	if _, err := c.Compile(Host{Site: Site{Redirect: Redirect{To: "https://{host}{uri}"}}}, nil, nil); err == nil || !strings.Contains(err.Error(), "{host} is whatever a client says") {
		t.Error(err)
	}
}

// Redirects that lead to each other are refused; those that end, or lead elsewhere, are not.
func TestRedirectLoops(t *testing.T) {
	at := func(match, to string) Location { return Location{Match: match, Site: Site{Redirect: Redirect{To: to}}} }
	for _, c := range []struct {
		name      string
		to        string
		locations []Location
		loop      bool
	}{
		{"growing", "/new{uri}", nil, true},
		{"growing on its own name", "http://a.example/new{uri}", nil, true},
		{"two locations", "", []Location{at("/a/", "/b/"), at("/b/", "/a/")}, true},
		{"three, of three kinds", "", []Location{at("/a/", "/x.php"), at("*.php", "/v1/"), at("~ ^/v1/$", "/a/f")}, true},
		{"to and fro between schemes", "", []Location{at("= /a", "https://a.example/b"), at("= /b", "http://a.example/a")}, true},
		{"to itself", "{uri}", nil, false},
		{"to https", "https://{host}{uri}", nil, false},
		{"to the first name", "https://a.example{uri}", nil, false},
		{"to another host of ours", "https://other.example/new{uri}", nil, false},
		{"elsewhere", "https://elsewhere.example/new{uri}", nil, false},
		{"into a location without", "/new{uri}", []Location{{Match: "/new/", Site: Site{Respond: Respond{Status: 404}}}}, false},
		{"a fixed path", "/one", nil, false},
		{"a chain", "", []Location{at("/a/", "/b/{path}"), at("/b/", "/c/"), at("/c/", "https://x.example/")}, false},
	} {
		set, err := redirected(t, c.to, c.locations...)
		if (err != nil) != c.loop || err != nil && !strings.Contains(err.Error(), "a loop") {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil && slices.ContainsFunc(set.places, func(p *Place) bool { return p.redirect != nil && !p.Answers }) {
			t.Errorf("%s: a redirect that nobody asks about", c.name)
		}
	}
}
