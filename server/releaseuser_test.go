package server_test

import (
	"encoding/base64"
	"net/http"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
)

// TestClaimedUserGetsNoCanary: who is let in by his address has proven no name.
func TestClaimedUserGetsNoCanary(t *testing.T) {
	g, _ := withRelease(t, engine.DriverFallback, func(r *server.Release, c *server.Config) {
		r.Steps = []server.ReleaseStep{{Weight: 0}}
		r.Override.Users = []string{"joe"}
		h := &c.Hosts[0].Site
		h.PasswordFile, h.Either = passwordFile(t, bcrypt.MinCost, "joe", "pass"), true
		h.Access = access(t, "127.0.0.0/8", "")
	})
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	_, body := g.as(client, "d", "/v", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("joe:wrong")))
	if string(body) != "v1" {
		t.Errorf("%s", body)
	}
}
