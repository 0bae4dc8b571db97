package server_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server"
)

type listed struct {
	Name  string `json:"name"`
	Size  int64  `json:"size"`
	Mtime string `json:"mtime"`
	Dir   bool   `json:"dir"`
}

// asJSON returns the listing that a target gives as JSON.
func (c *client) asJSON(target string) (out []listed) {
	c.t.Helper()
	r := c.get(target, "Accept: application/json")
	r.want(c.t, 200)
	r.wantField(c.t, "Content-Type", "application/json")
	if err := json.Unmarshal(r.body, &out); err != nil {
		c.t.Errorf("%s: %v in %.200q", target, err, r.body)
	}
	return out
}

func namesOf(list []listed) string {
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = e.Name
	}
	return strings.Join(names, " ")
}

func TestListingIsOff(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("f.txt", hello)
		g.once(http.MethodGet, "/").want(t, 403)
		g.once(http.MethodGet, "/", "Accept: application/json").want(t, 403)
	})
}

func TestListingJSON(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{Site: server.Site{Listing: true}})
		g.write("b.txt", "12345")
		g.write("a.txt", "1")
		g.write("c.txt", "123")
		g.write("z/x", "")
		g.write("y/index.html", "index")
		for name, hours := range map[string]int{"a.txt": 2, "b.txt": 1, "c.txt": 3} {
			when := settled.Add(time.Duration(hours) * time.Hour)
			if err := os.Chtimes(filepath.Join(g.root, name), when, when); err != nil {
				t.Fatal(err)
			}
		}
		c := g.dial()
		for query, want := range map[string]string{
			"":                        "y z a.txt b.txt c.txt",
			"?order=asc":              "y z a.txt b.txt c.txt",
			"?sort=name&order=desc":   "z y c.txt b.txt a.txt",
			"?sort=size&order=asc":    "y z a.txt c.txt b.txt",
			"?sort=size&order=desc":   "z y b.txt c.txt a.txt",
			"?sort=nonsense&order=up": "y z a.txt b.txt c.txt",
			"?page=1":                 "y z a.txt b.txt c.txt",
			"?%zz;&=&page=1":          "y z a.txt b.txt c.txt",
		} {
			if got := namesOf(c.asJSON("/" + query)); got != want {
				t.Errorf("%s: %s, want %s", query, got, want)
			}
		}
		var files []listed
		for _, e := range c.asJSON("/?sort=time&order=desc") {
			if !e.Dir {
				files = append(files, e)
			}
		}
		want := []listed{
			{"c.txt", 3, "2024-05-17T13:20:30Z", false}, {"a.txt", 1, "2024-05-17T12:20:30Z", false}, {"b.txt", 5, "2024-05-17T11:20:30Z", false},
		}
		if !slices.Equal(files, want) {
			t.Errorf("by time: %v, want %v", files, want)
		}
		if got := c.asJSON("/z/"); len(got) != 1 || got[0].Name != "x" {
			t.Errorf("/z/: %v", got)
		}
		if err := os.Remove(filepath.Join(g.root, "z", "x")); err != nil {
			t.Fatal(err)
		}
		c.get("/z/", "Accept: application/json").want(t, 200, "[]\n")
		c.get("/y/", "Accept: application/json").want(t, 200, "index")
		r := c.get("/z?sort=size", "Accept: application/json")
		r.want(t, 301)
		r.wantField(t, "Location", "/z/?sort=size")
		for _, target := range []string{"/?page=2", "/?page=0", "/?page=-1", "/?page=x", "/?page=99999999999999999999", "/none/", "/a.txt/"} {
			c.get(target, "Accept: application/json").want(t, 404)
		}
	})
}

