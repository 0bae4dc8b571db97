package server_test

import (
	"bytes"
	"crypto/md5" //nolint:gosec // what nginx has
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/nethttp"
)

var linkKey = server.LinkKey{ID: "k1", Secret: []byte("0123456789abcdef0123456789abcdef")}

// signed returns the query with a link for a path, of which more may be said.
func signed(t testing.TB, path string, more ...func(*server.LinkPolicy)) string {
	t.Helper()
	p := server.LinkPolicy{Path: path, Expires: time.Now().Add(time.Hour)}
	for _, m := range more {
		m(&p)
	}
	value, err := linkKey.Sign(&p)
	if err != nil {
		t.Fatal(err)
	}
	return "?fs=" + value
}

func expired(p *server.LinkPolicy) { p.Expires = time.Now().Add(-time.Hour) }

// paid is the configuration of places that ask for a link.
func paid(t testing.TB) server.Config {
	root := dirWith(t, "f", "root", "paid/f", "secret", "paid/a.js", "plain", "paid/a.js.gz", "packed", "paid/dir/x", "x", "paid/with/index.html", "index",
		"paid/a b+c", "plus", "paid/\u00e9", "composed", "403.html", "no", "nx/f", "nginx", "nx/with/index.html", "index")
	secret := filepath.Join(t.TempDir(), "k1")
	writeFile(t, secret, append(linkKey.Secret, '\n'))
	in := server.Site{Root: root, Require: server.ByLink, Precompressed: true, Listing: true, ErrorPages: map[int]server.Page{403: {Path: "/403.html"}}}
	in.Files.CacheControl = []httpfile.Rule{{Match: "*.js", Value: "max-age=1"}}
	nginx := server.Site{Root: root, SecureLink: "$arg_md5,$arg_expires", SecureLinkMD5: "$secure_link_expires$uri secret"}
	return server.Config{
		Site: server.Site{Root: root},
		Locations: []server.Location{
			{Match: "/paid/", Site: in}, {Match: "/nx/", Site: nginx}, {Match: "/try/", Site: server.Site{Root: root, Try: []string{"$uri", "/paid/f"}}},
		},
		Routes:   []server.Route{{Prefix: "/paid/echo", Handler: func(ctx *fasthttp.RequestCtx) { ctx.WriteString("handled") }}},
		Identity: server.Identity{Links: server.IdentityLinks{Keys: map[string]string{"k1": secret}}},
	}
}

