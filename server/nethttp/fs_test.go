package nethttp_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/nethttp"
)

// request makes a request of a handler; fields are name and value in turn.
func request(h http.Handler, method, target string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, http.NoBody)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// files are served in several ways, which must not differ.
var files = map[string]string{
	"index.html": "home", "a.txt": "0123456789", "empty": "", "large.bin": strings.Repeat("0123456789abcdef", 20_000), ".hidden": "hidden",
	"d/index.html": "d", "many/a": "a", "many/b.png": "b", "many/sub/x": "x", "many/README.md": "# Read *me*", "many/.header.html": "<b>header</b>",
	"c.css": "css", "c.css.gz": "packed", "404.html": "none", "a b/c": "space",
}

// requests are of files.
var requests = [][]string{
	{"GET", "/"}, {"GET", "/a.txt"}, {"HEAD", "/a.txt"}, {"GET", "/empty"}, {"GET", "/large.bin"}, {"HEAD", "/large.bin"}, {"POST", "/a.txt"}, {"OPTIONS", "/a.txt"},
	{"GET", "/.hidden"}, {"GET", "/none"}, {"GET", "/a.txt/"}, {"GET", "/d"}, {"GET", "/d/"}, {"GET", "/many/"}, {"HEAD", "/many/"}, {"GET", "/many/?sort=size&order=desc"},
	{"GET", "/many/", "Accept", "application/json"}, {"GET", "/many/?page=9"}, {"GET", "/a%20b/c"}, {"GET", "/a%00"}, {"GET", "/../a.txt"}, {"GET", "/d/../a.txt"},
	{"GET", "/a.txt", "Range", "bytes=2-4"}, {"GET", "/large.bin", "Range", "bytes=-5"}, {"GET", "/large.bin", "Range", "bytes=100000-"}, {"GET", "/a.txt", "Range", "bytes=99-"},
	{"GET", "/a.txt", "If-None-Match", "*"}, {"GET", "/a.txt", "If-Match", `"x"`}, {"GET", "/a.txt", "If-Modified-Since", "Fri, 31 Dec 2100 00:00:00 GMT"},
	{"GET", "/c.css", "Accept-Encoding", "gzip"}, {"GET", "/c.css"}, {"GET", "/large.bin?download"},
}

// An FS answers as the directory that it is of.
func TestFSAsRoot(t *testing.T) {
	root := site(t, files)
	for link, to := range map[string]string{"file": "../a.txt", "dir": "../d", "nowhere": "../none"} {
		if err := os.Symlink(to, filepath.Join(root, "many", link)); err != nil {
			t.Fatal(err)
		}
	}
	own := func(s server.Site) server.Config {
		s.Precompressed, s.Listing, s.ErrorPages, s.Files.DownloadParam = true, true, map[int]server.Page{404: {Path: "/404.html"}}, "download"
		return server.Config{Site: s}
	}
	want, got := handler(t, own(server.Site{Root: root})), handler(t, own(server.Site{FS: os.DirFS(root)}))
	for _, r := range requests {
		a, b := request(want, r[0], r[1], r[2:]...), request(got, r[0], r[1], r[2:]...)
		a.Header().Del("Date")
		b.Header().Del("Date")
		if a.Code != b.Code || !reflect.DeepEqual(a.Header(), b.Header()) || !bytes.Equal(a.Body.Bytes(), b.Body.Bytes()) {
			t.Errorf("%v: of the root %d %v %.100q, of the FS %d %v %.100q", r, a.Code, a.Header(), a.Body, b.Code, b.Header(), b.Body)
		}
	}
}

