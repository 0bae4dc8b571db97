package resolve

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/listing"
	"github.com/fserve/fserve/server/site"
)

// disk is what opening gives, by name; what it does not have is ENOENT.
type disk map[string]found

type found struct {
	err   syscall.Errno
	mtime int64
}

// files is the disk of the tests: names with their sizes are not of interest.
var files = disk{
	"f.txt": {}, "a.css": {mtime: 5}, "a.css.br": {mtime: 4}, "a.css.gz": {mtime: 6}, "b.css": {}, "b.css.zst": {},
	"photo.jpg": {}, "photo.jpg.gz": {}, ".secret": {}, ".404.html": {}, "f.txt.gz": {err: syscall.EIO},
	"d": {err: syscall.EISDIR}, "d/main.html": {}, "d/index.html": {err: syscall.EISDIR},
	"bare": {err: syscall.EISDIR}, "bare/": {err: syscall.EISDIR}, "f.txt/": {err: syscall.ENOTDIR}, "locked": {err: syscall.EACCES},
	"locked/index.html": {err: syscall.EACCES}, "many": {err: syscall.EMFILE}, ".": {err: syscall.EISDIR},
	"dl/f": {}, "f": {}, "closed/f": {},
}

// hosts compiles the places of the tests. Nothing but the directories themselves and
// the error page is there: the answers are told what opening gives.
func hosts(t *testing.T) *site.Set {
	t.Helper()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, ".404.html"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	nobody, err := admit.ParseNetworks([]string{"192.0.2.0/24"})
	if err != nil {
		t.Fatal(err)
	}
	base := site.Host{
		Site: site.Site{
			Root: root, Index: []string{"index.html", "main.html"}, Precompressed: true, ErrorPages: map[int]site.Page{404: {Path: "/.404.html"}},
			Headers: []site.HeaderRule{{Match: "/d/", Name: "X-Path", Value: "d"}, {Match: "*.css", Name: "X-Kind", Value: "css"}},
		},
		Locations: []site.Location{
			{Match: "/dl/", Alias: true, Site: site.Site{Root: root}},
			{Match: "/list/", Alias: true, Site: site.Site{Root: root, Listing: true}},
			{Match: "/try/", Alias: true, Site: site.Site{Root: root, Try: []string{"$uri", "$uri/", "$uri.html", "/closed/x"}}},
			{Match: "/back/", Site: site.Site{Root: root, Try: []string{"/a.css"}}},
			{Match: "/beside/", Site: site.Site{Root: root, Try: []string{"$uri.css", "/closed/f", "=404"}}},
			{Match: "/app/", Site: site.Site{Root: root, Try: []string{"$uri", "/d/"}}},
			{Match: "/end/", Alias: true, Site: site.Site{Root: root, Try: []string{"$uri.txt", "=410"}, ErrorPages: map[int]site.Page{410: {Path: "/.404.html", Status: 200}}}},
			{Match: "/to/", Site: site.Site{Redirect: site.Redirect{To: "/d{uri}"}}},
			{Match: "= /one", Alias: true, Site: site.Site{Root: filepath.Join(root, ".404.html"), Precompressed: true}},
			{Match: "= /d/main.html", Site: site.Site{Root: root, Headers: []site.HeaderRule{{Match: "/", Name: "X-Own", Value: "exact"}}}},
			{Match: "/closed/", Site: site.Site{Root: root, Access: admit.Access{Deny: nobody}}},
		},
	}
	other := site.Host{Names: []string{"empty.example"}}
	var c site.Compiler
	set, err := c.Compile(base, []site.Host{other}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Release)
	return set
}

// driver answers one request, and notes the steps.
type driver struct {
	a     Answer
	set   *site.Set
	host  string
	query httpfile.Request
	// away leaves the answer at each file and resumes it, as a loop does that would
	// have to wait for the disk.
	away   bool
	busy   bool // no listing can be made
	steps  []string
	wanted map[string]string // what the keys mean
}

func (d *driver) begin() {
	if d.wanted == nil {
		d.wanted = make(map[string]string)
	}
	d.a.Request = d.query
	d.a.Begin(d.set, []byte(d.host), 0)
}

// answer goes from the first step to the last.
func (d *driver) answer(path string) {
	d.begin()
	var target []byte
	if path != "*" {
		target = []byte(path)
	}
	step := d.a.Start(target)
	for step != Done {
		switch step {
		case Identify:
			d.note("who")
			step = d.a.Admit(&admit.Visitor{Addr: netip.MustParseAddr("192.0.2.1")})
		case Route:
			step = d.a.File()
		case Open:
			step = d.open()
		case List:
			step = d.list()
		case Send:
			step = d.a.Decide(10e9, httpfile.Entropy{})
		}
	}
}

