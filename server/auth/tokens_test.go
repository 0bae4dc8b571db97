package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server/admit"
)

const iss = "https://id.example.com/"

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// jwks renders the public halves of keys, by their kid.
func jwks(t testing.TB, keys map[string]any) []byte {
	t.Helper()
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	for kid, key := range keys {
		o := jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid, USE: jwkset.UseSig}}
		k := must[jwkset.JWK](t)(jwkset.NewJWKFromKey(key, o))
		set.Keys = append(set.Keys, must[[]byte](t)(json.Marshal(k.Marshal())))
	}
	return must[[]byte](t)(json.Marshal(set))
}

func token(t testing.TB, alg jwt.SigningMethod, kid string, key any, change func(jwt.MapClaims), header ...string) string {
	t.Helper()
	claims := jwt.MapClaims{"iss": iss, "aud": "downloads", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix()}
	if change != nil {
		change(claims)
	}
	k := jwt.NewWithClaims(alg, claims)
	if kid != "" {
		k.Header["kid"] = kid
	}
	for i := 0; i < len(header); i += 2 {
		k.Header[header[i]] = header[i+1]
	}
	return must[string](t)(k.SignedString(key))
}

// opened returns the Methods of a Config.
func opened(t testing.TB, o *Opener, c Config) *Methods {
	t.Helper()
	m, faults := o.Open(&c)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return m
}

// identify asks, and waits for what is to be verified.
func identify(m *Methods, ways Ways, a *Asked) (Caller, admit.Judgement) {
	var c Caller
	a.Now = time.Now().Unix()
	v := m.Identify(&c, &Wants{Ways: ways}, a)
	if v != admit.Unproven {
		return c, v
	}
	done := make(chan Result, 1)
	m.Verify(a, func(r Result) { done <- r })
	switch r := <-done; r {
	case Crowded, Insistent, Unknown:
		return c, map[Result]admit.Judgement{Crowded: admit.Crowded, Insistent: admit.Insistent, Unknown: admit.NoKeys}[r]
	}
	v = m.Identify(&c, &Wants{Ways: ways}, a)
	return c, v
}

func asked(bearer string) *Asked { return &Asked{Authorization: []byte("Bearer " + bearer)} }