func TestListingByAccept(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{Site: server.Site{Listing: true}})
		g.write("f.txt", hello)
		c := g.dial()
		for accept, json := range map[string]bool{
			"":                                        false,
			"*/*":                                     false,
			"text/html":                               false,
			"application/json":                        true,
			"Application/JSON":                        true,
			"application/*":                           true,
			"application/json, text/plain, */*":       true,
			"text/html, application/json":             false,
			"text/html;q=0.5, application/json":       true,
			"application/json;q=0.5, text/html":       false,
			"application/json;q=0":                    false,
			"application/json;q=0, */*":               false,
			"text/*;q=0.3, application/json;q=1":      true,
			"image/png":                               false,
			"application/json; v=1; q=0.9, */*;q=0.1": true,
			"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": false,
		} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				r := c.do(method, "/", "Accept: "+accept)
				r.want(t, 200)
				want := "text/html; charset=utf-8"
				if json {
					want = "application/json"
				}
				if got := r.get("Content-Type"); got != want {
					t.Errorf("%s, Accept: %s: %s, want %s", method, accept, got, want)
				}
				r.wantField(t, "Vary", "Accept")
				r.wantField(t, "Cache-Control", "no-cache")
				r.wantField(t, "Etag", "")
				if (method == http.MethodGet) != (int64(len(r.body)) == r.length && r.length > 0) {
					t.Errorf("%s: %d bytes of %d", method, len(r.body), r.length)
				}
			}
		}
		c.do(http.MethodPost, "/").want(t, 405)
		c.get("/", "Range: bytes=0-1").want(t, 200)
	})
}

var (
	rowLink   = regexp.MustCompile(`<td class="name"><a href="([^"]*)">.*?<bdi>([^<]*)</bdi>/?</a></td><td class="size"[^>]*>([^<]*)</td><td class="time">(?:<time datetime="[^"]*">([^<]*)</time>)?</td>`)
	styleText = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
)

// Every name is shown as it is, does nothing, and leads to its file.
func TestListingHTML(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{Site: server.Site{Listing: true}})
		files := []string{
			"<script>alert(1)<", `"><img src=x onerror=alert(1)>`, "javascript:alert(1)", "100%.txt", "%41", "a b?c#d", "&amp;",
			"dir & <b>", "ü.txt", "'quote'", "{{.Title}}", "a:b", "//host"[2:], "-", "~", "a;b=c", "+plus", "http:", "\xff\xfe",
		}
		for _, name := range files {
			g.write(filepath.Join("s p/"+"<i>", name), "content of "+name)
		}
		c := g.dial()
		base := "/s%20p/%3Ci%3E/"
		r := c.get(base)
		r.want(t, 200)
		page := string(r.body)
		rows := rowLink.FindAllStringSubmatch(page, -1)
		if len(rows) != len(files)+1 {
			t.Fatalf("%d rows, want %d: %s", len(rows), len(files)+1, page)
		}
		if rows[0][1] != "../" {
			t.Errorf("the first row leads to %q, want ../", rows[0][1])
		}
		shown := make(map[string]bool)
		at, err := url.Parse("http://files.example" + base)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows[1:] {
			ref, err := at.Parse(html.UnescapeString(row[1]))
			if err != nil {
				t.Fatal(err)
			}
			name := html.UnescapeString(row[2])
			shown[name] = true
			if row[1] != strings.ReplaceAll(url.QueryEscape(ref.Path[len("/s p/<i>/"):]), "+", "%20") {
				t.Errorf("%q has the reference %q: all but unreserved characters are to be percent-encoded", name, row[1])
			}
			if ref.Host != "files.example" || ref.Scheme != "http" || ref.RawQuery != "" {
				t.Errorf("%q leads to %s", name, ref)
			}
			if row[4] != "2024-05-17 10:20" {
				t.Errorf("%q is of %q", name, row[4])
			}
			if f := c.get(ref.EscapedPath()); name != "\ufffd\ufffd" && string(f.body) != "content of "+name {
				t.Errorf("%q leads to %s: %d %q", name, ref, f.status, f.body)
			}
		}
		for _, name := range files {
			if name != "\xff\xfe" && !shown[name] {
				t.Errorf("%q is not shown", name)
			}
		}
		for _, never := range []string{"<script", "<img", "<b>", "<i>", "onerror=alert(1)>", "ZgotmplZ"} {
			if strings.Contains(page, never) {
				t.Errorf("the page contains %s", never)
			}
		}
		for _, want := range []string{
			`<a href="../../"><bdi>root</bdi></a><span>/</span><a href="../"><bdi>s p</bdi></a><span>/</span><bdi>&lt;i&gt;</bdi></h1>`,
			`<title>Index of /s p/&lt;i&gt;/</title>`, "prefers-color-scheme: dark", `aria-sort="ascending"><a href="?sort=name&amp;order=desc">`,
			`<a href="?sort=size&amp;order=desc">`, `<a href="?sort=time&amp;order=desc">`, "19 entries",
		} {
			if !strings.Contains(page, want) {
				t.Errorf("the page has no %s", want)
			}
		}
		style := styleText.FindStringSubmatch(page)
		if style == nil {
			t.Fatal("no style")
		}
		sum := sha256.Sum256([]byte(style[1]))
		if csp := r.get("Content-Security-Policy"); !strings.Contains(csp, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
			t.Errorf("the policy %s does not let the page's style be used", csp)
		}
	})
}