// A link counts for the path that is routed, however that came, and for nothing beside it.
func TestLinks(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, paid(t))
		file, dir := signed(t, "/paid/f"), signed(t, "/paid/")
		c := g.dial()
		for _, test := range []struct {
			target string
			status int
			body   string
			fields []string
		}{
			{"/f", 200, "root", nil},
			{"/paid/f", 403, "no", nil}, {"/paid/none", 403, "no", nil}, {"/paid/dir/", 403, "no", nil}, {"/paid/dir", 403, "no", nil},
			{"/paid/f" + file, 200, "secret", nil}, {"/paid/f?x=1&" + file[1:] + "&y", 200, "secret", nil},
			{"/paid/f" + signed(t, "/paid/f", expired), 410, "410 Gone\n", nil}, {"/paid/a.js" + signed(t, "/paid/f", expired), 403, "no", nil},
			{"/paid/f" + file + "&" + file[1:], 400, "400 Bad Request\n", nil}, {"/paid/f" + file + "&fs=", 400, "400 Bad Request\n", nil},
			{"/paid/f" + file[:len(file)-2], 403, "no", nil}, {"/paid/f" + strings.Replace(file, ".", "%2E", 1), 403, "no", nil},
			{"/%70aid/f" + file, 200, "secret", nil}, {"//paid//.//f" + file, 200, "secret", nil}, {"/paid/x/../f" + file, 200, "secret", nil},
			{"/paid%2ff" + file, 200, "secret", nil}, {"/paid%2Ff" + file, 200, "secret", nil}, {"/paid/x%2f..%2ff" + file, 400, "400 Bad Request\n", nil},
			{"/paid/f/" + file, 403, "no", nil}, {"/paid/a%20b%2Bc" + signed(t, "/paid/a b+c"), 200, "plus", nil},
			{"/paid/a%20b+c" + signed(t, "/paid/a b+c"), 200, "plus", nil}, {"/paid/a+b+c" + signed(t, "/paid/a b+c"), 403, "no", nil},
			{"/paid/%C3%A9" + signed(t, "/paid/\u00e9"), 200, "composed", nil}, {"/paid/e%CC%81" + signed(t, "/paid/\u00e9"), 403, "no", nil},
			{"/paid/a.js" + signed(t, "/paid/a.js"), 200, "packed", []string{"Accept-Encoding: gzip"}},
			{"/paid/a.js.gz" + signed(t, "/paid/a.js"), 403, "no", nil}, {"/paid/a.js" + signed(t, "/paid/a.js.gz"), 403, "no", nil},
			{"/paid/with/" + dir, 200, "index", nil}, {"/paid/with/" + signed(t, "/paid/with/"), 200, "index", nil},
			{"/paid/with/" + signed(t, "/paid/with/index.html"), 403, "no", nil}, {"/paid/with/index.html" + signed(t, "/paid/with/"), 200, "index", nil},
			{"/paid/dir/" + signed(t, "/paid/with/"), 403, "no", nil}, {"/paid/none" + dir, 404, "404 Not Found\n", nil}, {"/paid/none" + file, 403, "no", nil},
			{"/try/x" + signed(t, "/try/x"), 403, "no", nil}, {"/try/x" + file, 200, "secret", nil},
			{"/paid/echo" + dir, 200, "handled", nil}, {"/paid/echo", 403, "no", nil},
			{"/paid/f" + signed(t, "/paid/f", func(p *server.LinkPolicy) { p.Host = "files.example" }), 200, "secret", nil},
			{"/paid/f" + signed(t, "/paid/f", func(p *server.LinkPolicy) { p.Host = "file.example" }), 403, "no", nil},
		} {
			r := c.do("GET", test.target, test.fields...)
			if r.status != test.status || string(r.body) != test.body {
				t.Errorf("%s: %d %q, want %d %q", test.target, r.status, r.body, test.status, test.body)
			}
			if private := strings.HasPrefix(test.target, "/paid/f?") && r.status == 200; private && (r.get("Cache-Control") != "private" || r.get("Referrer-Policy") != "no-referrer") {
				t.Errorf("%s: %v", test.target, r.fields)
			}
		}
		if r := c.get("/paid/a.js" + dir); r.get("Cache-Control") != "max-age=1" {
			t.Errorf("what the place says does not count: %v", r.fields)
		}
		if r := c.do("HEAD", "/paid/f"+file); r.status != 200 || r.get("Content-Length") != "6" {
			t.Errorf("HEAD: %d", r.status)
		}
		if r := c.get("/paid/dir" + dir); r.status != 301 || r.get("Location") != "/paid/dir/"+dir {
			t.Errorf("a directory: %d %q", r.status, r.get("Location"))
		}
		if r := c.get("/paid/dir/" + dir); r.status != 200 || !strings.Contains(string(r.body), ">x<") {
			t.Errorf("a listing: %d", r.status)
		}
		for range 2 { // from the disk, and from memory
			r := c.get("/paid/f" + signed(t, "/paid/f", func(p *server.LinkPolicy) { p.FileName = "naïve/x.txt" }))
			if got := r.get("Content-Disposition"); got != `attachment; filename="na_ve_x.txt"; filename*=UTF-8''na%C3%AFve_x.txt` || string(r.body) != "secret" {
				t.Errorf("%q %q", got, r.body)
			}
		}
		c.get("/paid/f"+file).want(t, 200, "secret")
	})
}

