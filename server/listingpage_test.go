package server_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
)

// A search is in the names, in any case, of all pages, as HTML and JSON.
func TestListingSearch(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{Site: server.Site{Listing: true, ListingPage: 2}})
		for _, name := range []string{"fserve-1.0.tar.gz", "FSERVE-1.10.tar.gz", "fserve-1.2.tar.gz", "other", "a&b\"<"} {
			g.write(name, "")
		}
		g.write("fserve/x", "")
		c := g.dial()
		for query, want := range map[string]string{
			"?q=SERVE": "fserve FSERVE-1.10.tar.gz fserve-1.0.tar.gz fserve-1.2.tar.gz", "?q=serve&order=desc&page=2": "fserve-1.0.tar.gz FSERVE-1.10.tar.gz",
			"?q=+&sort=name": "fserve FSERVE-1.10.tar.gz a&b\"< fserve-1.0.tar.gz fserve-1.2.tar.gz other", "?q=none": "", "?q=%22%3C": "a&b\"<",
		} {
			if got := namesOf(c.asJSON("/" + query)); got != want {
				t.Errorf("%s: %s, want %s", query, got, want)
			}
		}
		page := string(c.get("/?q=%22%3C&sort=size&order=desc").body)
		for _, want := range []string{`<input type="search" name="q" value="&#34;&lt;"`, `name="sort" value="size"`, `name="order" value="desc"`, "1 entry",
			`<a href="?sort=size&amp;order=desc">Show all</a>`, `<a href="?sort=name&amp;order=asc&amp;q=%22%3C">Name</a>`} {
			if !strings.Contains(page, want) {
				t.Errorf("the page has no %s", want)
			}
		}
		if page := string(c.get("/?q=serve&page=1").body); !strings.Contains(page, `href="?sort=name&amp;order=asc&amp;page=2&amp;q=serve"`) {
			t.Error("the next page is of another search")
		}
		if page := string(c.get("/?q=none").body); !strings.Contains(page, "No name has that in it.") {
			t.Error("an empty result is not said")
		}
		c.get("/?q="+strings.Repeat("x", 101), "Accept: application/json").want(t, 404)
	})
}

// .header.html stands above the entries as it is, a readme below them without its HTML.
func TestListingBeside(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		site := server.Site{Root: t.TempDir(), Listing: true}
		g := start(t, d, server.Config{Site: site, Hosts: []server.Host{{Names: []string{"files.example"}, Site: site}}})
		g.write(".header.html", "<p class=\"x\">Welcome</p>")
		g.write("README.md", "# Title\n\n<script>alert(1)</script>\n\n<b>[bad](javascript:alert(1)) [good](a%20b)</b>\n\n| a |\n|---|\n| b |\n")
		g.write("README.txt", "not this one")
		g.write("plain/README", "<b>plain</b>")
		g.write("large/README.md", strings.Repeat("large ", 30_000))
		wide := strings.Repeat("a|", 4000) + "\n" + strings.Repeat("-|", 4000) + "\n" + strings.Repeat("a\n", 8_000)
		g.write("wide/README.md", wide)
		g.write("long/README.md", strings.Repeat("# long\n", 10_000))
		g.write("many/f", "")
		c := g.dial()
		r := c.get("/")
		page := string(r.body)
		for _, want := range []string{`<div class="text"><p class="x">Welcome</p></div>`, "<h1>Title</h1>", `<a href="a%20b">good</a>`, "<td>b</td>", "<bdi>files.example</bdi>"} {
			if !strings.Contains(page, want) {
				t.Errorf("the page has no %s", want)
			}
		}
		for _, never := range []string{"<script", "javascript:", "<b>", "not this one"} {
			if strings.Contains(page, never) {
				t.Errorf("the page has %s", never)
			}
		}
		if csp := r.get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; style-src 'sha256-") || strings.Contains(csp, "unsafe") || strings.Contains(csp, "script-src") {
			t.Errorf("the policy is %s", csp)
		}
		for _, query := range []string{"/?q=e", "/?page=2"} {
			if r := c.get(query); strings.Contains(string(r.body), "Welcome") {
				t.Errorf("%s has the header", query)
			}
		}
		if page := string(c.get("/plain/").body); !strings.Contains(page, "<pre>&lt;b&gt;plain&lt;/b&gt;</pre>") {
			t.Errorf("a plain readme: %s", page)
		}
		if page := string(c.get("/wide/").body); !strings.Contains(page, "<pre>"+wide+"</pre>") {
			t.Errorf("a table of 32 million cells: %d bytes", len(page))
		}
		if page := string(c.get("/long/").body); strings.Contains(page, "<h1>long") {
			t.Error("a long readme is read as Markdown")
		}
		for _, path := range []string{"/large/", "/many/"} {
			if page := string(c.get(path).body); strings.Contains(page, `class="text`) {
				t.Errorf("%s has something beside its entries", path)
			}
		}
		c.get("/.header.html").want(t, 404)
		list := c.asJSON("/")
		if len(list) != 7 {
			t.Errorf("as JSON: %v", list)
		}
	})
}

// Each kind of file has its icon, and each icon is there.
func TestListingIcons(t *testing.T) {
	g := start(t, engine.DriverFallback, server.Config{Site: server.Site{Listing: true}})
	for _, name := range []string{"a.tar.GZ", "i.png", "m.mp4", "t.txt", "p.iso", "s.asc", "f.unknown", "f", "f."} {
		g.write(name, "")
	}
	page := string(g.once(http.MethodGet, "/").body)
	rows := regexp.MustCompile(`<use href="#(.)"/></svg><bdi>(.)`).FindAllStringSubmatch(page, -1)
	if len(rows) != 9 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, row := range rows {
		if row[1] != row[2] || !strings.Contains(page, `<symbol id="`+row[1]+`"`) {
			t.Errorf("%s has the icon %s", row[2], row[1])
		}
	}
}