// What is beside the rows is small, and what would reorder a name is visible.
func TestListingPageIsSmallAndHonest(t *testing.T) {
	const overhead = 10 << 10 // bytes
	g := start(t, engine.DriverFallback, server.Config{Site: server.Site{Listing: true}})
	g.write("empty/x", "")
	if err := os.Remove(filepath.Join(g.root, "empty", "x")); err != nil {
		t.Fatal(err)
	}
	for i, mark := range []string{"\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069", "\u061c"} {
		g.write(fmt.Sprintf("%d%stxt.exe", i, mark), "")
	}
	g.write("\u05d0 \u200d.txt", "") // written from right to left, with a joiner: nothing is wrong with it
	r := g.once(http.MethodGet, "/empty/")
	r.want(t, 200)
	if !strings.Contains(string(r.body), "This directory is empty.") || len(r.body) > overhead {
		t.Errorf("an empty directory: %d bytes, at most %d wanted: %.4000s", len(r.body), overhead, r.body)
	}
	page := string(g.once(http.MethodGet, "/").body)
	if n := strings.Count(page, "\ufffdtxt.exe</bdi>"); n != 7 {
		t.Errorf("%d names with a visible mark, want 7", n)
	}
	if !strings.Contains(page, "<bdi>\u05d0 \u200d.txt</bdi>") {
		t.Error("a name without marks is not shown as it is")
	}
	for _, row := range rowLink.FindAllStringSubmatch(page, -1) {
		if !strings.HasSuffix(row[1], "/") { // the reference still has the true name
			g.once(http.MethodGet, "/"+strings.TrimPrefix(html.UnescapeString(row[1]), "./")).want(t, 200)
		}
	}
}

func TestListingSizes(t *testing.T) {
	g := start(t, engine.DriverFallback, server.Config{Site: server.Site{Listing: true}})
	sizes := map[string]int64{
		"0 B": 0, "1023 B": 1023, "1.0 KiB": 1024, "9.9 KiB": 10137, "10 KiB": 10240, "1023 KiB": 1023 << 10,
		"1.0 MiB": 1<<20 - 1, "1.5 GiB": 3 << 29, "2.0 TiB": 2 << 40,
	}
	for name, n := range sizes {
		g.write(name, "")
		if err := os.Truncate(filepath.Join(g.root, name), n); err != nil {
			t.Fatal(err)
		}
	}
	rows := rowLink.FindAllStringSubmatch(string(g.once(http.MethodGet, "/").body), -1)
	if len(rows) != len(sizes) {
		t.Errorf("%d rows, want %d", len(rows), len(sizes))
	}
	for _, row := range rows {
		if row[2] != row[3] {
			t.Errorf("%d bytes are shown as %q, want %q", sizes[row[2]], row[3], row[2])
		}
	}
}