func TestSecureLink(t *testing.T) {
	g := start(t, engine.DriverFallback, paid(t))
	link := func(path, expires string) string {
		sum := md5.Sum([]byte(expires + path + " secret")) //nolint:gosec // what nginx has
		return path + "?md5=" + base64.RawURLEncoding.EncodeToString(sum[:]) + "&expires=" + expires
	}
	c := g.dial()
	for target, status := range map[string]int{
		"/nx/f": 403, link("/nx/f", "9999999999"): 200, link("/nx/f", "1"): 410, "/nx" + link("/f", "9999999999"): 403, link("/nx/with/", "9999999999"): 200,
		"/nx/f?fs=x": 403,
	} {
		if r := c.get(target); r.status != status {
			t.Errorf("%s: %d, want %d", target, r.status, status)
		}
	}
}

// A link is a secret: no log has it, also where it is refused or not asked for.
func TestLinksAreNotLogged(t *testing.T) {
	for _, format := range []server.LogFormat{server.LogCombined, server.LogJSON} {
		var buf bytes.Buffer
		cfg := paid(t)
		cfg.AccessLog = server.NewAccessLogIn(format, &buf)
		g := start(t, engine.DriverFallback, cfg)
		link := signed(t, "/paid/f", func(p *server.LinkPolicy) { p.User = "alice" })
		c := g.dial()
		c.get("/paid/f"+link).want(t, 200)
		c.get("/f"+link, "Referer: http://files.example/paid/f"+link).want(t, 200)
		c.get("/paid/x"+link).want(t, 403)
		c.get("/paid/f"+link+"&x=1&fs=***").want(t, 400)
		for _, line := range g.lines(cfg.AccessLog, &buf) {
			if strings.Contains(line, link[len(link)-20:]) || !strings.Contains(line, "?fs=***") {
				t.Errorf("%s", line)
			}
			if has := strings.Contains(line, "alice"); has != (strings.Contains(line, "/paid/f?") && !strings.Contains(line, "Referer") && strings.Contains(line, "200") && !strings.Contains(line, "http://")) {
				t.Errorf("the user: %s", line)
			}
		}
	}
}

// A key that is new counts from the reload on, and one that is gone no more.
func TestLinkKeysChange(t *testing.T) {
	cfg := paid(t)
	g := start(t, engine.DriverFallback, cfg)
	link := signed(t, "/paid/f")
	c := g.dial()
	c.get("/paid/f"+link).want(t, 200, "secret")
	for _, keys := range []map[string]string{{"k2": "/dev/null"}, {"k2": "/none"}, nil} {
		bad := cfg
		bad.Identity.Links.Keys = keys
		if err := g.srv.Swap(bad); err == nil {
			t.Errorf("%v are taken", keys)
		}
	}
	other := filepath.Join(t.TempDir(), "k2")
	writeFile(t, other, []byte(strings.Repeat("z", 16)))
	cfg.Identity.Links.Keys = map[string]string{"k2": other}
	mustSwap(t, g.srv, cfg)
	c.get("/paid/f"+link).want(t, 403)
}

// Handlers of net/http answer as the server does.
func TestLinksNetHTTP(t *testing.T) {
	cfg := paid(t)
	cfg.Routes = nil
	h, err := nethttp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(h)
	defer func() { front.Close(); h.Close() }()
	for target, status := range map[string]int{
		"/paid/f": 403, "/paid/f" + signed(t, "/paid/f"): 200, "/paid/f" + signed(t, "/paid/f", expired): 410, "/paid/a.js" + signed(t, "/paid/f"): 403,
		"/paid/f" + signed(t, "/paid/f", func(p *server.LinkPolicy) { p.FileName = "n" }): 200,
	} {
		resp, err := http.Get(front.URL + target)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%s: %d, want %d", target, resp.StatusCode, status)
		}
	}
}

// A linked file is limited as the link says, whatever else is.
func TestLinkLimits(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := paid(t)
		cfg.Engine.Limits = new(shape.Config)
		g := start(t, d, cfg)
		g.pattern("paid/large", 1, 400_000)
		began := time.Now()
		r := g.once("GET", "/paid/large"+signed(t, "/paid/large", func(p *server.LinkPolicy) { p.Rate = 400_000 }))
		if took := time.Since(began); r.status != 200 || len(r.body) != 400_000 || took < 300*time.Millisecond {
			t.Errorf("%d, %d bytes in %v", r.status, len(r.body), took)
		}
	})
}

