package main_test

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server/config"
)

// proof changes one field of the configuration while a server runs, and looks from
// outside whether the server goes by it.
type proof struct {
	from, to string // what the file says; ROOT, TWO and DIR are directories
	// seen reports whether the server goes by the new value.
	seen func(l *live) bool
	// last is set if seen ends the server: it is asked after the change only.
	last bool
}

// proofs are those of all fields that change at a reload.
var proofs = map[string]proof{
	"root":     {to: "root: TWO", seen: func(l *live) bool { return l.get("/").Body == "two" }},
	"release":  {from: withRelease("a", ""), to: withRelease("b", ""), seen: func(l *live) bool { return l.get("/").Body == "two" }},
	"releases": {from: withRelease("a", ""), to: withRelease("a", "weight: 100%"), seen: func(l *live) bool { return l.get("/").Body == "two" }},
	"allow":    {to: "allow: [10.0.0.0/8]", seen: func(l *live) bool { return l.get("/").StatusCode == 403 }},
	"deny":     {to: "deny: [127.0.0.1]", seen: func(l *live) bool { return l.get("/").StatusCode == 403 }},
	"satisfy": {from: "allow: [10.0.0.0/8]\npassword_file: DIR/users", to: "allow: [10.0.0.0/8]\npassword_file: DIR/users\nsatisfy: any",
		seen: func(l *live) bool { return l.get("/").StatusCode == 401 }},
	"password_file":   {to: "password_file: DIR/users", seen: func(l *live) bool { return l.get("/").StatusCode == 401 }},
	"realm":           {from: "password_file: DIR/users", to: "password_file: DIR/users\nrealm: R", seen: field("WWW-Authenticate", `Basic realm="R", charset="UTF-8"`)},
	"require":         {from: withKey("k1", ""), to: withKey("k1", "") + "\nrequire: link", seen: func(l *live) bool { return l.get("/").StatusCode == 403 }},
	"secure_link":     {from: "secure_link: $arg_x\nsecure_link_md5: '$uri s'", to: "secure_link: $arg_h\nsecure_link_md5: '$uri s'", seen: md5Link("/ s")},
	"secure_link_md5": {from: "secure_link: $arg_h\nsecure_link_md5: '$uri s'", to: "secure_link: $arg_h\nsecure_link_md5: '$uri t'", seen: md5Link("/ t")},

	"identity.api_keys": {from: "identity: {api_keys: DIR/1.keys}\nrequire: key", to: "identity: {api_keys: DIR/2.keys}\nrequire: key",
		seen: func(l *live) bool { return l.get("/", "X-API-Key: key of 2").StatusCode == 200 }},
	"identity.jwt":        {from: withIssuer("one"), to: withIssuer("two"), seen: func(l *live) bool { return l.get("/", "Authorization: Bearer "+tokenFor(l.t, "two")).StatusCode == 200 }},
	"identity.tiers":      {from: "identity: {tiers: {a: {networks: all}}}", to: "identity: {tiers: {a: {networks: all}, b: {networks: 127.0.0.0/8}}}", seen: tierSeen("b")},
	"identity.tier":       {from: "identity: {tiers: {a: {}, b: {}}, tier: a}", to: "identity: {tiers: {a: {}, b: {}}, tier: b}", seen: tierSeen("b")},
	"identity.links.keys": {from: withKey("k1", "") + "\nrequire: link", to: withKey("k2", "") + "\nrequire: link", seen: signedLink("k2", "fs", time.Minute)},
	"identity.links.param": {from: withKey("k1", "") + "\nrequire: link", to: withKey("k1", ", param: link") + "\nrequire: link",
		seen: signedLink("k1", "link", time.Minute)},
	"identity.links.cookie": {from: withKey("k1", "") + "\nrequire: link", to: withKey("k1", ", cookie: dl") + "\nrequire: link", seen: func(l *live) bool {
		return l.get("/", "Cookie: a=b; dl="+linkFor(l.t, "k1", time.Minute)).StatusCode == 200
	}},
	"identity.links.max_lifetime": {from: withKey("k1", "") + "\nrequire: link", to: withKey("k1", ", max_lifetime: 1h") + "\nrequire: link",
		seen: func(l *live) bool { return !signedLink("k1", "fs", 2*time.Hour)(l) }},
	"referers":     {to: "referers: [a.example]", seen: func(l *live) bool { return l.get("/").StatusCode == 403 }},
	"allow_agents": {to: "allow_agents: [x]", seen: func(l *live) bool { return l.get("/").StatusCode == 403 }},
	"deny_agents":  {to: "deny_agents: [Go-http]", seen: func(l *live) bool { return l.get("/").StatusCode == 403 }},
	"redirect":     {to: "redirect: /other.html", seen: func(l *live) bool { return l.get("/").Header.Get("Location") == "/other.html" }},
	"respond":      {to: "respond: 200 said", seen: func(l *live) bool { return l.get("/").Body == "said" }},
	"try":          {to: "try: [$uri, /other.html]", seen: func(l *live) bool { return l.get("/none").Body == "other" }},
	"locations":    {to: "locations: {/l/: {alias: TWO}}", seen: func(l *live) bool { return l.get("/l/index.html").Body == "two" }},
	"hosts":        {to: "hosts: {h.example: {root: TWO}}", seen: func(l *live) bool { return l.get("/", "Host: h.example").Body == "two" }},

	"hsts": {from: withTLS("c1", ""), to: withTLS("c1", "") + "\nhsts: 1y", seen: func(l *live) bool {
		client := &http.Client{Transport: &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return l.handshake(&tls.Config{}) }}}
		defer client.CloseIdleConnections()
		resp, err := client.Get("https://a/")
		if err != nil {
			l.t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.Header.Get("Strict-Transport-Security") == "max-age=31536000"
	}},
	"tls.cert":         {from: withTLS("c1", ""), to: withTLS("c2", ""), seen: shows("c2", &tls.Config{})},
	"tls.key":          {from: withTLS("c1", ""), to: withTLS("c2", ""), seen: shows("c2", &tls.Config{})},
	"tls.pairs":        {from: withTLS("c3", ""), to: withTLS("c3", ", pairs: {cert: DIR/c2/cert.pem, key: DIR/c2/key.pem}"), seen: shakes(true, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}})},
	"tls.unknown_name": {from: withTLS("c1", ""), to: withTLS("c1", ", unknown_name: refuse"), seen: shakes(false, &tls.Config{ServerName: "other.example"})},
	"tls.min_version":  {from: withTLS("c1", ""), to: withTLS("c1", ", min_version: 1.3"), seen: shakes(false, &tls.Config{MaxVersion: tls.VersionTLS12})},
	"tls.http2":        {from: withTLS("c1", ""), to: withTLS("c1", ", http2: true"), seen: shakes(true, &tls.Config{NextProtos: []string{"h2"}})},
	"tls.ciphers": {from: withTLS("c1", ", ciphers: ECDHE-ECDSA-AES256-GCM-SHA384"), to: withTLS("c1", ", ciphers: [ECDHE-ECDSA-AES128-GCM-SHA256]"),
		seen: shakes(true, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}})},

	"files.precompressed": {from: "files: {precompressed: true}", to: "files: {precompressed: false}", seen: func(l *live) bool { return l.get("/a.js", "Accept-Encoding: gzip").Body == "js" }},
	"files.encoded_slash": {to: "files: {encoded_slash: refuse}", seen: func(l *live) bool { return l.get("/dir%2Fx").StatusCode == 400 }},
	"files.etag":          {to: "files: {etag: content}", seen: func(l *live) bool { return l.get("/other.html").Header.Get("ETag") == "" }},
	"files.max_ranges": {to: "files: {max_ranges: 1}", seen: func(l *live) bool {
		return l.get("/other.html", "Range: bytes=0-0,2-2").Header.Get("Content-Range") != ""
	}},
	"files.compress": {to: "files: {compress: {min_size: 1B}}", seen: field("Vary", "Accept-Encoding")},
	"compress_cache": {from: "compress: {max_size: 8MiB, level: 1}", to: "compress: {max_size: 8MiB, level: 1}\ncompress_cache: 1MiB", seen: func(l *live) bool {
		path, past := filepath.Join(l.dir, "root", "noise.txt"), time.Now().Add(-time.Hour)
		if _, err := os.Stat(path); err != nil {
			noise := make([]byte, 1<<20) // its form is larger than 1 MiB
			_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
			writeFile(l.t, path, hex.EncodeToString(noise)+strings.Repeat(" ", 1<<20))
		}
		if err := os.Chtimes(path, past, past); err != nil {
			l.t.Fatal(err)
		}
		return l.get("/noise.txt", "Accept-Encoding: gzip").Header.Get("Content-Encoding") == ""
	}},
	"files.listing": {to: "files: {listing: true}", seen: func(l *live) bool { return l.get("/dir/").StatusCode == 200 }},
	"files.listing_page": {from: "files: {listing: true}", to: "files: {listing: true, listing_page: 1}", seen: func(l *live) bool {
		a := l.get("/dir/?page=1", "Accept: application/json")
		return a.StatusCode == 200 && strings.Count(a.Body, `"name"`) == 1
	}},
	"files.index":    {to: "files: {index: [other.html]}", seen: func(l *live) bool { return l.get("/").Body == "other" }},
	"files.symlinks": {to: "files: {symlinks: deny}", seen: func(l *live) bool { return l.get("/link").StatusCode == 404 }},
	"files.consistency": {to: "files: {consistency: copy}", seen: func(l *live) bool {
		writeFile(l.t, filepath.Join(l.dir, "root", "large"), strings.Repeat("x", 100_000))
		l.get("/large")
		return !strings.Contains(l.admin("GET", "/metrics", ""), `fserve_sent_bytes_total{way="copy"} 0`)
	}},
	"files.being_written":  {from: "files: {being_written: serve}", to: "files: {being_written: refuse}", seen: written(503)},
	"files.growing":        {from: "files: {being_written: refuse}", to: "files: {being_written: refuse, growing: [/written]}", seen: written(200)},
	"files.dotfiles":       {to: "files: {dotfiles: true}", seen: func(l *live) bool { return l.get("/.dot").StatusCode == 200 }},
	"files.error_pages":    {to: "files: {error_pages: {404: /other.html}}", seen: func(l *live) bool { return l.get("/none").Body == "other" }},
	"files.cache_control":  {to: "files: {cache_control: /=no-cache}", seen: field("Cache-Control", "no-cache")},
	"files.attachment":     {to: "files: {attachment: '*.html'}", seen: field("Content-Disposition", `attachment; filename="other.html"`)},
	"files.download_param": {to: "files: {download_param: dl}", seen: field("Content-Disposition", `attachment; filename="other.html"`)},
	"files.types":          {to: "files: {types: {html: a/b}}", seen: field("Content-Type", "a/b")},
	"files.default_type":   {to: "files: {default_type: a/c}", seen: func(l *live) bool { return l.get("/dir/f").Header.Get("Content-Type") == "a/c" }},
	"files.headers":        {to: "files: {headers: '/=X-A: b'}", seen: field("X-A", "b")},
	"files.server_field":   {to: "files: {server_field: me}", seen: field("Server", "me")},

	"admission.client.requests":  {to: "admission: {client: {requests: 2/h}}", seen: func(l *live) bool { return l.get("/").StatusCode == 429 }},
	"admission.client.downloads": {to: "admission: {client: {downloads: 3}}", seen: admission(`"client_downloads":3`)},
	"admission.paths":            {to: "admission: {paths: {/other: {requests: 1/h}}}", seen: func(l *live) bool { l.get("/other.html"); return l.get("/other.html").StatusCode == 503 }},
	"admission.downloads":        {to: "admission: {downloads: 5}", seen: admission(`"downloads":5`)},
	"admission.queue.length":     {from: "admission: {downloads: 5}", to: "admission: {downloads: 5, queue: {length: 7}}", seen: admission(`"queue_length":7`)},
	"admission.queue.wait":       {from: "admission: {downloads: 5}", to: "admission: {downloads: 5, queue: {wait: 3s}}", seen: admission(`"queue_wait":"3s"`)},

	"admission.fields": {from: "admission: {client: {requests: 9/h burst 900}}", to: "admission: {client: {requests: 9/h burst 900}, fields: always}", seen: func(l *live) bool {
		return strings.HasPrefix(l.get("/").Header.Get("RateLimit"), `"client";r=`)
	}},
	"admission.breaker.loop_lag":    {to: "admission: {breaker: {loop_lag: 1ns}}", seen: refuses},
	"admission.breaker.descriptors": {to: "admission: {breaker: {descriptors: 0.0001%}}", seen: refuses},
	"admission.breaker.memory":      {to: "admission: {breaker: {memory: 0.0001%}}", seen: refuses},
	"admission.breaker.profiles": {from: "profiles: {p: {global: 1GiB/s, match: {alertname: A}}}", to: "profiles: {p: {global: 1GiB/s, match: {alertname: A}}}\nadmission: {breaker: {profiles: [p]}}",
		seen: func(l *live) bool { l.admin("POST", "/alerts", firing); return refuses(l) }},

	"limits.global":     {to: "limits: {global: 5MiB/s}", seen: func(l *live) bool { return l.limits().Global.Limit.Rate == "5MiB/s" }},
	"limits.client":     {to: "limits: {client: 5MiB/s}", seen: func(l *live) bool { return l.limits().Client.Rate == "5MiB/s" }},
	"limits.connection": {to: "limits: {connection: 5MiB/s}", seen: func(l *live) bool { return l.limits().Connection.Rate == "5MiB/s" }},
	"limits.burst": {from: "limits: {global: 5MiB/s}", to: "limits: {global: 5MiB/s, burst: 3MiB}",
		seen: func(l *live) bool { return l.limits().Global.Limit.Burst == "3MiB" }},
	"limits.paths": {to: "limits: {paths: {/p/: 5MiB/s}}", seen: func(l *live) bool { p := l.limits().Paths; return len(p) == 1 && p[0].Limit.Rate == "5MiB/s" }},

	"adapt.min": {from: "adapt: {min: 1MiB/s, max: 50MiB/s}", to: "adapt: {min: 2MiB/s, max: 50MiB/s}",
		seen: func(l *live) bool { return l.steer().Is.Floor == 2<<20 }},
	"adapt.max": {from: "adapt: {min: 1MiB/s, max: 50MiB/s}", to: "adapt: {min: 1MiB/s, max: 40MiB/s}",
		seen: func(l *live) bool { return l.steer().Is.Ceiling == 40<<20 }},
	"adapt.start": {from: "adapt: {min: 1MiB/s, max: 50MiB/s}", to: "adapt: {min: 1MiB/s, max: 50MiB/s, start: 3MiB/s}",
		seen: func(l *live) bool { return l.steer().Was.Target == 3<<20 }},
	"adapt.tune": {from: adaptSlowly, to: "adapt: {min: 1MiB/s, max: 50MiB/s, tune: {raise: 0.03, raise_every: 500ms}}", seen: (*live).raises, last: true},

	"profiles": {to: "profiles: {p: {global: 1MiB/s, match: {alertname: A}}}",
		seen: func(l *live) bool { return strings.Contains(l.admin("POST", "/alerts", firing), `["p"]`) }},
	"timeouts.drain":   {to: "timeouts: {drain: 7s}", last: true, seen: ends(syscall.SIGTERM, "draining")},
	"timeouts.upgrade": {to: "timeouts: {upgrade: 7s}", last: true, seen: ends(syscall.SIGUSR2, replacedText)},
	"log.file": {to: "log: {file: DIR/operator.log}", seen: func(l *live) bool {
		b, _ := os.ReadFile(filepath.Join(l.dir, "operator.log")) // it may not be there
		return strings.Contains(string(b), "INFO configuration reloaded")
	}},
	"log.level": {from: "log: {level: error}", to: "log: {level: info}",
		seen: func(l *live) bool { return strings.Contains(l.errors(), "INFO configuration reloaded") }},
	"access_log.file": {from: "access_log: {file: DIR/1.log}", to: "access_log: {file: DIR/2.log}", seen: func(l *live) bool {
		l.get("/")
		b, _ := os.ReadFile(filepath.Join(l.dir, "2.log")) // it may not be there
		return len(b) > 0
	}},
	"access_log.format": {from: "access_log: {file: DIR/1.log}", to: "access_log: {file: DIR/2.log, format: 'at $host'}", seen: logs("at 127.0.0.1\n")},
	"access_log.escape": {from: "access_log: {file: DIR/1.log}", to: "access_log: {file: DIR/2.log, format: '<$http_none>', escape: json}", seen: logs("<>\n")},
	"access_log.sample": {from: "access_log: {file: DIR/1.log}", to: "access_log: {file: DIR/2.log, sample: 0%, format: '$status'}", seen: logs("404\n")},
	"admin.token_file": {from: "admin: {token_file: DIR/1.token}", to: "admin: {token_file: DIR/2.token}", seen: func(l *live) bool {
		return get(l.t, l.at+"/metrics", "Authorization: Bearer 2").StatusCode == 200
	}},
}