// zipped is a zip archive of the files: an FS whose files cannot seek.
func zipped(t *testing.T) fs.FS {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, content := range files {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: settled})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// mapped are the files without times, as those of embed.FS.
func mapped() fstest.MapFS {
	m := make(fstest.MapFS)
	for name, content := range files {
		m[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return m
}

// Ranges are right whatever a file can do, also back and forth, and tags are strong and stay.
func TestKindsOfFS(t *testing.T) {
	for name, fsys := range map[string]fs.FS{"zip": zipped(t), "map": mapped()} {
		h := handler(t, server.Config{Site: server.Site{FS: fsys, Listing: true}})
		whole := request(h, http.MethodGet, "/large.bin")
		tag := whole.Header().Get("Etag")
		if whole.Code != 200 || whole.Body.String() != files["large.bin"] || !strings.HasPrefix(tag, `"`) {
			t.Errorf("%s: %d, %d bytes, tag %s", name, whole.Code, whole.Body.Len(), tag)
		}
		if dated := whole.Header().Get("Last-Modified") != ""; dated != (name == "zip") {
			t.Errorf("%s: Last-Modified: %s", name, whole.Header().Get("Last-Modified"))
		}
		for _, r := range []string{"bytes=300000-300009, 10-19, 100000-100009", "bytes=0-9,319990-319999,5000-5009"} {
			w := request(h, http.MethodGet, "/large.bin", "Range", r, "If-Range", tag)
			if w.Code != 206 || strings.Count(w.Body.String(), "Content-Range") != 3 || strings.Count(w.Body.String(), "0123456789\r\n")+strings.Count(w.Body.String(), "456789abcd\r\n")+strings.Count(w.Body.String(), "89abcdef") == 0 {
				t.Errorf("%s, %s: %d %q", name, r, w.Code, w.Body)
			}
			for part := range strings.SplitSeq(strings.TrimPrefix(r, "bytes="), ",") {
				from, to, _ := strings.Cut(strings.TrimSpace(part), "-")
				one := request(h, http.MethodGet, "/large.bin", "Range", "bytes="+from+"-"+to)
				if !strings.Contains(w.Body.String(), one.Body.String()) || one.Body.Len() != 10 || !strings.Contains(files["large.bin"], one.Body.String()) {
					t.Errorf("%s: %s is %q, and not in %q", name, part, one.Body, w.Body)
				}
			}
		}
		if w := request(h, http.MethodGet, "/large.bin", "If-None-Match", tag); w.Code != 304 {
			t.Errorf("%s: %d with its own tag", name, w.Code)
		}
		if w := request(h, http.MethodGet, "/many/"); w.Code != 200 || !strings.Contains(w.Body.String(), "<b>header</b>") || !strings.Contains(w.Body.String(), "<em>me</em>") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if w := request(h, http.MethodGet, "/d"); w.Code != 301 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}

// changing is an FS whose files change after they were opened.
type changing struct{ fstest.MapFS }

func (c changing) Open(name string) (fs.File, error) {
	f, err := c.MapFS.Open(name)
	return &changed{File: f}, err
}

type changed struct {
	fs.File
	asked int
}

func (f *changed) Stat() (fs.FileInfo, error) {
	st, err := f.File.Stat()
	if f.asked++; f.asked > 1 && err == nil {
		st = later{st}
	}
	return st, err
}

type later struct{ fs.FileInfo }

func (l later) ModTime() time.Time { return l.FileInfo.ModTime().Add(time.Second) }

// A file that changes while it is sent is cut off, and one that cannot be read is a failure.
func TestFSFaults(t *testing.T) {
	old := time.Now().Add(-time.Hour)
	h := handler(t, server.Config{Site: server.Site{FS: changing{fstest.MapFS{"f": {Data: []byte("content"), ModTime: old}}}}})
	func() {
		defer func() {
			if v := recover(); v != http.ErrAbortHandler {
				t.Errorf("a file that has changed: %v", v)
			}
		}()
		request(h, http.MethodGet, "/f")
	}()
	for err, status := range map[error]int{fs.ErrPermission: 403, fs.ErrNotExist: 404, errors.New("broken"): 500} {
		h := handler(t, server.Config{Site: server.Site{FS: failing{err}, Listing: true}})
		for _, target := range []string{"/f", "/"} {
			if w := request(h, http.MethodGet, target); w.Code != status {
				t.Errorf("%s, %v: %d", target, err, w.Code)
			}
		}
	}
}

type failing struct{ err error }

func (f failing) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: f.err}
}

// What has no effect on an FS is refused, and so is an FS where nothing can read from it.
func TestFSIsRefused(t *testing.T) {
	fsys := fstest.MapFS{"f": {}}
	for want, s := range map[string]server.Site{
		"Root":             {Root: t.TempDir()},
		"Symlinks":         {Symlinks: openfile.SymlinksDeny},
		"Consistency":      {Consistency: openfile.ConsistencyLease},
		"WriteWait":        {WriteWait: time.Second},
		"Growing":          {Growing: []string{"*.log"}},
		"Files.Compress":   {Files: httpfile.Config{Compress: &httpfile.Compression{}}},
		"error_pages[404]": {ErrorPages: map[int]server.Page{404: {Path: "/none.html"}}},
	} {
		s.FS = fsys
		if _, err := nethttp.New(server.Config{Site: s}); !errors.Is(err, server.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	cfg := server.Config{Site: server.Site{FS: fsys}, Listen: []string{"127.0.0.1:0"}}
	if err := server.Check(cfg); !errors.Is(err, server.ErrConfig) || !strings.Contains(err.Error(), "for a Handler") {
		t.Error(err)
	}
}

//go:embed testdata/site
var embedded embed.FS

// Tags of content are of files that stay as they are: of one that may change and keep its times there is none.
func TestFSContentTags(t *testing.T) {
	later := time.Now().Add(time.Hour)
	h := handler(t, server.Config{Site: server.Site{ContentTags: true, FS: fstest.MapFS{
		"old": {Data: []byte("content"), ModTime: settled}, "young": {Data: []byte("content"), ModTime: later},
	}}})
	for target, want := range map[string]string{"/old": fmt.Sprintf(`"%x"`, sha256.Sum256([]byte("content"))), "/young": ""} {
		if w := request(h, http.MethodGet, target); w.Code != 200 || w.Header().Get("Etag") != want {
			t.Errorf("%s: %d, tag %s, want %s", target, w.Code, w.Header().Get("Etag"), want)
		}
	}
}

// A location may have an FS of its own beside a root. What the root's files are compressed by is not for it.
func TestFSInLocations(t *testing.T) {
	sub, err := fs.Sub(embedded, "testdata/site")
	if err != nil {
		t.Fatal(err)
	}
	root := server.Site{Root: site(t, map[string]string{"f": "disk", "f.txt": strings.Repeat("disk ", 1000)}), Files: httpfile.Config{Compress: &httpfile.Compression{MinSize: 1}}}
	h := handler(t, server.Config{Site: root, Locations: []server.Location{{Match: "/static/", Alias: true, Site: server.Site{FS: sub}}}})
	for target, want := range map[string]string{"/f": "disk", "/static/hello.txt": "hello, world", "/static/docs/": "<p>docs"} {
		if w := request(h, http.MethodGet, target); w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %q", target, w.Code, w.Body)
		}
	}
	for target, want := range map[string]string{"/f.txt": "gzip", "/static/hello.txt": ""} {
		w := request(h, http.MethodGet, target, "Accept-Encoding", "gzip")
		if got := w.Header().Get("Content-Encoding"); got != want || (w.Header().Get("Vary") != "") != (want != "") {
			t.Errorf("%s: Content-Encoding: %s, Vary: %s", target, got, w.Header().Get("Vary"))
		}
	}
}