func file(t testing.TB, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestTokens(t *testing.T) {
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	stranger, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rs, _ := rsa.GenerateKey(rand.Reader, 2048)
	edPublic, ed, _ := ed25519.GenerateKey(rand.Reader)
	set := jwks(t, map[string]any{"ec": &ec.PublicKey, "rs": &rs.PublicKey, "ed": edPublic})
	secret := bytes.Repeat([]byte("s"), 32)
	var o Opener
	m := opened(t, &o, Config{Issuers: map[string]Issuer{
		iss: {Audience: []string{"downloads", "other"}, Algorithms: []string{"ES256", "RS256", "EdDSA"}, JWKS: file(t, set), Leeway: 10 * time.Second,
			Tier: "tier", Rate: "rate", Connections: "conns", Tiers: map[string]string{"gold": "vip"}},
		"local": {Audience: []string{"downloads"}, Algorithms: []string{"HS256"}, Secret: file(t, secret), User: "uid"},
	}})
	es := func(change func(jwt.MapClaims), header ...string) string {
		return token(t, jwt.SigningMethodES256, "ec", ec, change, header...)
	}
	pem := must[[]byte](t)(json.Marshal(rs.PublicKey)) // whatever bytes are known of a public key
	after := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	none := func() string {
		k := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"iss": iss, "aud": "downloads", "sub": "alice", "exp": after(time.Hour)})
		return must[string](t)(k.SignedString(jwt.UnsafeAllowNoneSignatureType))
	}()
	good := es(nil)
	for _, c := range []struct {
		name, token string
		want        admit.Judgement
	}{
		{"ES256", good, admit.Passed}, {"again", good, admit.Passed},
		{"RS256", token(t, jwt.SigningMethodRS256, "rs", rs, nil), admit.Passed}, {"EdDSA", token(t, jwt.SigningMethodEdDSA, "ed", ed, nil), admit.Passed},
		{"HS256", token(t, jwt.SigningMethodHS256, "", secret, func(c jwt.MapClaims) { c["iss"], c["uid"] = "local", 7 }), admit.Passed},
		{"HS256 without a user", token(t, jwt.SigningMethodHS256, "", secret, func(c jwt.MapClaims) { c["iss"] = "local" }), admit.BadToken},
		{"alg none", none, admit.BadToken},
		{"HS256 by a public key", token(t, jwt.SigningMethodHS256, "rs", pem, nil), admit.BadToken},
		{"an algorithm that is not the issuer's", token(t, jwt.SigningMethodPS256, "rs", rs, nil), admit.BadToken},
		{"the key of another algorithm", token(t, jwt.SigningMethodRS256, "ec", rs, nil), admit.BadToken},
		{"a key of nobody", token(t, jwt.SigningMethodES256, "ec", stranger, nil), admit.BadToken},
		{"a kid that is not known", token(t, jwt.SigningMethodES256, "x", ec, nil), admit.BadToken},
		{"no kid", token(t, jwt.SigningMethodES256, "", ec, nil), admit.BadToken},
		{"an extension", es(nil, "crit", "x"), admit.BadToken},
		{"a key that it brings", token(t, jwt.SigningMethodES256, "x", stranger, nil, "jku", "https://evil.example/jwks", "x5u", "https://evil.example"), admit.BadToken},
		{"another issuer", es(func(c jwt.MapClaims) { c["iss"] = "https://evil.example/" }), admit.BadToken},
		{"no issuer", es(func(c jwt.MapClaims) { delete(c, "iss") }), admit.BadToken},
		{"the other audience", es(func(c jwt.MapClaims) { c["aud"] = []string{"x", "other"} }), admit.Passed},
		{"another audience", es(func(c jwt.MapClaims) { c["aud"] = "uploads" }), admit.BadToken},
		{"no audience", es(func(c jwt.MapClaims) { delete(c, "aud") }), admit.BadToken},
		{"no subject", es(func(c jwt.MapClaims) { delete(c, "sub") }), admit.BadToken},
		{"no expiry", es(func(c jwt.MapClaims) { delete(c, "exp") }), admit.BadToken},
		{"an expiry that is none", es(func(c jwt.MapClaims) { c["exp"] = "tomorrow" }), admit.BadToken},
		{"expired", es(func(c jwt.MapClaims) { c["exp"] = after(-time.Minute) }), admit.ExpiredToken},
		{"expired within the leeway", es(func(c jwt.MapClaims) { c["exp"] = after(-3 * time.Second) }), admit.Passed},
		{"not yet", es(func(c jwt.MapClaims) { c["nbf"] = after(time.Minute) }), admit.BadToken},
		{"not yet within the leeway", es(func(c jwt.MapClaims) { c["nbf"] = after(3 * time.Second) }), admit.Passed},
		{"made later", es(func(c jwt.MapClaims) { c["iat"] = after(time.Minute) }), admit.BadToken},
		{"cut", good[:len(good)-4], admit.BadToken}, {"garbage", "a.b.c", admit.BadToken}, {"dots", "..", admit.BadToken}, {"one part", "abc", admit.BadToken},
		{"too long", good + strings.Repeat("A", maxToken), admit.BadToken}, {"empty", "", admit.NoCredential},
	} {
		if _, v := identify(m, ByToken, asked(c.token)); v != c.want {
			t.Errorf("%s: %v, want %v", c.name, v, c.want)
		}
	}
	if g, b := o.stats.Good.Load(), o.stats.Bad.Load(); g != 7 || b != 23 {
		t.Errorf("%d good and %d bad tokens were verified", g, b)
	}
	var c Caller
	a := asked(good)
	a.Now = time.Now().Unix()
	if n := testing.AllocsPerRun(100, func() {
		if m.Identify(&c, &Wants{Ways: ByToken}, a) != admit.Passed {
			t.Fatal("it is forgotten")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
	a.Now = after(2 * time.Hour)
	if v := m.Identify(&c, &Wants{Ways: ByToken}, a); v != admit.Unproven {
		t.Errorf("what was verified outlives its expiry: %v", v)
	}
	for field, v := range map[string]admit.Judgement{"": admit.NoCredential, "Bearer": admit.NoCredential, "Basic am9lOg==": admit.NoCredential,
		"bEARER  " + good: admit.Passed, good: admit.NoCredential} {
		if _, got := identify(m, ByToken, &Asked{Authorization: []byte(field)}); got != v {
			t.Errorf("%.20q: %v, want %v", field, got, v)
		}
	}
	if _, v := identify(m, ByToken, &Asked{Authorization: []byte("Bearer " + good), Twice: true}); v != admit.Repeated {
		t.Errorf("two of them: %v", v)
	}
}

func TestClaims(t *testing.T) {
	i := &issuer{Issuer: Issuer{User: "sub", Tier: "tier", Rate: "rate", Connections: "conns", Tiers: map[string]string{"gold": "vip"}}}
	for text, want := range map[string]Identity{
		`{"sub":"a","exp":9}`:                           {User: []byte("a"), Expires: 9},
		`{"sub":"a","tier":"gold"}`:                     {User: []byte("a"), Tier: []byte("vip")},
		`{"sub":17,"tier":"x","rate":1000,"conns":3}`:   {User: []byte("17"), Tier: []byte("x"), Rate: 1000, Connections: 3},
		`{"sub":"a","rate":"2MiB/s","conns":"many"}`:    {User: []byte("a"), Rate: 2 << 20, Connections: 1},
		`{"sub":"a","rate":"unlimited","conns":0}`:      {User: []byte("a"), Rate: leastRate, Connections: 1},
		`{"sub":"a","rate":-5,"conns":-5,"tier":["x"]}`: {User: []byte("a"), Tier: []byte{}, Rate: leastRate, Connections: 1},
		`{"sub":"a","rate":{},"conns":99999999999}`:     {User: []byte("a"), Rate: leastRate, Connections: 1<<31 - 1},
		`{"sub":["a"]}`:                                 {User: []byte("")},
	} {
		claims := jwt.MapClaims{}
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&claims); err != nil {
			t.Fatal(err)
		}
		if got := i.identity(claims); fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s: %+v, want %+v", text, *got, want)
		}
	}
}