func (d *driver) note(step string) { d.steps = append(d.steps, step) }

// open opens what is wanted; away, all that may be is opened at once.
func (d *driver) open() Step {
	if !d.away {
		d.note(d.a.Want.Name(string(d.a.Want.Key)))
		return d.opened()
	}
	state, ahead := d.a.Save(), d.a.Ahead()
	known := make(map[string]bool)
	for _, w := range ahead {
		known[string(w.Key)] = true
		d.note(w.Name(string(w.Key)))
	}
	d.spoil()
	d.begin()
	step := d.a.Resume(&state)
	for step == Open && known[string(d.a.Want.Key)] {
		step = d.opened()
	}
	return step
}

// spoil uses the memory of the answer for another request.
func (d *driver) spoil() {
	d.a.Request = httpfile.Request{Method: httpfile.MethodGet, AcceptEncoding: []byte("br")}
	d.a.Begin(d.set, nil, 0)
	if d.a.Start([]byte("/zzzzzzzz/../%7Az.css")) == Route {
		d.a.File()
	}
}

func (d *driver) opened() Step {
	w := &d.a.Want
	name := w.Name(string(w.Key))
	d.wanted[string(w.Key)] = fmt.Sprintf("%s of %s, coding %d, place %p", name, w.path, w.Coding, w.Place)
	f, ok := files[name]
	switch {
	case !ok:
		return d.a.Opened(nil, syscall.ENOENT)
	case f.err != 0:
		return d.a.Opened(nil, f.err)
	}
	v := w.Version(httpfile.File{Size: 100, MtimeNs: f.mtime})
	return d.a.Opened(&v, 0)
}

func (d *driver) list() Step {
	dir := d.a.Directory()
	d.note("list " + dir.Below)
	if d.busy {
		return d.a.Fail(503)
	}
	return d.a.Listed(&listing.Page{Type: "text/html", Body: []byte("<p>")}, 0)
}

// result is the status, what is sent, and the interesting fields.
func (d *driver) result() string {
	p := &d.a.Plan
	out := fmt.Sprint(p.Status)
	if len(p.Segments()) > 0 && p.Segments()[0].Kind == httpfile.SegmentFile {
		out += [...]string{None: " nothing", Source: " source", Sidecar: " sidecar", Page: " page"}[d.a.Chosen]
	}
	head := string(p.AppendHead(nil, make([]byte, httpfile.DateLen), httpfile.ConnImplied))
	for line := range strings.SplitSeq(head, "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		if slices.Contains([]string{"Location", "Allow", "Content-Encoding", "X-Path", "X-Kind", "X-Own", "Vary"}, name) {
			out += ", " + line
		}
	}
	return out
}