// withRelease serves one of two releases, the first of which has a canary.
func withRelease(name, weight string) string {
	return "root: ''\nrelease: " + name + "\nreleases: {a: {stable: {root: ROOT}, canary: {root: TWO}, " + weight + "}, b: {stable: {root: TWO}}}"
}

// refuses is seen when a breaker is open.
func refuses(l *live) bool {
	return strings.Contains(l.admin("GET", "/breaker", ""), `"state":"open"`) && l.get("/").StatusCode == 503
}

// admission looks for a text in what GET /admission says.
func admission(text string) func(*live) bool {
	return func(l *live) bool { return strings.Contains(l.admin("GET", "/admission", ""), text) }
}

// logs is what is seen if the lines of a success and a failure in 2.log are those of want.
func logs(want string) func(*live) bool {
	return func(l *live) bool {
		l.get("/")
		l.get("/none")
		return testenv.Eventually(time.Second, func() bool {
			b, _ := os.ReadFile(filepath.Join(l.dir, "2.log")) // it may not be there
			return strings.Contains(string(b), want)
		})
	}
}

// adaptSlowly lets no rate rise for a minute, twice as long as any test waits.
const adaptSlowly = "adapt: {min: 1MiB/s, max: 50MiB/s, tune: {raise_every: 1m, max_hold_off: 1m}}"