// origin is a source of keys that a test holds in its hand.
type origin struct {
	*httptest.Server
	body  atomic.Pointer[[]byte] // nil: 500
	asked atomic.Int64
}

func startOrigin(t *testing.T) *origin {
	o := &origin{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		o.asked.Add(1)
		b := o.body.Load()
		if b == nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(*b)
	}))
	t.Cleanup(o.Close)
	return o
}

// Keys are fetched once for any number of unknown kids; a source that is down for a day changes
// nothing; a key that a good answer does not have is gone at once.
func TestJWKS(t *testing.T) {
	defer testenv.LeakCheck(t)
	o := startOrigin(t)
	var log bytes.Buffer
	s := must[*source](t)(openSource(o.URL, slog.New(slog.NewTextHandler(&log, nil))))
	defer s.http.CloseIdleConnections()
	now := time.Unix(1_790_000_000, 0)
	find := func(kid string) (found, known bool) {
		key, _, known := s.key(kid, instant{unix: now.Unix()})
		return key != nil, known
	}
	settle := func() {
		if done := s.fetch(now, 1<<62); done != nil {
			<-done
		}
	}
	if found, known := find("a"); found || known {
		t.Error("keys before there are any")
	}
	one, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	two, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a := jwks(t, map[string]any{"a": &one.PublicKey})
	o.body.Store(&a)
	if _, known := find("a"); known || o.asked.Load() != 1 {
		t.Errorf("asked %d times within half a minute", o.asked.Load())
	}
	now = now.Add(forceEvery)
	if found, _ := find("a"); !found || o.asked.Load() != 2 {
		t.Errorf("not found, asked %d times", o.asked.Load())
	}
	for i := range 1000 { // a flood of kids
		if found, known := find(fmt.Sprint(i)); found || !known {
			t.Fatal("found")
		}
	}
	both := jwks(t, map[string]any{"a": &one.PublicKey, "b": &two.PublicKey})
	o.body.Store(&both)
	now = now.Add(forceEvery)
	for range 1000 {
		if found, _ := find("b"); !found {
			t.Fatal("the new key is not found")
		}
	}
	if n := o.asked.Load(); n != 3 || s.epoch.Load() != 0 {
		t.Errorf("asked %d times, epoch %d", n, s.epoch.Load())
	}
	now = now.Add(-24 * time.Hour) // the clock was ahead
	if find("c"); o.asked.Load() != 4 {
		t.Errorf("asked %d times, with another clock", o.asked.Load())
	}
	o.body.Store(nil)
	for range 24 * 4 { // a day
		now = now.Add(pollEvery)
		s.look(instant{unix: now.Unix()})
		if found, _ := find("a"); !found {
			t.Fatal("the last good keys are gone")
		}
		if !testenv.Eventually(patience, func() bool { settle(); return !s.polledBefore(now) }) {
			t.Fatal("it is not asked any more")
		}
	}
	if s.failures.Load() < 24*4 || strings.Count(log.String(), "going on with the last good one") != 2 { // before the first keys, and after
		t.Errorf("%d failures: %s", s.failures.Load(), &log)
	}
	b := jwks(t, map[string]any{"b": &two.PublicKey})
	o.body.Store(&b)
	now = now.Add(pollEvery)
	s.look(instant{unix: now.Unix()})
	if !testenv.Eventually(patience, func() bool { found, _ := find("a"); return !found }) || s.epoch.Load() != 1 {
		t.Errorf("a key that is gone counts, epoch %d", s.epoch.Load())
	}
	settle()
}