// A file that a handler sends is limited, saved and logged as one without a handler is: by who asks.
func TestLinksOfRoutes(t *testing.T) {
	var buf bytes.Buffer
	cfg := paid(t)
	cfg.Engine.Limits = new(shape.Config)
	cfg.AccessLog = server.NewAccessLog(&buf)
	cfg.Routes = []server.Route{{Prefix: "/paid/r/", Handler: serveFile}, {Prefix: "/paid/l/", Handler: serveFile, Blocking: true}}
	g := start(t, engine.DriverFallback, cfg)
	for _, dir := range []string{"/r/", "/l/"} {
		g.pattern(dir+"large", 1, 400_000)
		link := signed(t, "/paid"+dir, func(p *server.LinkPolicy) { p.User, p.Rate, p.FileName = "alice", 400_000, "n.txt" })
		began := time.Now()
		r := g.once("GET", "/paid"+dir+"large"+link)
		if took := time.Since(began); r.status != 200 || len(r.body) != 400_000 || took < 300*time.Millisecond || !strings.Contains(r.get("Content-Disposition"), "n.txt") {
			t.Errorf("%s: %d, %d bytes in %v, %q", dir, r.status, len(r.body), took, r.get("Content-Disposition"))
		}
	}
	for _, line := range g.lines(cfg.AccessLog, &buf) {
		if !strings.Contains(line, " - alice [") {
			t.Errorf("%s", line)
		}
	}
}

// members is the configuration of places that ask for a key or a token, with a token of alice that is
// good and one that is over.
func members(t testing.TB) (cfg server.Config, good, over string) {
	root := dirWith(t, "f", "root", "in/f", "inside", "key/f", "keyed", "any/f", "any")
	secret := []byte(strings.Repeat("s", 32))
	name, keys := filepath.Join(t.TempDir(), "secret"), filepath.Join(t.TempDir(), "keys")
	writeFile(t, name, secret)
	hash := sha256.Sum256([]byte("the key of bob"))
	writeFile(t, keys, []byte("bob "+hex.EncodeToString(hash[:])+"\n"))
	cfg = paid(t)
	cfg.Site, cfg.Routes = server.Site{Root: root}, nil
	cfg.Locations = nil
	for match, ways := range map[string]server.Ways{"/in/": server.ByToken, "/key/": server.ByKey, "/any/": server.ByToken | server.ByKey | server.ByLink} {
		cfg.Locations = append(cfg.Locations, server.Location{Match: match, Site: server.Site{Root: root, Require: ways, Realm: "R"}})
	}
	cfg.Identity.Keys = keys
	cfg.Identity.Issuers = map[string]server.IdentityIssuer{"id": {Audience: []string{"here"}, Algorithms: []string{"HS256"}, Secret: name}}
	sign := func(d time.Duration) string {
		k := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": "id", "aud": "here", "sub": "alice", "exp": time.Now().Add(d).Unix()})
		s, err := k.SignedString(secret)
		if err != nil {
			t.Fatal(err)
		}
		return "Authorization: Bearer " + s
	}
	return cfg, sign(time.Hour), sign(-time.Hour)
}