const firing = `{"version":"4","alerts":[{"status":"firing","labels":{"alertname":"A"},"startsAt":"2026-01-02T03:04:05Z","endsAt":"0001-01-01T00:00:00Z"}]}`

// Each field that changes at a reload is changed by itself, and the server goes by it.
func TestLiveFieldsAreApplied(t *testing.T) {
	fields := liveFields(reflect.TypeFor[config.Config](), "")
	for path := range proofs {
		if !slices.Contains(fields, path) {
			t.Errorf("%s: there is a proof, and no such field that changes at a reload", path)
		}
	}
	for _, path := range fields {
		p, ok := proofs[path]
		if !ok {
			t.Errorf("%s changes at a reload, and nothing proves that the server goes by it", path)
			continue
		}
		t.Run(path, func(t *testing.T) { p.run(t, path) })
	}
}

func (p *proof) run(t *testing.T, path string) {
	l := startLive(t, p.from)
	if !p.last && p.seen(l) {
		t.Fatal("seen before the change")
	}
	l.write(p.to)
	if changes := l.admin("POST", "/-/reload", ""); !strings.Contains(changes, `"path":"`+path) {
		t.Fatalf("no change of it: %s", changes)
	}
	if !testenv.Eventually(patience, func() bool { return p.seen(l) }) {
		t.Error("the server does not go by it")
	}
}