// polledBefore reports whether the last fetch began before an instant.
func (s *source) polledBefore(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.polled.Before(now)
}

// What was verified by a key that is gone is verified again, and refused.
func TestKeyIsWithdrawn(t *testing.T) {
	one, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	two, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	name := file(t, jwks(t, map[string]any{"a": &one.PublicKey, "b": &two.PublicKey}))
	var o Opener
	cfg := Config{Issuers: map[string]Issuer{iss: {Audience: []string{"downloads"}, Algorithms: []string{"ES256"}, JWKS: name}}}
	m := opened(t, &o, cfg)
	k := token(t, jwt.SigningMethodES256, "a", one, nil)
	if _, v := identify(m, ByToken, asked(k)); v != admit.Passed {
		t.Fatal(v)
	}
	if again := opened(t, &o, cfg); again.tokens != m.tokens {
		t.Error("a reload forgets what was verified")
	}
	if err := os.WriteFile(name, jwks(t, map[string]any{"b": &two.PublicKey}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.sources[name].file.Look(); err != nil {
		t.Fatal(err)
	}
	if _, v := identify(m, ByToken, asked(k)); v != admit.BadToken {
		t.Error(v)
	}
}

func TestKeySets(t *testing.T) {
	small, _ := rsa.GenerateKey(rand.Reader, 1024)
	for text, want := range map[string]string{
		"": "not a JWKS", "[]": "not a JWKS", "{}": "without a public key", `{"keys":[]}`: "without a public key",
		`{"keys":[{"kty":"oct","kid":"s","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}]}`: "without a public key",
		`{"keys":[{"kty":"new","kid":"s"}]}`:                                        "without a public key",
		string(jwks(t, map[string]any{"small": &small.PublicKey})):                  "without a public key",
	} {
		if _, err := parseKeySet([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %s", text, err, want)
		}
	}
	for _, from := range []string{"http://id.example.com/jwks", "ftp://127.0.0.1/", "https://", "https://u:p@h/", "/none/jwks.json", "https://h h/"} {
		if _, err := openSource(from, slog.Default()); err == nil {
			t.Errorf("%s is taken", from)
		}
	}
}

func TestIssuerFaults(t *testing.T) {
	good := Issuer{Audience: []string{"a"}, Algorithms: []string{"ES256"}, JWKS: "f"}
	for want, change := range map[string]func(*Issuer){
		"audience is missing": func(i *Issuer) { i.Audience = nil }, "algorithms are missing": func(i *Issuer) { i.Algorithms = nil },
		"one of jwks": func(i *Issuer) { i.Secret = "s" }, "one of jwks ": func(i *Issuer) { i.JWKS = "" }, "a leeway": func(i *Issuer) { i.Leeway = -1 },
		`"none" is not known`: func(i *Issuer) { i.Algorithms = []string{"none"} }, "HS256 does not go": func(i *Issuer) { i.Algorithms = []string{"ES256", "HS256"} },
		"ES256 does not go": func(i *Issuer) { i.JWKS, i.Secret = "", "s" },
	} {
		i := good
		change(&i)
		if err := i.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	_, faults := new(Opener).Open(&Config{Keys: "/none", Issuers: map[string]Issuer{"i": {Audience: []string{"a"}, Algorithms: []string{"HS256"}, Secret: file(t, []byte("short"))}},
		Links: Links{Keys: map[string]string{"k": "/none"}}})
	if len(faults) != 3 || faults[0].Key != "links.keys[k]" || faults[1].Key != "api_keys" || faults[2].Key != "jwt[i]" {
		t.Errorf("%v", faults)
	}
}

func TestAPIKeys(t *testing.T) {
	hash := func(key string) string { s := sha256.Sum256([]byte(key)); return hex.EncodeToString(s[:]) }
	var o Opener
	name := file(t, []byte("# keys\n\nalice "+hash("first")+" tier=vip\nbob "+strings.ToUpper(hash("second"))+" expires=2020-01-01\ncarol "+hash("third.with.dots")+" expires=2999-12-31T00:00:00Z\n"))
	m := opened(t, &o, Config{Keys: name})
	for _, c := range []struct {
		a    Asked
		want admit.Judgement
		user string
	}{
		{Asked{Key: []byte("first")}, admit.Passed, "alice"}, {*asked("first"), admit.Passed, "alice"}, {Asked{Key: []byte("second")}, admit.BadKey, ""},
		{Asked{Key: []byte("third.with.dots")}, admit.Passed, "carol"}, {Asked{Key: []byte("fourth")}, admit.BadKey, ""}, {Asked{Key: []byte{}}, admit.BadKey, ""},
		{Asked{}, admit.NoCredential, ""}, {Asked{Authorization: []byte("Basic first")}, admit.NoCredential, ""}, {Asked{Key: bytes.Repeat([]byte("x"), maxKeyLen+1)}, admit.BadKey, ""},
		{Asked{Key: []byte("first"), Twice: true}, admit.Repeated, ""},
	} {
		if got, v := identify(m, ByKey, &c.a); v != c.want || string(got.User) != c.user {
			t.Errorf("%q %q: %v %q, want %v %q", c.a.Key, c.a.Authorization, v, got.User, c.want, c.user)
		}
	}
	for content, want := range map[string]string{
		"alice": "line 1: not NAME SHA256", "alice secret": "line 1: not NAME SHA256", "a " + strings.Repeat("z", 64): "line 1: not NAME SHA256",
		"a " + hash("x") + "\nb " + hash("x"): "line 2: the key of b is that of a already", "a " + hash("x") + " tier": `"tier" is neither`,
		"a " + hash(""): "line 1: the hash of an empty key", "a " + hash("x") + " expires=soon": "expires=soon: not a date",
	} {
		if _, err := parseKeys([]byte(content)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want %q", content, err, want)
		}
	}
}

// Bad tokens of one client take a few places, and those that are refused there cost nothing.
func TestManyBadTokens(t *testing.T) {
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	var o Opener
	m := opened(t, &o, Config{Issuers: map[string]Issuer{iss: {Audience: []string{"downloads"}, Algorithms: []string{"ES256"}, JWKS: file(t, jwks(t, map[string]any{"a": &ec.PublicKey}))}}})
	o.checker.running = workers() // nobody works
	results := make(counted, 100)
	for i := range 50 {
		a := asked(base64.RawURLEncoding.EncodeToString(fmt.Append(nil, i)) + ".b.c")
		a.Client = netip.MustParseAddr("192.0.2.1")
		m.Verify(a, func(r Result) { results <- r })
	}
	if by := results.of(50 - maxOfClient); by[Insistent] != 50-maxOfClient {
		t.Errorf("%v", by)
	}
	go o.checker.work()
	if by := results.of(maxOfClient); by[Wrong] != maxOfClient {
		t.Errorf("%v", by)
	}
}

func BenchmarkCachedToken(b *testing.B) {
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	var o Opener
	m := opened(b, &o, Config{Issuers: map[string]Issuer{iss: {Audience: []string{"downloads"}, Algorithms: []string{"ES256"}, JWKS: file(b, jwks(b, map[string]any{"a": &ec.PublicKey}))}}})
	a := asked(token(b, jwt.SigningMethodES256, "a", ec, nil))
	if _, v := identify(m, ByToken, a); v != admit.Passed {
		b.Fatal(v)
	}
	var c Caller
	w := Wants{Ways: ByToken}
	b.ReportAllocs()
	for b.Loop() {
		m.Identify(&c, &w, a)
	}
}
