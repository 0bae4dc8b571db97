package difftest

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
)

// Times of modification in the site.
var (
	settled = time.Date(2024, 5, 17, 10, 20, 30, 123456789, time.UTC)
	// A file from the future stays younger than two seconds for the whole test.
	future = time.Now().Add(24 * time.Hour)
)

// The file that most requests are for.
const (
	plain        = "/f.txt"
	plainContent = "0123456789abcdefghij"
)

// secretContent is of a file beside the root.
const secretContent = "nobody may see this"

// kept is what a client gets that finds its connection still open, see exchange.
const keptPath, keptContent = "/kept.end", "the connection was kept"

// makeSite makes what both servers serve and returns its directory.
func makeSite(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	for name, content := range map[string]string{
		plain: plainContent, keptPath: keptContent,
		"/empty.txt": "", "/one": "1", "/page.html": "<p>page</p>\n", "/data.json": "{}", "/x.unknown": "?",
		"/UPPER.TXT": "upper", "/two.tar.gz": "not really",
		"/sp ace.txt": "space", "/per%cent.txt": "percent", "/ünï.txt": "unicode", "/q?m.txt": "question",
		"/semi;colon.txt": "semicolon", "/plus+.txt": "plus", "/tilde~.txt": "tilde",
		"/sub/g.txt": "g", "/sub/deep/h.txt": "h", "/indexed/index.html": "<p>index</p>\n", "/bare/file": "x",
		"/sp dir/g.txt": "g", "/.hidden": "hidden", "/.git/config": "[core]", "/.well-known/security.txt": "Contact: x",
		"/sub/.secret": "hidden", "/..two": "two dots", "/young.txt": plainContent,
		"/8k.bin":        string(testenv.NewPattern(1).Bytes(0, 8<<10)),
		"/8k1.bin":       string(testenv.NewPattern(2).Bytes(0, 8<<10+1)),
		"/300k.bin":      string(testenv.NewPattern(3).Bytes(0, 300<<10)),
		"/../secret.txt": secretContent,
	} {
		put(t, filepath.Join(root, name), content, settled)
	}
	if err := os.Chtimes(filepath.Join(root, "young.txt"), future, future); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"inside": "sub/g.txt", "outside": "../secret.txt", "absolute": filepath.Join(root, "f.txt"),
		"loop": "loop", "dangling": "nowhere", "linkdir": "sub", "parent": "..",
	} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	makeSidecars(t, root)
	return root
}

func put(t *testing.T, path, content string, mtime time.Time) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, mtime, mtime); err != nil {
		t.Fatal(err)
	}
}

// facts are what requests to one server name by placeholders: the tags and
// dates that it gives itself.
type facts struct{ *strings.Replacer }

// learn asks a server for its tags.
func learn(t *testing.T, addr string) facts {
	t.Helper()
	tag := func(path string, fields ...string) string {
		x, err := exchange(addr, &request{raw: strings.ReplaceAll(raw("HEAD", path, fields...), "{host}", addr), methods: []string{"HEAD"}})
		if err != nil || len(x.responses) != 1 || x.responses[0].status != 200 {
			t.Fatalf("HEAD %s at %s: %+v, %v", path, addr, x, err)
		}
		return x.responses[0].get("ETag")
	}
	opaque := func(path string, fields ...string) string { return strings.TrimPrefix(tag(path, fields...), "W/") }
	const form = "Mon, 02 Jan 2006 15:04:05 GMT"
	at := func(d time.Duration) string { return settled.Add(d).Format(form) }
	return facts{strings.NewReplacer(
		"{tag}", opaque(plain), "{empty-tag}", opaque("/empty.txt"), "{young-tag}", opaque("/young.txt"),
		"{source-tag}", opaque(gzOnly), "{gzip-tag}", opaque(gzOnly, "Accept-Encoding: gzip"),
		"{own-tag}", opaque(gzOnly+".gz"),
		"{date}", at(0), "{date+1}", at(time.Second), "{date-1}", at(-time.Second),
		"{date-rfc850}", settled.Format("Monday, 02-Jan-06 15:04:05 GMT"),
		"{date-asctime}", settled.Format("Mon Jan _2 15:04:05 2006"),
		"{young-date}", future.UTC().Format(form),
		"{now}", time.Now().UTC().Format(form), "{far}", "Fri, 31 Dec 2100 23:59:59 GMT",
		"{host}", addr,
	)}
}

// neutral takes out of a value what differs from one server to the next by
// its nature: the address.
func neutral(value, addr string) string { return strings.ReplaceAll(value, addr, "HOST") }

// repeat is s n times, each with its own number.
func repeat(n int, make func(i int) string) string {
	var b bytes.Buffer
	for i := range n {
		b.WriteString(make(i))
	}
	return b.String()
}
