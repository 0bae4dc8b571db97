package admin_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// An operator denies, sees it, and takes it back.
func TestDeny(t *testing.T) {
	g := start(t, nil)
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	type view struct{ Kind, Name, Until string }
	v := decode[[]view](t, g.want(200, g.do("POST", "/deny", `{"jti":"f7c1","until":"`+until+`"}`)))
	if len(v) != 1 || v[0] != (view{"jti", "f7c1", until}) {
		t.Errorf("%+v", v)
	}
	if again := decode[[]view](t, g.want(200, g.do("GET", "/deny", ""))); len(again) != 1 || again[0] != v[0] {
		t.Errorf("%+v", again)
	}
	if v = decode[[]view](t, g.want(200, g.do("POST", "/deny", `{"jti":"f7c1","until":"2020-01-01T00:00:00Z"}`))); len(v) != 0 {
		t.Errorf("%+v", v)
	}
	if !strings.Contains(g.logs.String(), "msg=denied who=127.0.0.1") {
		t.Error("nobody is told")
	}
	for body, field := range map[string]string{
		`{"user":"joe"}`: "until", `{"until":"` + until + `"}`: "user", `{"user":"","until":"` + until + `"}`: "user", `{"user":"joe","link":"7","until":"` + until + `"}`: "link",
	} {
		g.wantProblem(http.StatusBadRequest, field, g.do("POST", "/deny", body))
	}
	g.want(http.StatusConflict, g.do("POST", "/-/jwks", ""))
}
