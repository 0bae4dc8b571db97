package server_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/valyala/fasthttp"
	"golang.org/x/crypto/bcrypt"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/nethttp"
)

// passwordFile makes a file of users and passwords in turn, with hashes of some cost.
func passwordFile(t testing.TB, cost int, users ...string) string {
	t.Helper()
	var out strings.Builder
	for i := 0; i < len(users); i += 2 {
		hash, err := bcrypt.GenerateFromPassword([]byte(users[i+1]), cost)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s:%s\n", users[i], hash)
	}
	name := filepath.Join(t.TempDir(), "users")
	replace(t, name, []byte(out.String()))
	return name
}

func authorization(user, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

const wrongChallenge = `Basic realm="a \"b\" c", charset="UTF-8"`

// vault is the configuration of places that ask for a password, for joe with the password pa:ss.
func vault(t testing.TB) server.Config {
	root := dirWith(t, "f", "root", "vault/f", "secret", "vault/a.js", "plain", "vault/a.js.gz", "packed", "vault/dir/x", "x", "401.html", "who are you", "404.html", "nothing")
	in := server.Site{
		Root: root, PasswordFile: passwordFile(t, bcrypt.MinCost, "joe", "pa:ss"), Realm: `a "b" c`, Precompressed: true, Listing: true,
		ErrorPages: map[int]server.Page{401: {Path: "/401.html"}, 404: {Path: "/404.html"}},
	}
	either := in
	either.Access, either.Either = access(t, "192.0.2.0/24", ""), true
	local := in
	local.Access, local.Either = access(t, "127.0.0.0/8", ""), true
	both := in
	both.Access = access(t, "192.0.2.0/24", "")
	return server.Config{
		Site: server.Site{Root: root},
		Locations: []server.Location{
			{Match: "/try/", Site: server.Site{Root: root, Try: []string{"$uri", "/vault/f"}}},
			{Match: "/vault/", Site: in}, {Match: "/either/", Alias: true, Site: either}, {Match: "/local/", Alias: true, Site: local}, {Match: "/both/", Alias: true, Site: both},
		},
		Routes: []server.Route{
			{Prefix: "/vault/echo", Handler: func(ctx *fasthttp.RequestCtx) { ctx.Write(ctx.PostBody()) }},
			{Prefix: "/vault/slow", Blocking: true, Handler: func(ctx *fasthttp.RequestCtx) { ctx.Write(ctx.PostBody()) }},
		},
	}
}

func TestPassword(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, vault(t))
		joe := authorization("joe", "pa:ss")
		for range 2 { // the second time the verdict is known
			c := g.dial()
			for _, test := range []struct {
				method, target string
				fields         []string
				status         int
			}{
				{"GET", "/f", nil, 200},
				{"GET", "/vault/f", nil, 401},
				{"HEAD", "/vault/f", nil, 401},
				{"GET", "/vault/none", nil, 401},
				{"GET", "/vault/dir/", nil, 401},
				{"GET", "/vault/a.js.gz", nil, 401},
				{"GET", "/vault/a.js", []string{"Accept-Encoding: gzip"}, 401},
				{"GET", "/vault/f", []string{"Range: bytes=0-0"}, 401},
				{"GET", "/vault/f", []string{"If-None-Match: *"}, 401},
				{"GET", "/%76ault//./f", nil, 401},
				{"POST", "/vault/echo", []string{"Content-Length: 0"}, 401},
				{"GET", "/vault/f", []string{joe}, 200},
				{"GET", "/vault/none", []string{joe}, 404},
				{"GET", "/vault/dir/", []string{joe}, 200},
				{"GET", "/vault/a.js", []string{joe, "Accept-Encoding: gzip"}, 200},
				{"GET", "/vault/f", []string{strings.Replace(joe, "Basic", "bASIC ", 1)}, 200},
				{"GET", "/vault/f", []string{authorization("joe", "pa")}, 401},
				{"GET", "/vault/f", []string{authorization("joe", "")}, 401},
				{"GET", "/vault/f", []string{authorization("", "pa:ss")}, 401},
				{"GET", "/vault/f", []string{authorization("nobody", "pa:ss")}, 401},
				{"GET", "/vault/f", []string{"Authorization: Basic %%%"}, 401},
				{"GET", "/vault/f", []string{"Authorization:"}, 401},
				{"GET", "/vault/f", []string{"Authorization: Bearer x"}, 401},
				{"GET", "/vault/f", []string{joe, joe}, 400},
				{"GET", "/vault/f", []string{joe, authorization("joe", "x")}, 400},
				{"GET", "/either/f", nil, 401}, {"GET", "/either/f", []string{joe}, 200},
				{"GET", "/local/f", nil, 200}, {"GET", "/local/f", []string{authorization("joe", "x")}, 200},
				{"GET", "/try/x", nil, 401}, {"GET", "/try/y", []string{joe}, 200}, {"GET", "/try/y", []string{authorization("joe", "y")}, 401},
				{"GET", "/both/f", []string{joe}, 403}, {"GET", "/both/f", nil, 403},
			} {
				r := c.do(test.method, test.target, test.fields...)
				if r.status != test.status {
					t.Errorf("%s %s %q: %d, want %d", test.method, test.target, test.fields, r.status, test.status)
				}
				challenge, page := "", ""
				if test.status == 401 {
					challenge, page = wrongChallenge, "who are you"
				}
				if got := r.get("WWW-Authenticate"); got != challenge {
					t.Errorf("%s %s %q: challenge %q", test.method, test.target, test.fields, got)
				}
				if page != "" && test.method == "GET" && string(r.body) != page {
					t.Errorf("%s %s %q: %q", test.method, test.target, test.fields, r.body)
				}
			}
		}
	})
}