func TestKeysAndTokens(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg, good, over := members(t)
		g := start(t, d, cfg)
		bob, wrong := "X-API-Key: the key of bob", "X-API-Key: the key of no one"
		const challenge, invalid = `Bearer realm="R"`, `Bearer realm="R", error="invalid_token"`
		for range 2 { // the second time the tokens are known
			c := g.dial()
			for _, test := range []struct {
				target    string
				fields    []string
				status    int
				challenge string
			}{
				{"/f", nil, 200, ""}, {"/f", []string{over}, 200, ""}, {"/f", []string{good, good}, 200, ""},
				{"/in/f", nil, 401, challenge}, {"/in/none", nil, 401, challenge}, {"/in/f", []string{bob}, 401, challenge},
				{"/in/f", []string{good}, 200, ""}, {"/in/none", []string{good}, 404, ""}, {"/in/f", []string{good, bob}, 200, ""},
				{"/in/f", []string{over}, 401, invalid + `, error_description="it has expired"`}, {"/in/f", []string{good + "x"}, 401, invalid},
				{"/in/f", []string{"Authorization: Basic am9lOng="}, 401, challenge}, {"/in/f", []string{"Authorization: Bearer x"}, 401, invalid},
				{"/in/f", []string{good, good}, 400, ""}, {"/in/f", []string{good, over}, 400, ""},
				{"/in/f", []string{"Authorization: Bearer " + strings.Repeat("a.", 5000) + "b"}, 401, invalid},
				{"/key/f", nil, 401, challenge}, {"/key/f", []string{bob}, 200, ""}, {"/key/f", []string{wrong}, 401, invalid}, {"/key/f", []string{good}, 401, invalid},
				{"/key/f", []string{"Authorization: Bearer the key of bob"}, 200, ""}, {"/key/f", []string{bob, bob}, 400, ""},
				{"/any/f", nil, 401, challenge}, {"/any/f", []string{bob}, 200, ""}, {"/any/f", []string{good}, 200, ""}, {"/any/f", []string{good, wrong}, 401, invalid},
				{"/any/f", []string{over, bob}, 401, invalid + `, error_description="it has expired"`},
				{"/any/f" + signed(t, "/any/f"), nil, 200, ""}, {"/any/f" + signed(t, "/any/x"), []string{bob}, 403, ""},
			} {
				r := c.do("GET", test.target, test.fields...)
				if r.status != test.status || r.get("WWW-Authenticate") != test.challenge {
					t.Errorf("%s %.60q: %d %q, want %d %q", test.target, test.fields, r.status, r.get("WWW-Authenticate"), test.status, test.challenge)
				}
				if r.status == 200 && test.target != "/f" && (r.get("Cache-Control") != "private" || r.get("Vary") != "Authorization, X-API-Key") {
					t.Errorf("%s: %v", test.target, r.fields)
				}
			}
		}
	})
}

// The line of a request has the user that its token or key is of, and neither of these.
func TestUserOfToken(t *testing.T) {
	var buf bytes.Buffer
	cfg, good, over := members(t)
	cfg.AccessLog = server.NewAccessLogIn(server.LogCombined, &buf)
	g := start(t, engine.DriverFallback, cfg)
	c := g.dial()
	c.get("/in/f", good).want(t, 200)
	c.get("/key/f", "X-API-Key: the key of bob").want(t, 200)
	c.get("/in/f", over).want(t, 401)
	c.get("/f", good).want(t, 200)
	for i, line := range g.lines(cfg.AccessLog, &buf) {
		if want := []string{" - alice [", " - bob [", " - - [", " - - ["}[i]; !strings.Contains(line, want) {
			t.Errorf("line %d: %s", i, line)
		}
	}
}

func TestTokensNetHTTP(t *testing.T) {
	cfg, good, over := members(t)
	h, err := nethttp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(h)
	defer func() { front.Close(); h.Close() }()
	for i, want := range []int{401, 200, 200, 401, 400} {
		req, err := http.NewRequest("GET", front.URL+"/in/f", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range [][]string{nil, {good}, {good}, {over}, {good, good}}[i] {
			req.Header.Add("Authorization", strings.TrimPrefix(f, "Authorization: "))
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%d: %d, want %d", i, resp.StatusCode, want)
		}
	}
}

// A user has the rate of its tier over all its connections, in place of that of each client; who proves
// nothing that of its network. Its limit is seen while it runs.
func TestTierLimits(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg, good, _ := members(t)
		slow, err := server.ParseNetworks([]string{"127.0.0.0/8"})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Identity.Tiers = map[string]server.Tier{"low": {Rate: 200_000, Networks: slow}, "mid": {Rate: 400_000}}
		issuer := cfg.Identity.Issuers["id"]
		issuer.Tier = "sub" // alice is a tier, too
		issuer.Tiers = map[string]string{"alice": "mid"}
		cfg.Identity.Issuers["id"] = issuer
		cfg.Engine.Limits = &shape.Config{Client: shape.Limit{Rate: 1 << 30}}
		g := start(t, d, cfg)
		g.pattern("in/large", 1, 200_000)
		g.pattern("large", 2, 200_000)
		for _, test := range []struct {
			target string
			field  string
			least  time.Duration // for two of them
		}{{"/in/large", good, 800 * time.Millisecond}, {"/large", "X-A: b", 1600 * time.Millisecond}} {
			began := time.Now()
			a, b := g.dialWith(4096), g.dialWith(4096)
			for _, c := range []*client{a, b} {
				c.send(request("GET", test.target, test.field))
			}
			seen := func() bool {
				list, _ := g.srv.Engine().Connections(loop.ByAge, 10)
				return slices.ContainsFunc(list, func(c loop.ConnInfo) bool { return c.Client == "alice" && c.Group == "mid" })
			}
			if test.field == good && !testenv.Eventually(patience, seen) {
				t.Error("nobody of the tier is seen")
			}
			for _, c := range []*client{a, b} {
				if r := c.read("GET"); r.status != 200 || len(r.body) != 200_000 {
					t.Errorf("%s: %d, %d bytes", test.target, r.status, len(r.body))
				}
			}
			if took := time.Since(began); took < test.least {
				t.Errorf("%s took %v, at least %v", test.target, took, test.least)
			}
		}
	})
}