func TestAnswers(t *testing.T) {
	set := hosts(t)
	for _, c := range []struct{ request, steps, want string }{
		{"GET /f.txt", "f.txt", "200 source, Vary: Accept-Encoding"},
		{"HEAD /f.txt", "f.txt", "200, Vary: Accept-Encoding"},
		{"GET /%66.txt", "f.txt", "200 source, Vary: Accept-Encoding"},
		{"GET /nothing", "nothing .404.html", "404 page"},
		{"HEAD /nothing", "nothing .404.html", "404"},
		{"GET /locked", "locked", "403"},
		{"GET /many", "many", "503"},
		{"GET /.secret", ".404.html", "404 page"},
		{"GET /a%2f..%2fb", "", "400"},
		{"GET /../x", "", "400"},
		{"OPTIONS *", "", "204, Allow: GET, HEAD, OPTIONS"},
		{"OPTIONS /nothing", "", "204, Allow: GET, HEAD, OPTIONS"},
		{"POST /f.txt", "", "405, Allow: GET, HEAD, OPTIONS"},
		{"BREW /f.txt", "", "501"},

		{"GET /d", "d", "301, Location: /d/"},
		{"GET /d?x=y", "d", "301, Location: /d/?x=y"},
		{"GET /d/", "d/index.html d/main.html d/main.html", "200 source, X-Own: exact"},
		{"GET /bare/", "bare/index.html bare/main.html bare/", "403"},
		{"GET /f.txt/", "f.txt/index.html f.txt/main.html f.txt/ .404.html", "404 page"},
		{"GET /locked/", "locked/index.html", "403"},
		{"GET /", "index.html main.html .", "403"},
		{"GET /d/nothing", "d/nothing .404.html", "404 page, X-Path: d"},

		{"GET /dl", "dl", "301, Location: /dl/"},
		{"GET /dl/f", "f", "200 source"},
		{"GET /dl/nothing", "nothing .404.html", "404 page"},
		{"GET /list/", "index.html list ", "200"},
		{"GET /list/bare/?sort=size", "bare/index.html list bare/", "200"},
		{"GET /list/bare/?page=0", "bare/index.html .404.html", "404 page"},
		{"GET /try/f", "f", "200 source"},
		{"GET /try/d", "d d", "301, Location: /try/d/"},
		{"GET /try/d/", "d/index.html d/ who", "403"},
		{"GET /try/bare/", "bare/index.html bare/", "403"},
		{"GET /try/none", "none none none.html who", "403"},
		{"GET /try/none/", "none/index.html none/ who", "403"},
		{"GET /try/locked", "locked", "403"},
		{"GET /try/f.txt/", "f.txt/index.html f.txt/ who", "403"},
		{"POST /try/none", "", "405, Allow: GET, HEAD, OPTIONS"},
		{"GET /back/x br, gzip", "a.css a.css.br a.css.gz", "200 sidecar, Vary: Accept-Encoding, Content-Encoding: gzip, X-Kind: css"},
		{"GET /beside/f", "beside/f.css closed/f who", "403"},
		{"GET /app/none", "app/none d/index.html d/main.html d/main.html", "200 source, X-Own: exact"},
		{"GET /end/f", "f.txt", "200 source"},
		{"GET /end/none", "none.txt .404.html", "200 page"},
		{"GET /to/x?q", "", "302, Location: /d/to/x?q"},
		{"POST /to/x", "", "302, Location: /d/to/x"},
		{"GET /one gzip", ".404.html .404.html.gz", "200 source, Vary: Accept-Encoding"},
		{"GET /closed/f", "who", "403"},
		{"POST /closed/f", "who", "403"},
		{"GET empty.example/f.txt", ".404.html", "404 page"},
		{"POST empty.example/f.txt", "", "405, Allow: GET, HEAD, OPTIONS"},

		{"GET /a.css br, gzip", "a.css a.css.br a.css.gz", "200 sidecar, Vary: Accept-Encoding, Content-Encoding: gzip, X-Kind: css"},
		{"GET /a.css br", "a.css a.css.br", "200 source, Vary: Accept-Encoding, X-Kind: css"},
		{"GET /a.css identity", "a.css", "200 source, Vary: Accept-Encoding, X-Kind: css"},
		{"GET /a.css identity;q=0", "a.css a.css.br a.css.zst a.css.gz", "406, Vary: Accept-Encoding, X-Kind: css"},
		{"GET /b.css *", "b.css b.css.br b.css.zst", "200 sidecar, Vary: Accept-Encoding, Content-Encoding: zstd, X-Kind: css"},
		{"GET /d/main.html gzip", "d/main.html", "200 source, X-Own: exact"},
		{"GET /f.txt gzip", "f.txt f.txt.gz", "200 source, Vary: Accept-Encoding"},
		{"GET /f.txt *;q=0", "f.txt f.txt.br f.txt.zst f.txt.gz", "200 source, Vary: Accept-Encoding"},
		{"GET /photo.jpg gzip", "photo.jpg", "200 source"},
		{"GET /dl/a.css gzip", "a.css", "200 source"},
	} {
		d := answered(&driver{}, set, c.request)
		if got := strings.Join(d.steps, " "); got != c.steps || d.result() != c.want {
			t.Errorf("%s: opens %q, want %q; answers %q, want %q", c.request, got, c.steps, d.result(), c.want)
		}
		if got := answered(&driver{away: true}, set, c.request).result(); got != c.want {
			t.Errorf("%s, left for later: answers %q, want %q", c.request, got, c.want)
		}
	}
}

// answered answers a request: a method, a target with a host before it or not, and
// the value of Accept-Encoding.
func answered(d *driver, set *site.Set, request string) *driver {
	method, rest, _ := strings.Cut(request, " ")
	target, accept, coded := strings.Cut(rest, " ")
	host, path := "files.example", target
	if i := strings.IndexByte(target, '/'); i > 0 {
		host, path = target[:i], target[i:]
	}
	path, query, asks := strings.Cut(path, "?")
	d.set, d.host = set, host
	d.query = httpfile.Request{Method: httpfile.ParseMethod([]byte(method))}
	if asks {
		d.query.Query = []byte(query)
	}
	if coded {
		d.query.AcceptEncoding = []byte(accept)
	}
	d.answer(path)
	return d
}

