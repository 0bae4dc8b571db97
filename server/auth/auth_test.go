package auth

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/fserve/fserve/internal/testenv"
)

const patience = 10 * time.Second

// line is one of a file, with a hash of the least cost.
func line(t testing.TB, user, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return user + ":" + string(hash) + "\n"
}

func TestParse(t *testing.T) {
	good := line(t, "joe", "pa:ss")
	u, err := parse([]byte("# users\r\n\n" + strings.TrimSpace(good) + "\r\n" + strings.Replace(line(t, "ann", "x"), "$2a$", "$2y$", 1)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		user, password string
		want           bool
	}{{"joe", "pa:ss", true}, {"joe", "pa", false}, {"joe", "", false}, {"ann", "x", true}, {"Joe", "pa:ss", false}, {"", "", false}, {"nobody", "x", false}} {
		if got := u.check(c.user, []byte(c.password)); got != c.want {
			t.Errorf("%q, %q: %v", c.user, c.password, got)
		}
	}
	if cost, err := bcrypt.Cost(u.nobody); err != nil || cost != bcrypt.MinCost {
		t.Errorf("who is not there is checked at the cost %d, %v", cost, err)
	}
	hash := strings.TrimSpace(strings.TrimPrefix(good, "joe:"))
	for content, want := range map[string]string{
		"joe":                "line 1: not USER:HASH",
		":" + hash:           "line 1: not USER:HASH",
		good + "joe:" + hash: `line 2: user "joe" is there already`,
		"#\na:$apr1$x$y\n":   "line 2: a password that is MD5: bcrypt is needed, which htpasswd -B makes",
		"a:{SHA}x":           "line 1: a password that is SHA-1",
		"a:{PLAIN}x":         "line 1: a password that is not hashed",
		"a:$6$x":             "line 1: a password that is SHA-512 of crypt",
		"a:secret":           "line 1: not a bcrypt hash",
		"a:" + hash[:59]:     "line 1: not a bcrypt hash",
		"a:" + strings.Replace(hash, "$04$", "$31$", 1): "line 1: a bcrypt hash of the cost 31",
		"a:b\nc:d": "line 2: not a bcrypt hash",
	} {
		if _, err := parse([]byte(content)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", content, err, want)
		} else if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), hash) {
			t.Errorf("%q: the error has what is secret: %v", content, err)
		}
	}
}

func basic(credentials string) []byte {
	return []byte("Basic " + base64.StdEncoding.EncodeToString([]byte(credentials)))
}

func TestCredentials(t *testing.T) {
	var c Credentials
	for field, want := range map[string]string{
		string(basic("joe:pa:ss")): "joe|pa:ss", string(basic("joe:")): "joe|", "bAsIc  am9lOg==": "joe|", "Basic am9lOg": "joe|",
		string(basic("jö:ü")): "jö|ü", string(basic("a b:c d")): "a b|c d",
		"": "", "Basic": "", "Basic ": "", "Basic %%%": "", "Basic am9l": "", string(basic(":x")): "", "Bearer am9lOg==": "", "am9lOg==": "",
		"Basic\tam9lOg==": "", "Basic am9l Og==": "", string(basic("a:" + strings.Repeat("x", maxCredentials))): "",
	} {
		ok := c.Read([]byte(field))
		if got := string(c.User) + "|" + string(c.Password); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %v %q, want %q", field, ok, got, want)
		}
	}
	c.Read(basic("joe:secret"))
	memory := c.memory
	if c.Forget(); bytes.Contains(memory[:cap(memory)], []byte("secret")) {
		t.Error("the password is still there")
	}
}