// Users have the bounds of their tier whatever their address, paths have their own, and requests are
// counted before what they prove is looked at.
func TestUserAdmission(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg, good, over := members(t)
		cfg.Identity.Tiers = map[string]server.Tier{"member": {Connections: 1, Requests: server.RequestRate{Requests: 4, Per: time.Hour, Burst: 4}}}
		issuer := cfg.Identity.Issuers["id"]
		issuer.Tier, issuer.Tiers = "sub", map[string]string{"alice": "member"}
		cfg.Identity.Issuers["id"] = issuer
		cfg.Admission.Paths = map[string]server.AdmissionPath{"/any/": {Requests: server.RequestRate{Requests: 1, Per: time.Hour}}, "/key/": {Downloads: 1}}
		cfg.Engine.Limits = new(shape.Config)
		g := start(t, d, cfg)
		g.pattern("in/large", 1, 64<<20)
		g.pattern("key/large", 1, 64<<20)
		bob := "X-API-Key: the key of bob"

		first := g.dialWith(4096)
		first.send(request("GET", "/in/large", good))
		under := func(n int) func() bool { return func() bool { return g.srv.Admission().UnderWay() == n } }
		if !testenv.Eventually(patience, under(1)) {
			t.Fatal("it does not begin")
		}
		other := g.dial()
		if r := other.get("/in/f", good); r.status != 429 || r.get("Retry-After") == "" {
			t.Errorf("a second download of alice: %d", r.status)
		}
		other.get("/in/f").want(t, 401)
		first.conn.Close()
		if !testenv.Eventually(patience, under(0)) {
			t.Fatal("it does not end")
		}
		for _, want := range []int{200, 200, 200, 429} { // what was refused is not counted
			if r := other.get("/in/f", good); r.status != want {
				t.Errorf("alice: %d, want %d", r.status, want)
			}
		}
		other.get("/any/f", bob).want(t, 200)
		other.get("/any/f", bob).want(t, 503)

		first = g.dialWith(4096)
		first.send(request("GET", "/key/large", bob))
		if !testenv.Eventually(patience, under(1)) {
			t.Fatal("it does not begin")
		}
		other.get("/key/f", bob).want(t, 503)
		other.get("/f").want(t, 200)
		first.conn.Close()
		if !testenv.Eventually(patience, under(0)) {
			t.Fatal("it does not end")
		}

		cfg.Admission.Requests = server.RequestRate{Requests: 1, Per: time.Hour, Burst: 12}
		mustSwap(t, g.srv, cfg)
		for _, want := range []int{401, 401, 401, 429} { // the last one is not verified
			if r := other.get("/in/f", over+"x"); r.status != want {
				t.Errorf("a bad token: %d, want %d", r.status, want)
			}
		}
	})
}