func TestNoHostForTheRequest(t *testing.T) {
	var c site.Compiler
	set, err := c.Compile(site.Host{}, []site.Host{{Names: []string{"other.example"}, Site: site.Site{Root: t.TempDir()}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Release()
	if got := answered(&driver{}, set, "GET /f").result(); got != "421" {
		t.Errorf("answers %q, want 421", got)
	}
}

func TestListingsThatMustWaitTooLong(t *testing.T) {
	d := answered(&driver{busy: true}, hosts(t), "GET /list/")
	if got := d.result(); got != "503" {
		t.Errorf("answers %q, want 503", got)
	}
}

// What is missing is remembered with the version of its source, for a second.
func TestMissingSidecarsAreRemembered(t *testing.T) {
	var a Answer
	set := hosts(t)
	var v Version
	opens := func(now int64) (n int) {
		a.Request = httpfile.Request{Method: httpfile.MethodGet, AcceptEncoding: []byte("br, gzip")}
		a.Begin(set, nil, now)
		a.Start([]byte("/f.txt"))
		a.File()
		if v.Facts == nil {
			v = a.Want.Version(httpfile.File{Size: 1, MtimeNs: 1})
		}
		for step := a.Opened(&v, 0); step == Open; n++ {
			step = a.Opened(nil, syscall.ENOENT)
		}
		return n
	}
	got := []int{opens(1), opens(2), opens(codingFresh), opens(codingFresh + 1)}
	if want := []int{2, 0, 0, 2}; !slices.Equal(got, want) {
		t.Errorf("sidecars asked for: %v, want %v", got, want)
	}
}

// A handler's fields come first, and a rule adds none that the handler has set.
func TestFieldsOfHandlers(t *testing.T) {
	set := hosts(t)
	for own, want := range map[string]string{
		"":                                       "200 sidecar, Vary: Accept-Encoding, Content-Encoding: gzip, X-Kind: css",
		"X-Own: 1\r\n":                           "200 sidecar, Vary: Accept-Encoding, Content-Encoding: gzip, X-Own: 1, X-Kind: css",
		"X-Kind: mine\r\n":                       "200 sidecar, Vary: Accept-Encoding, Content-Encoding: gzip, X-Kind: mine",
		"X-Own: 1\r\nContent-Encoding: mine\r\n": "200 source, Vary: Accept-Encoding, X-Own: 1, Content-Encoding: mine, X-Kind: css",
		"content-encoding: x\r\nx-kind: lower\r\n": "200 source, Vary: Accept-Encoding",
	} {
		d := &driver{set: set, query: httpfile.Request{Method: httpfile.MethodGet, AcceptEncoding: []byte("gzip")}}
		d.begin()
		d.a.Fields = []byte(own)
		d.a.Locate([]byte("/a.css"))
		step := d.a.File()
		for step != Done {
			if step == Open {
				step = d.opened()
			} else {
				step = d.a.Decide(10e9, httpfile.Entropy{})
			}
		}
		if got := d.result(); got != want {
			t.Errorf("%q: answers %q, want %q", own, got, want)
		}
	}
}

// A request that could not be read has nothing but its method, and no fields of the
// one before.
func TestRefuse(t *testing.T) {
	d := answered(&driver{}, hosts(t), "GET /d/")
	d.a.Fields = []byte("X-Own: 1\r\n")
	d.a.Place = d.set.Default(-1)
	if step := d.a.Refuse(431, httpfile.MethodHead); step != Done || d.result() != "431" {
		t.Errorf("step %d, %q", step, d.result())
	}
}

// A key of a cache means one file, whatever it is to the answer.
func TestKeysAreTheirOwn(t *testing.T) {
	set := hosts(t)
	files := make(map[string]string) // by key
	for _, request := range []string{
		"GET /a.css *", "GET /a.css.br", "GET /a.css.gz", "GET /dl/a.css", "GET /dl/nothing", "GET /list/a.css", "GET /nothing", "GET /d/", "GET /bare/",
	} {
		for key, file := range answered(&driver{}, set, request).wanted {
			if before, ok := files[key]; ok && before != file {
				t.Errorf("%q is the key of %s and of %s", key, before, file)
			}
			files[key] = file
		}
	}
	if len(files) < 10 {
		t.Errorf("only %d keys", len(files))
	}
}