// A listing shows what a request would get: nothing hidden, nothing outside,
// no FIFOs.
func TestListingHides(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		for _, test := range []struct {
			links openfile.Symlinks
			want  string
		}{
			{openfile.SymlinksInside, "dirlink sub back\\slash f.txt inside line\nend"},
			{openfile.SymlinksFollow, "dirlink sub back\\slash f.txt inside line\nend outside"},
			{openfile.SymlinksDeny, "sub back\\slash f.txt line\nend"},
		} {
			root := besides(t)
			for name, to := range map[string]string{"inside": "sub/g.txt", "outside": "../secret.txt", "dirlink": "sub", "dangling": "none", "loop": "loop"} {
				if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
					t.Fatal(err)
				}
			}
			writeFile(t, filepath.Join(root, ".hidden"), nil)
			writeFile(t, filepath.Join(root, ".git", "config"), nil)
			writeFile(t, filepath.Join(root, `back\slash`), nil)
			writeFile(t, filepath.Join(root, "line\nend"), nil)
			if err := unix.Mkfifo(filepath.Join(root, "fifo"), 0o644); err != nil {
				t.Fatal(err)
			}
			g := start(t, d, server.Config{Site: server.Site{Root: root, Symlinks: test.links, Listing: true}})
			c := g.dial()
			list := c.asJSON("/")
			if got := namesOf(list); got != test.want {
				t.Errorf("links %d: %s, want %s", test.links, got, test.want)
			}
			for _, e := range list {
				if e.Name == "inside" && e.Size != 1 {
					t.Errorf("the link is shown with %d bytes, want its target's 1", e.Size)
				}
				if !e.Dir {
					c.get((&url.URL{Path: "/" + e.Name}).EscapedPath()).want(t, 200)
				}
			}
			c.get("/.git/").want(t, 404)
		}
	})
}

// A directory of 2,500 entries has three pages that hold each name once, and is listed
// whole where no page is asked for.
func TestListingPages(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{Site: server.Site{Listing: true}})
		const files = 2500
		for i := range files {
			f, err := os.Create(filepath.Join(g.root, fmt.Sprintf("f+%d & é", i))) // in the order of their numbers
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		c := g.dial()
		target, seen, pages := "/?sort=name&order=desc&page=1", []string(nil), 0
		for target != "" {
			for _, e := range c.asJSON(target) {
				seen = append(seen, e.Name)
			}
			pages++
			target = link(c.do(http.MethodHead, target, "Accept: application/json"), "next")
		}
		if pages != 3 || len(seen) != files {
			t.Errorf("%d names on %d pages, want %d on 3", len(seen), pages, files)
		}
		for i, name := range seen {
			if want := fmt.Sprintf("f+%d & é", files-1-i); name != want {
				t.Fatalf("name %d is %s, want %s", i, name, want)
			}
		}
		r := c.get("/?page=2")
		r.want(t, 200)
		if prev, next := link(r, "prev"), link(r, "next"); prev != "/?sort=name&order=asc&page=1" || next != "/?sort=name&order=asc&page=3" {
			t.Errorf("page 2 is between %q and %q", prev, next)
		}
		for _, want := range []string{`<a rel="prev" href="?sort=name&amp;order=asc&amp;page=1">`, `<a rel="next" href="?sort=name&amp;order=asc&amp;page=3">`, `<a href="?sort=name&amp;order=asc&amp;page=1">First</a>`, `<a href="?sort=name&amp;order=asc&amp;page=3">Last</a>`, "Page 2 of 3", "2,500 entries"} {
			if !strings.Contains(string(r.body), want) {
				t.Errorf("page 2 has no %s", want)
			}
		}
		c.get("/?page=4").want(t, 404)
		for _, query := range []string{"", "?sort=time"} { // all, where no page is asked for
			all := c.asJSON("/" + query)
			rows := rowLink.FindAllSubmatch(c.get("/"+query).body, -1)
			if len(all) != files || len(rows) != files || string(rows[10][1]) != "f%2B10%20%26%20%C3%A9" || all[10].Name != "f+10 & é" {
				t.Errorf("%q: %d entries as JSON, %d rows, want %d of each", query, len(all), len(rows), files)
			}
		}
	})
}

