package difftest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/config"
)

// migrating has a directory for each pair of configurations, and a page with their differences.
const migrating = "../../docs/migrating"

// leastRequests of each pair are compared.
const leastRequests = 20

// TestMigrating asks nginx and fserve, each with its own configuration of the pairs in
// docs/migrating. They may differ in what DIFFERENCES.md lists for every answer, and in what the
// page there lists.
func TestMigrating(t *testing.T) {
	testenv.LeakCheck(t)
	pairs, err := filepath.Glob(migrating + "/*/nginx.conf")
	if err != nil || len(pairs) < 12 {
		t.Fatalf("%d pairs of configurations, %v", len(pairs), err)
	}
	asked := readRequests(t)
	page := readTable(t, migrating+"/README.md")
	rows := slices.Concat(page, readTable(t, differencesPage))
	dir := t.TempDir()
	makeServed(t, dir)
	for _, path := range pairs {
		name := filepath.Base(filepath.Dir(path))
		requests := asked[name]
		if len(requests) < leastRequests {
			t.Errorf("%s: only %d requests", name, len(requests))
			continue
		}
		requests = append(requests, everyFile(t, name, readFile(t, path), dir, requests)...)
		nginx := startNginxAs(t, migratedNginx(t, path), dir)
		want := askPlainly(t, nginx, requests)
		onBoth(t, func(t *testing.T, d engine.DriverKind) {
			addr := startMigrated(t, filepath.Dir(path), dir, d)
			got := askPlainly(t, addr, requests)
			for i := range requests {
				for _, diff := range compare(&requests[i], want[i], got[i]) {
					if !listed(rows, diff) {
						t.Errorf("in no table: %v", diff)
					}
				}
			}
		})
	}
	for _, r := range page {
		for _, text := range r.unused() {
			t.Errorf("%s/README.md:%d: `%s` does not occur any more", migrating, r.line, text)
		}
	}
}

// everyFile returns requests for all files and directories that are in the directories a
// configuration of nginx names, from each of the hosts that are asked already.
func everyFile(t *testing.T, name, conf, dir string, asked []request) (more []request) {
	t.Helper()
	seen := make(map[string]bool)
	ask := func(host, path string) {
		if q := requestOf(name, "GET", host, path, nil); !seen[q.name] {
			seen[q.name] = true
			more = append(more, q)
		}
	}
	for _, a := range asked {
		_, host, _ := strings.Cut(a.raw, "Host: ")
		host, _, _ = strings.Cut(host, "\r\n")
		for _, root := range regexp.MustCompile(`/srv/\w+`).FindAllString(conf, -1) {
			_ = filepath.WalkDir(dir+root, func(path string, e fs.DirEntry, err error) error {
				if err != nil { // a root that is a file, or none
					return nil
				}
				for _, above := range []string{dir + root, dir + "/srv"} { // as of a root, and as of an alias
					url := (&url.URL{Path: strings.TrimPrefix(path, above)}).EscapedPath()
					if e.IsDir() {
						ask(host, url+"/")
					}
					if url != "" {
						ask(host, url)
					}
				}
				return nil
			})
		}
	}
	return more
}

// askPlainly makes the requests one after the other, each on a connection of its own.
func askPlainly(t *testing.T, addr string, requests []request) (answers []*answer) {
	t.Helper()
	for i := range requests {
		a, err := exchange(addr, &requests[i])
		if err != nil || len(a.responses) != 1 {
			t.Fatalf("%s: %v, %+v", requests[i].name, err, a)
		}
		a.neutralize(addr)
		answers = append(answers, a)
	}
	return answers
}

// migratedNginx returns the whole configuration of nginx for a pair, for startNginxAs.
func migratedNginx(t *testing.T, path string) string {
	t.Helper()
	before, _, _ := strings.Cut(nginxConfig, "\ttypes {")
	text := strings.ReplaceAll(readFile(t, path), "%", "%%")
	for _, port := range []string{"80", "443"} {
		text = strings.Replace(text, "listen "+port, "listen %[3]s reuseport", 1)
		text = strings.ReplaceAll(text, "listen "+port, "listen %[3]s")
	}
	text = strings.ReplaceAll(text, "/srv/", "%[4]s/srv/")
	return before + "\tinclude /etc/nginx/mime.types;\n\tdefault_type application/octet-stream;\n\taccess_log off;\n" + text + "}\n"
}

// startMigrated runs fserve with the configuration of a pair until the end of the test, and
// returns its address.
func startMigrated(t *testing.T, pair, dir string, d engine.DriverKind) string {
	t.Helper()
	text := strings.NewReplacer("0.0.0.0:80", "127.0.0.1:0", "0.0.0.0:443", "127.0.0.1:0", "/srv/", dir+"/srv/").Replace(readFile(t, filepath.Join(pair, "fserve.yaml")))
	file := filepath.Join(t.TempDir(), "fserve.yaml")
	put(t, file, text, settled)
	flags := &config.Flags{}
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.Register(set)
	if err := set.Parse([]string{"--config", file}); err != nil {
		t.Fatal(err)
	}
	l, err := (&config.Sources{Flags: flags}).Load()
	if err != nil {
		t.Fatal(err)
	}
	cfg := l.Server()
	cfg.AccessLogs = server.NewAccessLogs()
	cfg.Log, cfg.Engine.Driver, cfg.Engine.Loops = slog.New(slog.DiscardHandler), d, 1
	if err := server.Check(cfg); err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := cfg.AccessLogs.Close(); err != nil {
			t.Errorf("access logs: %v", err)
		}
	})
	if addrs := srv.TLSAddrs(); len(addrs) > 0 {
		return addrs[0].String()
	}
	return srv.Addrs()[0].String()
}