// liveFields are the paths of the fields of a section that change at a reload.
func liveFields(section reflect.Type, prefix string) (paths []string) {
	for _, f := range reflect.VisibleFields(section) {
		path := prefix + f.Tag.Get("key")
		switch {
		case f.Anonymous:
		case f.Tag.Get("live") != "":
			paths = append(paths, path)
		case f.Type.Kind() == reflect.Struct:
			paths = append(paths, liveFields(f.Type, path+".")...)
		}
	}
	return paths
}

// live is a server whose configuration changes.
type live struct {
	*line
	dir   string // of its files
	at    string // the address of the admin listener
	names int    // of clients
}

func startLive(t *testing.T, content string) *live {
	t.Helper()
	l := &live{dir: t.TempDir()}
	for name, text := range map[string]string{
		"root/index.html": "one", "two/index.html": "two", "root/other.html": "other", "root/a.js": "js", "root/a.js.gz": "packed",
		"root/dir/f": "f", "root/dir/g": "g", "root/.dot": "dot", "1.token": "1", "1.keys": keyLine("key of 1"), "2.keys": keyLine("key of 2"), "k1.key": linkSecret + "k1", "k2.key": linkSecret + "k2", "users": "joe:$2a$04$" + strings.Repeat(".", 53), "2.token": "2",
	} {
		writeFile(t, filepath.Join(l.dir, name), text)
	}
	past := time.Now().Add(-time.Hour) // a sidecar must not be older than its source
	for _, name := range []string{"root/a.js", "root/a.js.gz"} {
		if err := os.Chtimes(filepath.Join(l.dir, name), past, past); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("other.html", filepath.Join(l.dir, "root/link")); err != nil {
		t.Fatal(err)
	}
	writePairs(t, l.dir)
	l.write(content)
	l.line = serveLine(t, exec.Command(binary, "--config", filepath.Join(l.dir, "f.yaml"), "--config-watch=false",
		"--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--workers=1"), nil)
	l.at = l.process.admin()
	return l
}

// write writes the configuration. What does not say otherwise has the first root.
func (l *live) write(content string) {
	if !strings.HasPrefix(content, "root:") {
		content = "root: ROOT\n" + content
	}
	r := strings.NewReplacer("ROOT", filepath.Join(l.dir, "root"), "TWO", filepath.Join(l.dir, "two"), "DIR", l.dir)
	if err := os.WriteFile(filepath.Join(l.dir, "f.yaml"), []byte(r.Replace(content)+"\n"), 0o600); err != nil {
		panic(err)
	}
}

func (l *live) get(path string, fields ...string) testenv.Answer {
	l.t.Helper()
	return get(l.t, l.url(path), fields...)
}

// admin asks the admin listener, which must answer with 200.
func (l *live) admin(method, path, body string) string {
	l.t.Helper()
	return call(l.t, 200, method, l.at+path, body, "Authorization: Bearer 1")
}

// field is seen when a file is answered with a field.
func field(name, value string) func(*live) bool {
	return func(l *live) bool { return l.get("/other.html?dl").Header.Get(name) == value }
}

// written is seen when a file that is being written is answered with a status.
func written(status int) func(*live) bool {
	return func(l *live) bool {
		f, err := os.Create(filepath.Join(l.dir, "root", "written"))
		if err != nil {
			l.t.Fatal(err)
		}
		defer f.Close()
		return l.get("/written").StatusCode == status
	}
}

// ends is seen when a signal makes the server say for how long it waits.
func ends(s syscall.Signal, says string) func(*live) bool {
	return func(l *live) bool {
		if !strings.Contains(l.errors(), says) {
			l.signal(s)
			l.wantLog(says)
		}
		return strings.Contains(l.errors(), "timeout=7s")
	}
}

// limitTree is GET /limits.
type limitTree struct {
	Global             struct{ Limit rateLimit }
	Client, Connection rateLimit
	Paths              []struct{ Limit rateLimit }
}

type rateLimit struct{ Rate, Burst string }

func (l *live) limits() (v limitTree) {
	l.t.Helper()
	l.read("GET", "/limits", "", &v)
	return v
}

// steered is what is found of a client before and after it is told a target.
type steered struct {
	Was, Is struct {
		Target  int64 `json:"target_bps"`
		Floor   int64 `json:"floor_bps"`
		Ceiling int64 `json:"ceiling_bps"`
	}
}

// steer tells a client that was not there before its target.
func (l *live) steer() (v steered) {
	l.t.Helper()
	l.names++
	l.read("POST", "/config", fmt.Sprintf(`{"client_id":"10.0.0.%d","target_bps":5242880}`, l.names), &v)
	return v
}

func (l *live) read(method, path, body string, v any) {
	l.t.Helper()
	if err := json.Unmarshal([]byte(l.admin(method, path, body)), v); err != nil {
		l.t.Fatal(err)
	}
}

// raises reports whether the rate of a client that takes all it gets rises from where
// it was put.
func (l *live) raises() bool {
	f, err := os.Create(filepath.Join(l.dir, "root", "big"))
	if err != nil {
		l.t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(4 << 30); err != nil {
		l.t.Fatal(err)
	}
	resp, err := http.Get(l.url("/big"))
	if err != nil {
		l.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, resp.Body); done <- err }()
	defer func() { resp.Body.Close(); <-done }()
	const put = 2 << 20
	l.admin("POST", "/config", fmt.Sprintf(`{"client_id":"127.0.0.1","target_bps":%d}`, put))
	return testenv.Eventually(patience, func() bool {
		var all foundAll
		l.read("GET", "/adapt", "", &all)
		i := slices.IndexFunc(all.Clients, func(f found) bool { return f.Name == "127.0.0.1" })
		return i >= 0 && all.Clients[i].Target > put
	})
}
