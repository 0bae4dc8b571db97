package main_test

import (
	"crypto/md5" //nolint:gosec // what nginx has
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fserve/fserve/server/link"
)

const linkSecret = "0123456789abcdef0123456789abcdef"

// withKey is a configuration with a key of signed links, and more that is said of links.
func withKey(name, more string) string {
	return fmt.Sprintf("identity: {links: {keys: {%s: DIR/%s.key}%s}}", name, name, more)
}

// signedLink is seen when a link counts that a key has signed.
func signedLink(key, param string, lasts time.Duration) func(*live) bool {
	return func(l *live) bool { return l.get("/?"+param+"="+linkFor(l.t, key, lasts)).StatusCode == 200 }
}

// linkFor returns a link for all paths.
func linkFor(t *testing.T, key string, lasts time.Duration) string {
	t.Helper()
	k := link.Key{ID: key, Secret: []byte(linkSecret + key)}
	value, err := k.Sign(&link.Policy{Path: "/", Expires: time.Now().Add(lasts)})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// keyLine is the line of a file of API keys.
func keyLine(key string) string { return fmt.Sprintf("user %x\n", sha256.Sum256([]byte(key))) }

// withIssuer is a configuration that asks for a token for an audience, and tokenFor is one.
func withIssuer(audience string) string {
	return "identity: {jwt: {id: {audience: " + audience + ", algorithms: HS256, secret: DIR/k1.key}}}\nrequire: jwt"
}

func tokenFor(t testing.TB, audience string) string {
	k := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": "id", "aud": audience, "sub": "u", "exp": time.Now().Add(time.Hour).Unix()})
	s, err := k.SignedString([]byte(linkSecret + "k1"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tierSeen is seen when a response is counted as one of a tier.
func tierSeen(name string) func(*live) bool {
	return func(l *live) bool {
		l.get("/")
		return strings.Contains(l.admin("GET", "/metrics", ""), `fserve_tier_responses_total{tier="`+name+`"} 1`)
	}
}

// md5Link is seen when a link counts with the hash of a text.
func md5Link(text string) func(*live) bool {
	sum := md5.Sum([]byte(text)) //nolint:gosec // what nginx has
	return func(l *live) bool {
		return l.get("/?h="+base64.RawURLEncoding.EncodeToString(sum[:])).StatusCode == 200
	}
}

// What sign makes is what the server wants, and says what it was told.
func TestSign(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "k1"), linkSecret+"\n")
	writeFile(t, filepath.Join(dir, "root/a b/f.txt"), "content")
	writeFile(t, filepath.Join(dir, "f.yaml"), "root: root\nidentity: {links: {keys: {k1: k1}}}\nrequire: link\n")
	p := serve(t, nil, "-c", filepath.Join(dir, "f.yaml"), "--listen", "127.0.0.1:0")
	key := "--key=k1=" + filepath.Join(dir, "k1")
	sign := func(args ...string) string {
		t.Helper()
		r := fserve(t, nil, append([]string{"sign", key}, args...)...)
		if r.code != 0 {
			t.Fatal(r.stderr)
		}
		return strings.TrimSpace(r.stdout)
	}
	file := p.url("/a%20b/f.txt")
	for _, c := range []struct {
		url  string
		want int
	}{
		{file, 403}, {sign(file), 200}, {sign(file, "--for=-1s"), 410}, {sign(file, "--after=1h", "--for=2h"), 403},
		{sign(file, "--network=127.0.0.0/8", "--network=::1"), 200}, {sign(file, "--network=192.0.2.1"), 403},
		{strings.Replace(sign(p.url("/a%20b/")), "/?", "/f.txt?", 1), 200}, {sign(strings.Replace(file, "127.0.0.1", "other.example", 1)), 0},
	} {
		if c.want == 0 {
			c.url, c.want = strings.Replace(c.url, "other.example", "127.0.0.1", 1), 403
		}
		if got := get(t, c.url).StatusCode; got != c.want {
			t.Errorf("%s: %d, want %d", c.url, got, c.want)
		}
	}
	a := get(t, sign(file, "--file-name=other name.txt", "--rate=5MiB/s", "--user=alice", "--id=7"))
	if a.Body != "content" || a.Header.Get("Content-Disposition") != `attachment; filename="other name.txt"` {
		t.Errorf("%q %v", a.Body, a.Header)
	}
	for _, args := range [][]string{{file}, {key}, {"--key=x", file}, {"--key=k=/none", file}, {key, "--rate=5", file}, {key, "--network=x", file}, {key, "relative"},
		{key, "/a%20b/f.txt"}, {key, sign(file)}} {
		if r := fserve(t, nil, append([]string{"sign"}, args...)...); r.code == 0 || r.stdout != "" {
			t.Errorf("%v: %d %s", args, r.code, r.stdout)
		}
	}
}
