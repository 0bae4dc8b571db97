package auth

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fserve/fserve/server/admit"
)

// A file of denials that cannot be read is refused as often as it is tried, and takes back no denial.
func TestDenialsThatCannotBeRead(t *testing.T) {
	path := file(t, []byte(`[{"kind":"user","name":"joe"`))
	o := new(Opener)
	now := time.Now().Unix()
	if err := opened(t, o, Config{}).Deny(Denial{"user", "ann", now + 60}, now); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, faults := o.Open(&Config{DenialsFile: path}); len(faults) != 1 {
			t.Fatalf("%v", faults)
		}
	}
	if err := os.WriteFile(path, []byte(`[{"kind":"user","name":"joe","until":9000000000}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	if list := opened(t, o, Config{DenialsFile: path}).Denials(); len(list) != 2 || list[0].Name != "ann" || list[1].Name != "joe" {
		t.Errorf("%+v", list)
	}
}

// A token that is good beyond its end, by the leeway of its issuer, is denied as long.
func TestDenialHasLeeway(t *testing.T) {
	secret := strings.Repeat("s", 32)
	m := opened(t, new(Opener), Config{Issuers: map[string]Issuer{iss: {
		Audience: []string{"downloads"}, Algorithms: []string{"HS256"}, Secret: file(t, []byte(secret)), Leeway: time.Hour,
	}}})
	now := time.Now().Unix()
	end := now - 60
	over := token(t, jwt.SigningMethodHS256, "", []byte(secret), func(c jwt.MapClaims) { c["exp"], c["jti"] = end, "7" })
	if _, v := identify(m, ByToken, asked(over)); v != admit.Passed {
		t.Fatalf("in the leeway: %v", v)
	}
	if err := m.Deny(Denial{"jti", "7", end}, end-60); err != nil {
		t.Fatal(err)
	}
	if err := m.Deny(Denial{"jti", "8", now + 60}, now); err != nil { // forgets what is over
		t.Fatal(err)
	}
	if _, v := identify(m, ByToken, asked(over)); v != admit.Denied {
		t.Errorf("denied until its end, in the leeway: %v", v)
	}
}

// When the clock is set, what was found about tokens is found anew: what was bad by a clock that was ahead is not
// bad until that day comes.
func TestClockIsSet(t *testing.T) {
	const day = 24 * 60 * 60
	secret := strings.Repeat("s", 32)
	m := opened(t, new(Opener), Config{Issuers: map[string]Issuer{iss: {Audience: []string{"downloads"}, Algorithms: []string{"HS256"}, Secret: file(t, []byte(secret))}}})
	now := time.Now().Unix()
	good := token(t, jwt.SigningMethodHS256, "", []byte(secret), func(c jwt.MapClaims) { c["exp"] = now + 10*day })
	bad := token(t, jwt.SigningMethodHS256, "", []byte(secret), func(c jwt.MapClaims) { c["exp"] = now - day })
	known := func(token string, at int64) bool {
		var c Caller
		a := asked(token)
		a.Now = at
		v := m.Identify(&c, &Wants{Ways: ByToken}, a)
		if v != admit.Unproven {
			return true
		}
		done := make(chan Result, 1)
		m.Verify(a, func(r Result) { done <- r })
		<-done
		return false
	}
	for _, step := range []struct {
		at          int64
		good, wrong bool // are known already
	}{{now + day, false, false}, {now + day, true, true}, {now, false, false}, {now + 5, true, true}, {now - 30*day, false, false}, {now + 2*day, false, false}} {
		if g, w := known(good, step.at), known(bad, step.at); g != step.good || w != step.wrong {
			t.Errorf("at %+d s: known: %v, %v, want %v, %v", step.at-now, g, w, step.good, step.wrong)
		}
	}
}
