package link

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // what nginx has
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

var (
	secret = Key{ID: "k1", Secret: bytes.Repeat([]byte("s"), 32)}
	other  = Key{ID: "k2", Secret: bytes.Repeat([]byte("t"), 32)}
)

const now = 1_790_000_000

func at(seconds int64) time.Time { return time.Unix(now+seconds, 0) }

func keys(t testing.TB, lifetime time.Duration, list ...Key) *Keys {
	t.Helper()
	k, err := NewKeys(list, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sign(t testing.TB, k *Key, p Policy) string {
	t.Helper()
	s, err := k.Sign(&p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// made is a value with a policy that Sign would not make.
func made(k *Key, policy string) string {
	text := encoding.EncodeToString([]byte(policy))
	m := hmac.New(sha256.New, k.Secret)
	m.Write([]byte("fs1\n" + text))
	return text + "." + encoding.EncodeToString(m.Sum(nil))
}

func TestVerify(t *testing.T) {
	k := keys(t, 0, secret)
	until := at(60)
	for _, c := range []struct {
		name   string
		policy Policy
		path   string
		want   Verdict
	}{
		{"the file", Policy{Path: "/f", Expires: until}, "/f", Good},
		{"another file", Policy{Path: "/f", Expires: until}, "/g", Bad},
		{"what begins with it", Policy{Path: "/data", Expires: until}, "/database", Bad},
		{"below it", Policy{Path: "/data", Expires: until}, "/data/f", Bad},
		{"the directory", Policy{Path: "/data/", Expires: until}, "/data/f", Good},
		{"deep below", Policy{Path: "/data/", Expires: until}, "/data/a/b", Good},
		{"itself", Policy{Path: "/data/", Expires: until}, "/data/", Good},
		{"without its slash", Policy{Path: "/data/", Expires: until}, "/data", Bad},
		{"beside it", Policy{Path: "/data/", Expires: until}, "/database", Bad},
		{"everything", Policy{Path: "/", Expires: until}, "/x", Good},
		{"another case", Policy{Path: "/F", Expires: until}, "/f", Bad},
		{"its sidecar", Policy{Path: "/f", Expires: until}, "/f.gz", Bad},
		{"semicolon and percent", Policy{Path: "/a;b=%41", Expires: until}, "/a;b=%41", Good},
		{"a plus is a plus", Policy{Path: "/a+b", Expires: until}, "/a b", Bad},
		{"a space", Policy{Path: "/a b", Expires: until}, "/a b", Good},
		{"one form of a letter", Policy{Path: "/\u00e9", Expires: until}, "/\u00e9", Good},
		{"the other form", Policy{Path: "/\u00e9", Expires: until}, "/e\u0301", Bad},
		{"last second", Policy{Path: "/f", Expires: at(1)}, "/f", Good},
		{"expired", Policy{Path: "/f", Expires: at(0)}, "/f", Expired},
		{"expired, and for another", Policy{Path: "/g", Expires: at(-5)}, "/f", Bad},
		{"begins", Policy{Path: "/f", Expires: until, NotBefore: at(0)}, "/f", Good},
		{"not yet", Policy{Path: "/f", Expires: until, NotBefore: at(1)}, "/f", Bad},
		{"host", Policy{Path: "/f", Expires: until, Host: "Dl.example.com"}, "/f", Good},
		{"other host", Policy{Path: "/f", Expires: until, Host: "example.com"}, "/f", Bad},
		{"network", Policy{Path: "/f", Expires: until, Networks: []netip.Prefix{netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("192.0.2.0/24")}}, "/f", Good},
		{"other network", Policy{Path: "/f", Expires: until, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.3.0/24")}}, "/f", Bad},
	} {
		var l Link
		r := Request{Path: []byte(c.path), Host: []byte("dl.example.com:8443"), Client: netip.MustParseAddr("::ffff:192.0.2.7"), Now: now}
		if got := k.Verify(&l, []byte(sign(t, &secret, c.policy)), &r); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// A link counts by the clock as it is: one that is set back makes a link good again, or not good yet.
func TestClockIsSet(t *testing.T) {
	k := keys(t, 24*time.Hour, secret)
	text := []byte(sign(t, &secret, Policy{Path: "/f", NotBefore: at(0), Expires: at(60)}))
	for _, step := range []struct {
		at   int64
		want Verdict
	}{{0, Good}, {3600, Expired}, {30, Good}, {-1, Bad}, {59, Good}, {-100 * 24 * 3600, Bad}, {60, Expired}} {
		var l Link
		if v := k.Verify(&l, text, &Request{Path: []byte("/f"), Now: now + step.at}); v != step.want {
			t.Errorf("at %+d s: %d, want %d", step.at, v, step.want)
		}
	}
}

func TestVerifySays(t *testing.T) {
	p := Policy{Path: "/f", Expires: at(9), User: "a;b", Tier: "vip", Rate: 1 << 20, Connections: 3, ID: "order 7", FileName: "é%.iso"}
	var l Link
	if v := keys(t, 0, secret).Verify(&l, []byte(sign(t, &secret, p)), &Request{Path: []byte("/f"), Now: now}); v != Good {
		t.Fatal(v)
	}
	if string(l.User) != p.User || string(l.Tier) != p.Tier || l.Rate != p.Rate || l.Connections != p.Connections || string(l.ID) != p.ID ||
		string(l.FileName) != p.FileName || string(l.Key) != "k1" || l.Expires != now+9 {
		t.Errorf("%+v", l)
	}
}

func TestVerifyRefuses(t *testing.T) {
	good := sign(t, &secret, Policy{Path: "/f", Expires: at(60)})
	text, mac, _ := strings.Cut(good, ".")
	const e = ";e=1790000060"
	k := keys(t, time.Hour, secret)
	for name, value := range map[string]string{
		"nothing": "", "a dot": ".", "no code": text, "an empty code": text + ".", "a short code": good[:len(good)-1], "a long code": good + "A",
		"another code": text + "." + strings.Repeat("A", macLen), "padding": text + "=." + mac, "the code of another": sign(t, &other, Policy{Path: "/f", Expires: at(60)}),
		"key of another name":   made(&secret, "k=k9;p=/f"+e),
		"no key":                made(&secret, "p=/f"+e),
		"no path":               made(&secret, "k=k1"+e),
		"an empty path":         made(&secret, "k=k1;p="+e),
		"a relative path":       made(&secret, "k=k1;p=f"+e),
		"no expiry":             made(&secret, "k=k1;p=/f"),
		"an unknown field":      made(&secret, "k=k1;p=/f;z=1"+e),
		"a field of two bytes":  made(&secret, "k=k1;p=/f;zz=1"+e),
		"a double field":        made(&secret, "k=k1;p=/f;p=/f"+e),
		"an empty field":        made(&secret, "k=k1;p=/f;;"+e[1:]),
		"an empty user":         made(&secret, "k=k1;p=/f;u="+e),
		"a negative expiry":     made(&secret, "k=k1;p=/f;e=-1"),
		"a sign":                made(&secret, "k=k1;p=/f;e=+1790000060"),
		"an expiry beyond all":  made(&secret, "k=k1;p=/f;e=99999999999999999999"),
		"beyond the lifetime":   sign(t, &secret, Policy{Path: "/f", Expires: at(3601)}),
		"a rate of 0":           made(&secret, "k=k1;p=/f;r=0"+e),
		"a rate with a unit":    made(&secret, "k=k1;p=/f;r=1MiB"+e),
		"no connections":        made(&secret, "k=k1;p=/f;c=0"+e),
		"a bad encoding":        made(&secret, "k=k1;p=/f;u=%zz"+e),
		"an encoding cut off":   made(&secret, "k=k1;p=/f;u=%4"+e),
		"a network that is not": made(&secret, "k=k1;p=/f;a=everywhere"+e),
		"too much":              made(&secret, "k=k1;p=/f;u="+strings.Repeat("x", maxPolicy)+e),
	} {
		var l Link
		if v := k.Verify(&l, []byte(value), &Request{Path: []byte("/f"), Client: netip.MustParseAddr("192.0.2.1"), Now: now}); v != Bad {
			t.Errorf("%s: %d", name, v)
		}
	}
}

// A new key signs while links of the old one still count, until that is taken away.
func TestRotation(t *testing.T) {
	old, fresh := sign(t, &secret, Policy{Path: "/f", Expires: at(60)}), sign(t, &other, Policy{Path: "/f", Expires: at(60)})
	for _, c := range []struct {
		keys       []Key
		old, fresh Verdict
	}{{[]Key{secret}, Good, Bad}, {[]Key{other, secret}, Good, Good}, {[]Key{other}, Bad, Good}} {
		k := keys(t, 0, c.keys...)
		var l Link
		r := Request{Path: []byte("/f"), Now: now}
		if a, b := k.Verify(&l, []byte(old), &r), k.Verify(&l, []byte(fresh), &r); a != c.old || b != c.fresh {
			t.Errorf("%d, %d", a, b)
		}
	}
}

func TestNotMade(t *testing.T) {
	for _, p := range []Policy{
		{Expires: at(1)}, {Path: "f", Expires: at(1)}, {Path: "/a//b", Expires: at(1)}, {Path: "/a/../b", Expires: at(1)}, {Path: "//", Expires: at(1)},
		{Path: "/./a", Expires: at(1)}, {Path: "/f"}, {Path: "/f", Expires: at(1), Rate: -1}, {Path: "/f", Expires: at(1), Host: "h:80"},
		{Path: "/" + strings.Repeat("x", maxPolicy), Expires: at(1)},
	} {
		if s, err := secret.Sign(&p); err == nil {
			t.Errorf("%+v: %s", p, s)
		}
	}
	for _, list := range [][]Key{nil, {{ID: "k", Secret: []byte("short")}}, {{Secret: secret.Secret}}, {secret, secret}, make([]Key, maxKeys+1)} {
		if _, err := NewKeys(list, 0); err == nil {
			t.Errorf("%v", list)
		}
	}
}

func TestFind(t *testing.T) {
	for query, want := range map[string]string{"": "", "fs=a": "a", "x&fs=a&y": "a", "xfs=a": "", "fs": "", "FS=a": "", "fs=a=b": "a=b"} {
		if value, _ := Find([]byte(query), "fs"); string(value) != want {
			t.Errorf("%q: %q", query, value)
		}
	}
	if _, n := Find([]byte("fs=a&fs=b"), "fs"); n != 2 {
		t.Errorf("%d of 2", n)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	k := keys(t, 0, other, secret)
	value := []byte(sign(t, &secret, Policy{Path: "/releases/", Expires: at(60), User: "alice", Tier: "vip", Rate: 1 << 20, ID: "7", FileName: "f.iso"}))
	r, l := Request{Path: []byte("/releases/f.iso"), Host: []byte("example.com"), Now: now}, Link{}
	if n := testing.AllocsPerRun(100, func() {
		if k.Verify(&l, value, &r) != Good {
			t.Fatal("refused")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkVerify(b *testing.B) {
	k := keys(b, 0, other, secret)
	value := []byte(sign(b, &secret, Policy{Path: "/releases/", Expires: at(60), User: "alice"}))
	r, l := Request{Path: []byte("/releases/f.iso"), Now: now}, Link{}
	b.ReportAllocs()
	for b.Loop() {
		if k.Verify(&l, value, &r) != Good {
			b.Fatal("refused")
		}
	}
}

// FuzzLink: what is accepted was made with the key, and says the path.
func FuzzLink(f *testing.F) {
	f.Add(sign(f, &secret, Policy{Path: "/f", Expires: at(60), User: "u"}), "/f", 0, byte(0))
	f.Add(sign(f, &secret, Policy{Path: "/d/", Expires: at(60), Networks: []netip.Prefix{netip.MustParsePrefix("::/0")}}), "/d/f", 9, byte(1))
	f.Add(made(&secret, "k=k1;p=/%2f;e=1790000060"), "//", 5, byte(0x20))
	k, err := NewKeys([]Key{secret}, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, value, path string, where int, change byte) {
		check := func(value string) {
			var l Link
			if k.Verify(&l, []byte(value), &Request{Path: []byte(path), Client: netip.IPv6Loopback(), Now: now}) == Bad {
				return
			}
			text, mac, _ := strings.Cut(value, ".")
			m := hmac.New(sha256.New, secret.Secret)
			m.Write([]byte("fs1\n" + text))
			policy, err := base64.RawURLEncoding.DecodeString(text)
			if err != nil || mac != base64.RawURLEncoding.EncodeToString(m.Sum(nil)) {
				t.Fatalf("%q is accepted", value)
			}
			said := ""
			for _, field := range strings.Split(string(policy), ";") {
				if p, ok := strings.CutPrefix(field, "p="); ok {
					said, err = url.PathUnescape(p)
				}
			}
			if err != nil || said == "" || said != path && !(strings.HasSuffix(said, "/") && strings.HasPrefix(path, said)) {
				t.Fatalf("%q is accepted for %q: %q", policy, path, said)
			}
		}
		check(value)
		check(made(&secret, value)) // what a careless signer might make
		if b := []byte(value); len(b) > 0 && change != 0 {
			b[uint(where)%uint(len(b))] ^= change
			check(string(b))
		}
	})
}

// Vectors that nginx's documentation and module give: the hash is base64url without padding.
func TestMD5(t *testing.T) {
	hash := func(s string) string {
		sum := md5.Sum([]byte(s)) //nolint:gosec // what nginx has
		return base64.RawURLEncoding.EncodeToString(sum[:])
	}
	m, err := NewMD5("$arg_md5,$arg_expires", "$secure_link_expires$uri$remote_addr secret")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := NewMD5("$arg_st", "${uri}:$host:secret")
	if err != nil {
		t.Fatal(err)
	}
	good := hash("1790000001/s/link192.0.2.1 secret")
	for _, c := range []struct {
		m           *MD5
		path, query string
		want        Verdict
	}{
		{m, "/s/link", "md5=" + good + "&expires=1790000001", Good},
		{m, "/s/link", "MD5=" + good + "==&Expires=1790000001", Good},
		{m, "/s/other", "md5=" + good + "&expires=1790000001", Bad},
		{m, "/s/link", "md5=" + good + "&expires=1790000002", Bad},
		{m, "/s/link", "md5=" + hash("1789999999/s/link192.0.2.1 secret") + "&expires=1789999999", Expired},
		{m, "/s/link", "md5=" + hash("/s/link192.0.2.1 secret") + "&expires=", Bad},
		{m, "/s/link", "md5=" + hash("0/s/link192.0.2.1 secret") + "&expires=0", Bad},
		{m, "/s/link", "md5=" + hash("-1/s/link192.0.2.1 secret") + "&expires=-1", Bad},
		{m, "/s/link", "md5=" + hash("+1790000001/s/link192.0.2.1 secret") + "&expires=+1790000001", Bad},
		{m, "/s/link", "md5=" + good, Bad}, {m, "/s/link", "", Bad}, {m, "/s/link", "md5=" + strings.Repeat("A", 60) + "&expires=1790000001", Bad},
		{m, "/s/link", "md5=" + good[:20] + "&expires=1790000001", Bad},
		{plain, "/f", "st=" + hash("/f:h.example:secret"), Good}, {plain, "/f", "st=" + hash("/f:H.example:secret"), Bad},
	} {
		v := Visit{Request: Request{Path: []byte(c.path), Host: []byte("H.example:80"), Client: netip.MustParseAddr("192.0.2.1"), Now: now}, Query: []byte(c.query)}
		if got := c.m.Verify(&v); got != c.want {
			t.Errorf("%s?%s: %d, want %d", c.path, c.query, got, c.want)
		}
	}
	for _, c := range [][2]string{{"$arg_a", "$cookie_x s"}, {"$arg_a", "$uri"}, {"x", "$uri s"}, {"$arg_a", "s$"}, {"", "s"}} {
		if _, err := NewMD5(c[0], c[1]); err == nil {
			t.Errorf("%q is taken", c)
		}
	}
}
