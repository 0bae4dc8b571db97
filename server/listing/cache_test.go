package listing

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server/httpfile"
)

// directory makes a directory with empty files, and returns how it is asked for.
func directory(t *testing.T, names ...string) *Directory {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root, err := openfile.OpenRoot(dir, openfile.SymlinksInside)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return &Directory{Root: root, Path: "/x/", Owner: dir, PageEntries: 1, Policy: new(httpfile.Policy), Shows: func(path []byte) bool { return string(path) != "/x/.b" }}
}

// touch changes a directory, so that even a clock of few ticks shows it.
func (d *Directory) touch(t *testing.T, name string) {
	t.Helper()
	dir := d.Owner.(string)
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(dir, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
}

// ask returns a page, for one user.
func (c *Cache) ask(d *Directory, view View, json bool) (*Page, syscall.Errno) {
	return c.get(key{d.Owner, d.Path, view, json, d.Coding}, d, 1)
}

func (c *Cache) mustGet(t *testing.T, d *Directory) *Page {
	t.Helper()
	p, e := c.ask(d, View{sort: sortName}, true)
	if e != 0 {
		t.Fatal(e)
	}
	return p
}

// A bounded number of pages waits for its turn, and a listing of another root does not wait for that.
func TestCacheIsBounded(t *testing.T) {
	c := NewCache(slog.Default())
	d, other := directory(t, "a"), directory(t, "b")
	for range maxMaking {
		c.making[0] <- struct{}{}
	}
	got := make(chan syscall.Errno, 1000)
	begin := func(d *Directory, owner any) bool {
		own := *d
		own.Owner = owner
		return c.Begin(&own, View{sort: sortName}, true, func(p *Page, e syscall.Errno) {
			p.Release()
			got <- e
		})
	}
	n := 0
	for begin(d, n) && n < cap(got) {
		n++
	}
	if n == cap(got) || !begin(other, -1) {
		t.Errorf("%d listings of a root wait, and then none of another", n)
	}
	for range maxMaking {
		<-c.making[0]
	}
	for range n + 1 {
		if e := <-got; e != 0 {
			t.Error(e)
		}
	}
	if !begin(d, -1) {
		t.Error("there is no room again")
	}
	<-got
}

// Who asks for a page that is being made takes no place, and gets one that was looked at after
// that. So many may wait and no more.
func TestCacheJoins(t *testing.T) {
	c, d := NewCache(slog.Default()), directory(t, "a")
	for range maxMaking {
		c.making[0] <- struct{}{}
	}
	got := make(chan *Page, maxJoined+1)
	begin := func() bool {
		return c.Begin(d, View{sort: sortName}, true, func(p *Page, e syscall.Errno) {
			if e != 0 {
				t.Error(e)
			}
			got <- p
		})
	}
	for i := range maxJoined + 1 {
		if !begin() {
			t.Fatalf("call %d is refused", i)
		}
		if i == 0 {
			d = &Directory{Root: d.Root, Path: d.Path, Owner: d.Owner, PageEntries: 1, Policy: new(httpfile.Policy), Shows: d.Shows} // of others
			d.touch(t, "b")
		}
	}
	if begin() {
		t.Error("one more waits")
	}
	for range maxMaking {
		<-c.making[0]
	}
	first := <-got
	for range maxJoined {
		p := <-got
		if strings.Count(string(p.Body), `"name"`) != 2 {
			t.Fatalf("%s", p.Body)
		}
		p.Release()
	}
	first.Release()
	c.expireAll()
	if c.held != 0 || c.joined != 0 {
		t.Errorf("%d bytes are held, %d wait", c.held, c.joined)
	}
}

// What is asked for at once is one page, of what is there.
func TestCacheShares(t *testing.T) {
	c, d := NewCache(slog.Default()), directory(t, "a", ".b")
	pages := make([]*Page, 3*maxMaking)
	var all sync.WaitGroup
	for i := range pages {
		all.Add(1)
		c.Begin(d, View{sort: sortName}, true, func(p *Page, _ syscall.Errno) {
			pages[i] = p
			all.Done()
		})
	}
	all.Wait()
	for _, p := range pages {
		if p == nil || p != pages[0] || strings.Count(string(p.Body), `"name"`) != 1 || p.Type != "application/json" {
			t.Fatalf("%+v", p)
		}
	}
	held := c.held
	if html, e := c.ask(d, View{sort: sortName}, false); e != 0 || html == pages[0] || c.held != held+int64(len(html.Body)) {
		t.Errorf("as HTML: %v, %d bytes are held", e, c.held)
	} else {
		pages = append(pages, html)
	}
	if view, ok := ParseView("page=2"); !ok {
		t.Error("there is no second page to ask for")
	} else if _, e := c.ask(d, view, true); e != syscall.ENOENT {
		t.Errorf("a page that is not there: %v", e)
	}
	d.Below = "none/"
	if _, e := c.ask(d, View{}, true); e != syscall.ENOENT {
		t.Errorf("a directory that is not there: %v", e)
	}
	for _, p := range pages {
		p.Release()
	}
	c.expireAll()
	if c.held != 0 || len(c.pages) != 0 {
		t.Errorf("%d bytes, %d pages when nobody is left", c.held, len(c.pages))
	}
}

// expireAll makes all pages too old to be used again.
func (c *Cache) expireAll() {
	c.mu.Lock()
	var all []*Page
	for _, p := range c.pages {
		p.made = time.Time{}
		all = append(all, p)
	}
	c.mu.Unlock()
	for _, p := range all {
		c.expire(p)
	}
}

// A change of the directory is seen at once. An old page in use is used again as long as
// what it says is right.
func TestCacheVersions(t *testing.T) {
	c, d := NewCache(slog.Default()), directory(t, "a")
	first := c.mustGet(t, d)
	c.expireAll()
	if again := c.mustGet(t, d); again != first || c.held != int64(len(first.Body)) {
		t.Errorf("the same content is held twice: %d bytes", c.held)
	}
	d.touch(t, "b")
	second := c.mustGet(t, d)
	if second == first || strings.Count(string(second.Body), `"name"`) != 2 || c.held != int64(len(first.Body)+len(second.Body)) {
		t.Errorf("%s after a change, %d bytes are held", second.Body, c.held)
	}
	for _, p := range []*Page{first, first, second} {
		p.Release()
	}
	if c.held != int64(len(second.Body)) {
		t.Errorf("%d bytes are held, want those of the newest page", c.held)
	}
	c.expireAll()
	if c.held != 0 {
		t.Errorf("%d bytes are held of nobody", c.held)
	}
}

// Beyond the budget there is no new page while clients hold the others; who lets go makes
// room, and one page may always be had.
func TestCacheBudget(t *testing.T) {
	c, d := NewCache(slog.Default()), directory(t, "a")
	p := c.mustGet(t, d)
	c.held += maxHeld // of others
	if again := c.mustGet(t, d); again != p {
		t.Error("what is there costs nothing, and is not had")
	}
	d.touch(t, "b")
	if _, e := c.ask(d, View{sort: sortName}, true); e != syscall.ENOMEM {
		t.Errorf("a new page: %v, want ENOMEM", e)
	}
	p.Release()
	p.Release()
	c.held -= maxHeld
	if c.held != 0 {
		t.Errorf("%d bytes are held", c.held)
	}
	c.mustGet(t, d).Release()
	c.held += maxHeld - 1 // a page that nobody uses makes room
	other := directory(t)
	other.Path = "/y/"
	before := c.held
	if p, e := c.ask(other, View{}, true); e != syscall.ENOMEM || c.held >= before {
		t.Errorf("%v, %v; %d bytes are held of %d", p, e, c.held, before)
	}
}

// A listing of too many names is refused: whoever mirrors it would take the rest for
// deleted. Its pages are had.
func TestTooManyNames(t *testing.T) {
	c, d := NewCache(slog.New(slog.DiscardHandler)), directory(t, "a", "b", "c")
	c.names = 3
	c.mustGet(t, d).Release()
	d.touch(t, "d")
	if _, e := c.ask(d, View{}, true); e != syscall.EFBIG {
		t.Errorf("%v, want EFBIG", e)
	}
	p, e := c.ask(d, View{sort: sortName, page: 1}, true)
	if e != 0 || !strings.Contains(string(p.Fields), "X-Listing-Truncated: true") {
		t.Errorf("%+v, %v", p, e)
	}
}

func TestCompareNames(t *testing.T) {
	sorted := []string{"", "0", "00", "01", "1", "2", "10", "10a", "a", "a1b2", "a1b10", "a01c", "a2", "a10", "a10.5", "a99999999999999999999", "a100000000000000000000", "b", "é"}
	for i, a := range sorted {
		for j, b := range sorted {
			if got := compareNames(a, b); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%q and %q: %d", a, b, got)
			}
		}
	}
	if !slices.IsSortedFunc(sorted, compareNames) {
		t.Error(sorted)
	}
}
