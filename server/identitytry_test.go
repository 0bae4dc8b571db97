package server_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
)

// A path that is tried asks for a token. While there are no keys the answer is 503, and not one attempt
// after the other; the body of a request whose token is verified meanwhile is dropped once.
func TestTokenOfAPathThatIsTried(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg, good, _ := members(t)
		gone := httptest.NewServer(http.NotFoundHandler())
		defer gone.Close()
		cfg.Identity.Issuers["far"] = server.IdentityIssuer{Audience: []string{"here"}, Algorithms: []string{"RS256"}, JWKS: gone.URL}
		cfg.Locations = append(cfg.Locations, server.Location{Match: "/try/", Site: server.Site{Root: cfg.Root, Try: []string{"$uri", "/in/f"}}})
		g := start(t, d, cfg)
		k := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": "far", "aud": "here", "sub": "x", "exp": time.Now().Add(time.Hour).Unix()})
		k.Header["alg"] = "RS256"
		text, err := k.SigningString()
		if err != nil {
			t.Fatal(err)
		}
		g.dial().get("/try/x", "Authorization: Bearer "+text+".c2ln").want(t, 503)
		c := g.dial()
		c.send("GET /try/x HTTP/1.1\r\nHost: x\r\n" + good + "\r\nContent-Length: 4\r\n\r\nbodyGET /f HTTP/1.1\r\nHost: x\r\n\r\n")
		c.read("GET").want(t, 200, "inside")
		c.read("GET").want(t, 200, "root")
	})
}