// A handler gets its body also if the password was checked before it came, whole or in parts.
func TestPasswordBeforeABody(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		for _, target := range []string{"/vault/echo", "/vault/slow"} {
			g := start(t, d, vault(t))
			joe := authorization("joe", "pa:ss")
			c := g.dial()
			c.send(request("POST", target, "Content-Length: 3", authorization("joe", "x")) + "abc" +
				request("POST", target, "Content-Length: 3", joe) + "abc" + request("POST", target, "Transfer-Encoding: chunked", joe) + "2\r\nde\r\n0\r\n\r\n")
			c.read("POST").want(t, 401)
			c.read("POST").want(t, 200, "abc")
			c.read("POST").want(t, 200, "de")
			g = start(t, d, vault(t)) // nothing is known of the password
			c = g.dial()
			c.send(request("POST", target, "Content-Length: 6", "Expect: 100-continue", joe))
			if interim, err := c.r.ReadString('\n'); err != nil || !strings.HasPrefix(interim, "HTTP/1.1 100 ") {
				t.Fatalf("%q, %v", interim, err)
			}
			_, _ = c.r.ReadString('\n')
			c.send("abc")
			c.send("def" + request("GET", "/f"))
			c.read("POST").want(t, 200, "abcdef")
			c.read("GET").want(t, 200, "root")
		}
	})
}

// A user who is gone from the file is not answered any more, without a reload.
func TestPasswordFileChanges(t *testing.T) {
	cfg := vault(t)
	g := start(t, engine.DriverFallback, cfg)
	name := cfg.Locations[1].PasswordFile
	status := func(user, password string) int {
		return g.once("GET", "/vault/f", authorization(user, password)).status
	}
	if got := status("joe", "pa:ss"); got != 200 {
		t.Fatalf("%d", got)
	}
	content, err := os.ReadFile(passwordFile(t, bcrypt.MinCost, "ann", "new"))
	if err != nil {
		t.Fatal(err)
	}
	replace(t, name, content)
	if !testenv.Eventually(patience, func() bool { return status("joe", "pa:ss") == 401 }) || status("ann", "new") != 200 {
		t.Errorf("joe: %d, ann: %d", status("joe", "pa:ss"), status("ann", "new"))
	}
	replace(t, name, []byte("ann:plain\n"))
	const failure = "password file not reloaded: going on with the last good one"
	if !testenv.Eventually(patience, func() bool { return status("ann", "new") == 200 && g.logs.count(failure) == 1 }) {
		t.Errorf("%d failures logged", g.logs.count(failure))
	}
	next := cfg
	next.Locations = nil
	mustSwap(t, g.srv, next)
	g.once("GET", "/vault/f").want(t, 200, "secret")
	if err := g.srv.Swap(cfg); err == nil {
		t.Error("a file with a plain password is taken")
	}
}