// A proof is of user, password and version of the file.
func TestProof(t *testing.T) {
	one, two := &Users{version: 1}, &Users{version: 2}
	seen := make(map[Proof]string)
	for _, u := range []*Users{one, two} {
		for _, s := range []string{"a:b", "a:bc", "ab:c", "a:b:c"} {
			var c Credentials
			c.Read(basic(s))
			p := c.Proof(u)
			if other := seen[p]; other != "" || p != c.Proof(u) {
				t.Errorf("%s has that of %s", s, other)
			}
			seen[p] = s
		}
	}
	var c Credentials
	c.Read(basic("joe:secret"))
	if n := testing.AllocsPerRun(100, func() { c.Proof(one) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestVerdicts(t *testing.T) {
	var v Verdicts
	p := func(n int) (p Proof) { p[0], p[1], p[2] = byte(n), byte(n>>8), 1; return p }
	v.Put(p(1), true, 0)
	v.Put(p(2), false, 0)
	for _, c := range []struct {
		n            int
		at           time.Duration
		right, known bool
	}{
		{1, 0, true, true}, {1, rightFor - 1, true, true}, {1, rightFor, false, false},
		{2, 0, false, true}, {2, wrongFor - 1, false, true}, {2, wrongFor, false, false}, {3, 0, false, false},
	} {
		if right, known := v.Find(p(c.n), int64(c.at)); right != c.right || known != c.known {
			t.Errorf("%d at %v: %v, %v", c.n, c.at, right, known)
		}
	}
	for i := range 3 * maxVerdicts { // guesses drive nobody out
		v.Put(p(10+i), false, 1)
	}
	if right, known := v.Find(p(1), 1); !right || !known || len(v.wrong) > maxVerdicts {
		t.Errorf("%v, %v, %d verdicts", right, known, len(v.wrong))
	}
}

// counted counts results.
type counted chan Result

func (c counted) of(n int) (by [Unknown + 1]int) {
	for range n {
		select {
		case r := <-c:
			by[r]++
		case <-time.After(patience):
			return by
		}
	}
	return by
}

func TestCheckerIsBounded(t *testing.T) {
	u, err := parse([]byte(line(t, "joe", "right")))
	if err != nil {
		t.Fatal(err)
	}
	client := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}) }
	var c Checker
	c.running = workers() // nobody works
	got := make(counted, 2*maxWaiting)
	ask := func(n int, credentials string) {
		var cred Credentials
		cred.Read(basic(credentials))
		c.Check(u, &cred, client(n), func(r Result) { got <- r })
	}
	for range 50 { // the same credentials are one check
		ask(0, "joe:right")
	}
	for i := range maxOfClient + 5 { // a host has all of its network
		var cred Credentials
		cred.Read(basic(fmt.Sprintf("joe:%d", i)))
		c.Check(u, &cred, netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)}), func(r Result) { got <- r })
	}
	if by := got.of(5); by[Insistent] != 5 {
		t.Fatalf("%v", by)
	}
	left := maxWaiting - 50 - maxOfClient
	for i := range left + 7 {
		ask(2+i, "joe:wrong"+fmt.Sprint(i))
	}
	ask(0, "joe:right") // there is no room for one more
	if by := got.of(8); by[Crowded] != 8 || len(c.queue) != 1+maxOfClient+left {
		t.Fatalf("%v, %d checks wait", by, len(c.queue))
	}
	go c.work()
	if by := got.of(maxWaiting); by[Right] != 50 || by[Wrong] != maxWaiting-50 {
		t.Errorf("%v", by)
	}
	idle := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.waiting == 0 && len(c.pending) == 0 && len(c.ofClient) == 0 && c.running == workers()-1
	}
	if !testenv.Eventually(patience, idle) {
		t.Errorf("%+v is left", &c)
	}
}

func TestFileIsReadAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write(line(t, "joe", "1"))
	var log bytes.Buffer
	f, err := Open(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	first := f.Users(0)
	if err := f.Look(); err != nil || f.Users(0) != first || log.Len() > 0 {
		t.Errorf("%v: %s", err, &log)
	}
	write("joe:plain\n")
	for range 2 {
		_ = f.Look()
	}
	if f.good.Load() != first || strings.Count(log.String(), "going on with the last good one") != 1 {
		t.Errorf("%s", &log)
	}
	write(line(t, "joe", "2"))
	now := int64(time.Hour) // it is due
	if !testenv.Eventually(patience, func() bool { now += int64(time.Hour); return f.Users(now).check("joe", []byte("2")) }) {
		t.Error("the new file is not read")
	}
	before, _ := os.Stat(path)
	if err := os.WriteFile(path, []byte(line(t, "joe", "3")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := f.Look(); err != nil || !f.good.Load().check("joe", []byte("3")) {
		t.Errorf("a file whose time was set back is not read: %v", err)
	}
	for _, path := range []string{path + ".none", t.TempDir(), "/dev/null"} {
		if _, err := Open(path, slog.Default()); err == nil {
			t.Errorf("%s is taken", path)
		}
	}
}