// A link in a cookie counts for GET and HEAD, unless there is one in the query.
func TestLinkInCookie(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := paid(t)
		cfg.Identity.Links.Cookie = "dl"
		g := start(t, d, cfg)
		c := g.dial()
		good, bad := strings.TrimPrefix(signed(t, "/paid/"), "?fs="), strings.TrimPrefix(signed(t, "/else/"), "?fs=")
		for _, test := range []struct {
			method, target, cookie string
			status                 int
		}{
			{"GET", "/paid/f", "a=b; dl=" + good, 200}, {"HEAD", "/paid/f", "dl=" + good, 200}, {"GET", "/paid/f", `dl="` + good + `"`, 200},
			{"GET", "/paid/f", "dl=" + bad, 403}, {"GET", "/paid/f", "fs=" + good, 403}, {"GET", "/paid/f", "dl=" + bad + "; dl=" + good, 200},
			{"GET", "/paid/f", "dl=" + good + "; dl=junk", 200}, {"GET", "/paid/f", "dl=" + bad + "; dl=" + bad, 403},
			{"GET", "/paid/f?fs=" + bad, "dl=" + good, 403}, {"DELETE", "/paid/f", "dl=" + good, 403}, {"POST", "/paid/echo", "dl=" + good, 403},
		} {
			if r := c.do(test.method, test.target, "Cookie: "+test.cookie); r.status != test.status {
				t.Errorf("%s %s, cookie %.20s: %d, want %d", test.method, test.target, test.cookie, r.status, test.status)
			} else if r.status == 200 && !slices.Contains(r.fields["Vary"], "Cookie") { // a cache would give it to those who have none
				t.Errorf("%s %s: Vary %q", test.method, test.target, r.fields["Vary"])
			}
		}
	})
}

// What was taken back counts no more, after a new start either.
func TestDeny(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := paid(t)
		cfg.Identity.DenialsFile = filepath.Join(t.TempDir(), "state", "denied.json")
		g := start(t, d, cfg)
		of := func(id, user string) string {
			return "/paid/f" + signed(t, "/paid/f", func(p *server.LinkPolicy) { p.ID, p.User = id, user })
		}
		now, hour := time.Now().Unix(), time.Now().Add(time.Hour).Unix()
		want := func(g *rig, path string, status int) {
			t.Helper()
			if r := g.dial().get(path); r.status != status {
				t.Errorf("%d, want %d", r.status, status)
			}
		}
		for _, e := range []server.Denial{{Kind: "link", Name: "7", Until: hour}, {Kind: "user", Name: "joe", Until: hour}, {Kind: "user", Name: "ann", Until: now}} {
			if err := g.srv.Identity().Deny(e, now); err != nil {
				t.Fatal(err)
			}
		}
		check := func(g *rig) {
			t.Helper()
			want(g, of("7", "alice"), 403)
			want(g, of("8", "joe"), 403)
			want(g, of("8", "ann"), 200)
			want(g, of("8", "alice"), 200)
		}
		check(g)
		g = serve(t, d, cfg)
		check(g)
		if err := g.srv.Identity().Deny(server.Denial{Kind: "link", Name: "7"}, now); err != nil {
			t.Fatal(err)
		}
		want(g, of("7", "alice"), 200)
		if list := g.srv.Identity().Denials(); len(list) != 1 || list[0].Name != "joe" {
			t.Errorf("%+v", list)
		}
	})
}

// A token that was verified in vain counts for ten requests, and one that is known to be bad for one.
func TestBadTokensArePaidFor(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg, good, _ := members(t)
		cfg.Admission.Requests = server.RequestRate{Requests: 1, Per: time.Hour, Burst: 25}
		g := start(t, d, cfg)
		c := g.dial()
		bad := good[:len(good)-4] + "AAAA"
		c.get("/in/f", good).want(t, 200, "inside")
		for i, want := range []int{401, 401, 401, 401, 401} { // 1 + 10 + 4
			if r := c.get("/in/f", bad); r.status != want {
				t.Errorf("bad token %d: %d, want %d", i, r.status, want)
			}
		}
		for i, want := range []int{401, 429} { // 10 more
			if r := c.get("/in/f", bad[:len(bad)-2]+strings.Repeat("B", i+1)+"A"); r.status != want {
				t.Errorf("another bad token: %d, want %d", r.status, want)
			}
		}
	})
}