// Ten thousand guesses at a time keep the loops free: whoever finds no room is told so.
func TestManyWrongPasswords(t *testing.T) {
	const guesses, clients = 10_000, 1000
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := vault(t)
		cfg.Locations[1].PasswordFile = passwordFile(t, 8, "joe", "pa:ss")
		g := start(t, d, cfg)
		var all sync.WaitGroup
		var mu sync.Mutex
		by := make(map[int]int)
		conns := make([]*client, clients)
		for i := range conns {
			conns[i] = g.dial()
		}
		for i, c := range conns {
			all.Go(func() {
				for j := range guesses / clients {
					c.send(request("GET", "/vault/f", authorization("joe", fmt.Sprint(i, j))))
					r, err := readResponse(c.r, "GET")
					if err != nil {
						t.Errorf("guess %d of %d: %v", j, i, err)
						return
					}
					mu.Lock()
					by[r.status]++
					mu.Unlock()
					if r.status == 429 && r.get("Retry-After") == "" {
						t.Error("no Retry-After")
					}
				}
			})
		}
		other := g.dial()
		for range 100 {
			other.get("/f").want(t, 200, "root")
		}
		all.Wait()
		t.Logf("%v", by)
		if by[401]+by[429]+by[503] != guesses || by[429] == 0 || by[401] == 0 {
			t.Errorf("%v", by)
		}
		denied := g.srv.Stats().Sessions[0].Denied
		for _, s := range g.srv.Stats().Sessions[1:] {
			for i := range denied {
				denied[i] += s.Denied[i]
			}
		}
		if n := denied[admit.Insistent]; int(n) != by[429] {
			t.Errorf("%d are counted, %d were refused", n, by[429])
		}
	})
}

// The log names the user whose password was asked for, and nobody elsewhere.
func TestUserInAccessLog(t *testing.T) {
	for _, format := range []server.LogFormat{server.LogCombined, server.LogJSON} {
		var buf bytes.Buffer
		cfg := vault(t)
		cfg.AccessLog = server.NewAccessLogIn(format, &buf)
		g := start(t, engine.DriverFallback, cfg)
		c := g.dial()
		c.get("/vault/f", authorization("joe", "pa:ss")).want(t, 200)
		c.get("/vault/f", authorization("a \"b\"\n", "x")).want(t, 401)
		c.get("/vault/f").want(t, 401)
		c.get("/f", authorization("joe", "pa:ss")).want(t, 200)
		lines := g.lines(cfg.AccessLog, &buf)
		for i, want := range [][2]string{{" - joe [", `"user":"joe"`}, {` - a \x22b\x22\x0A [`, `"user":"a \"b\"\u000a"`}, {" - - [", ""}, {" - - [", ""}} {
			if has := want[format]; !strings.Contains(lines[i], has) || has == "" && strings.Contains(lines[i], `"user"`) || strings.Contains(lines[i], "pa:ss") {
				t.Errorf("line %d: %s", i, lines[i])
			}
		}
	}
}

// Handlers of net/http answer as the server does.
func TestPasswordNetHTTP(t *testing.T) {
	cfg := vault(t)
	cfg.Routes = nil // it takes none
	h, err := nethttp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(h)
	defer func() { front.Close(); h.Close() }()
	for _, test := range []struct {
		user, password string
		status         int
	}{{"", "", 401}, {"joe", "x", 401}, {"joe", "pa:ss", 200}, {"joe", "pa:ss", 200}, {"twice", "", 400}} {
		req, err := http.NewRequest("GET", front.URL+"/vault/f", nil)
		if err != nil {
			t.Fatal(err)
		}
		if test.user != "" {
			req.SetBasicAuth(test.user, test.password)
		}
		if test.user == "twice" {
			req.Header.Add("Authorization", "Basic am9lOnBhOnNz")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != test.status || (resp.Header.Get("WWW-Authenticate") == wrongChallenge) != (test.status == 401) || (string(body) == "secret") != (test.status == 200) {
			t.Errorf("%s: %d %q", test.user, resp.StatusCode, body)
		}
	}
}