var linkValue = regexp.MustCompile(`<([^>]*)>; rel="([a-z]+)"`)

// link returns where the Link field of a response leads by a relation.
func link(r *response, rel string) string {
	for _, m := range linkValue.FindAllStringSubmatch(r.get("Link"), -1) {
		if m[2] == rel {
			return "/" + m[1]
		}
	}
	return ""
}

// Clients that go away while their listing is made leave nothing behind; however many ask for
// one page at once, it takes one place in the root's pool.
func TestListingsAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{Site: server.Site{Listing: true}})
		for i := range 2000 {
			f, err := os.Create(filepath.Join(g.root, fmt.Sprintf("f%d", i)))
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
		size := g.once(http.MethodHead, "/").length
		const clients = 1000
		all := make([]*client, clients)
		for i := range all {
			all[i] = g.dial()
		}
		for i, c := range all {
			c.send(request("GET", "/") + request("GET", "/f1"))
			if i%3 == 0 {
				if err := c.conn.SetLinger(0); err != nil {
					t.Fatal(err)
				}
				c.conn.Close()
			}
		}
		for i, c := range all {
			if i%3 == 0 {
				continue
			}
			if r := c.read("GET"); r.status != 200 || int64(len(r.body)) != size {
				t.Fatalf("status %d, %d bytes of %d, fields %v", r.status, len(r.body), size, r.fields)
			}
			c.read("GET").want(t, 200, "")
			c.conn.Close()
		}
		g.wantOpen(0)
		g.once(http.MethodGet, "/").want(t, 200)
	})
}

// What everybody is refused is not shown; what somebody gets is.
func TestListingHidesWhatIsDenied(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		deny := func(prefix string, networks ...string) server.Location {
			var access server.Access
			var err error
			if access.Deny, err = server.ParseNetworks(networks); err != nil {
				t.Fatal(err)
			}
			return server.Location{Match: prefix, Site: server.Site{Root: t.TempDir(), Access: access}}
		}
		g := start(t, d, server.Config{Site: server.Site{Listing: true}, Locations: []server.Location{
			deny("/secret/", "all"), deny("/internal/", "10.0.0.0/8"),
		}})
		for _, dir := range []string{"secret", "internal", "open"} {
			g.write(dir+"/f", "")
		}
		if got := namesOf(g.dial().asJSON("/")); got != "internal open" {
			t.Errorf("%s is shown, want internal open", got)
		}
	})
}

// Readers that do not read hold one page between them.
func TestListingIsShared(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{Site: server.Site{Listing: true}})
		for i := range 2000 {
			f, err := os.Create(filepath.Join(g.root, strings.Repeat("é", 120)+strconv.Itoa(i)))
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
		size := g.once(http.MethodHead, "/").length
		const readers = 60
		before := heap()
		for range readers { // at once more than may wait, so one after the other
			c := g.dialWith(4 << 10)
			c.send(request("GET", "/"))
			if _, err := c.r.Peek(1); err != nil {
				t.Fatal(err)
			}
		}
		if grown := heap() - before; size < 2<<20 || grown > 4*size {
			t.Errorf("%d readers of a page of %d bytes hold %d", readers, size, grown)
		}
	})
}

// heap returns the bytes in use on the heap, after a collection.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