// readRequests returns the requests of testdata/migrating.txt by pair.
func readRequests(t *testing.T) map[string][]request {
	t.Helper()
	asked := make(map[string][]request)
	name := ""
	for line := range strings.Lines(readFile(t, "testdata/migrating.txt")) {
		parts := strings.Split(strings.TrimSpace(line), " | ")
		words := strings.Fields(parts[0])
		switch {
		case len(words) == 0 || words[0] == "#":
		case len(words) == 1:
			name = words[0]
		default:
			for _, path := range words[2:] {
				asked[name] = append(asked[name], requestOf(name, words[0], words[1], path, parts[1:]))
			}
		}
	}
	return asked
}

func requestOf(name, method, host, path string, fields []string) request {
	q := request{name: strings.Join(append([]string{name, method, host + path}, fields...), " "), methods: []string{method}, ends: true}
	if name == "sni" {
		q.tls = host
	}
	q.raw = fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, host)
	for _, f := range slices.Concat(fields, []string{"Connection: close"}) {
		q.raw += f + "\r\n"
	}
	q.raw += "\r\n"
	return q
}

// makeServed makes what the configurations serve, below srv.
func makeServed(t *testing.T, dir string) {
	t.Helper()
	for name, content := range map[string]string{
		"www/index.html": "<p>www", "www/f.txt": plainContent, "www/errors/404.html": "<p>no such page", "www/app.html": "<p>app", "www/downloads/app.bin": "www app",
		"www/admin/a.txt": "admin", "www/open/o.txt": "open", "www/shut.html": "shut", "www/.git/config": "[core]", "www/gone/x": "still there",
		"downloads/index.html": "<p>downloads", "downloads/app.bin": strings.Repeat("app ", 100), "downloads/free.bin": "free", "downloads/video/v.mp4": strings.Repeat("video", 100),
		"downloads/files/a.txt": "a", "downloads/files/dump.sql": "files", "downloads/dump.sql": "dump", "downloads/DUMP.SQL": "dump", "downloads/x.php": "php",
		"downloads/internal/secret.txt": "secret", "downloads/customers/c.txt": "for customers",
		"customers.htpasswd":      "joe:$2y$04$4khvjMDqySsvl74KBEicbOyNKpDSXJpm8OIQ351a6cnzgIqiAvr0K\n", // right
		"downloads/v1/app.tar.gz": "one", "downloads/v1/app.tar.gz.sig": "sig", "downloads/v2/app.tar.gz": "two",
		"builds/downloads/nightly/latest.html": "<p>latest", "builds/downloads/nightly/n.txt": "n", "shared/robots.txt": "User-agent: *\n",
		"static/index.html": "<p>static", "static/a.css": "a { color: red }", "static/a.js": "a()", "static/b.css": "b {}", "static/plain/p.css": "p {}",
		"static/LICENSE": "MIT", "static/data.weird": "data", "static/a.css.gz": "not really gzip", "static/a.js.gz": "nor this", "static/plain/p.css.gz": "no", "static/index.html.gz": "index",
		"compress/index.html": strings.Repeat("<p>text\n", 100), "compress/a.css": strings.Repeat("a { color: red }\n", 500), "compress/a.js": strings.Repeat("a();\n", 500),
		"compress/a.json": "[" + strings.Repeat("1,", 500) + "1]", "compress/a.svg": strings.Repeat("<g></g>", 100), "compress/small.txt": "small", "compress/a.png": strings.Repeat("png", 500),
		"compress/noise.iso": strings.Repeat("iso", 500), "compress/plain/a.css": strings.Repeat("a { color: red }\n", 500), "compress/all/a.dat": strings.Repeat("data", 500),
		"app/index.html": "<p>app", "app/favicon.ico": "icon", "app/assets/app.js": "app()", "app/sub/index.html": "<p>sub", "app/a b": "space",
		"docs/index.html": "<p>docs", "docs/guide.html": "<p>guide", "docs/ref/index.html": "<p>ref",
		"mirror/dists/stable/InRelease": "in", "mirror/dists/stable/Release": "release", "mirror/dists/stable/Packages": "packages", "mirror/SHA256SUMS": "sums",
		"mirror/os.iso": strings.Repeat("iso ", 50), "mirror/OS.IMG": "img", "mirror/.hidden": "hidden", "mirror/.git/config": "[core]", "mirror/robots.txt": "User-agent: *\n", "log/mirror.log": "", "mirror/private/f.txt": "private", "mirror/tmp/x": "x", "mirror/README": "read",
	} {
		put(t, filepath.Join(dir, "srv", name), content, settled)
	}
	if err := os.Symlink("a.txt", filepath.Join(dir, "srv/downloads/files/link.txt")); err != nil {
		t.Fatal(err)
	}
	for name, host := range map[string]string{"www": "www.example.com", "dl": "dl.example.org", "static": "*.static.example.com"} {
		putPair(t, filepath.Join(dir, "srv/tls", name), host)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// putPair makes a certificate for a host, with its key.
func putPair(t *testing.T, path, host string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	put(t, path+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), settled)
	put(t, path+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), settled)
}
