package main

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/nethttp"
)

// newTiers lets in who has a token (JWT) of id.example.com, which names the tier of its user; secret is a file.
func newTiers(secret string) (*nethttp.Handler, error) {
	return nethttp.New(server.Config{
		Site:      server.Site{Require: server.ByToken},
		Admission: server.Admission{QueueLength: 16, QueueWait: 15e9}, // for the Connections of tiers
		Identity: server.Identity{
			Issuers: map[string]server.IdentityIssuer{"https://id.example.com/": {Audience: []string{"downloads"}, Algorithms: []string{"HS256"}, Secret: secret, Tier: "tier"}},
			Tiers: map[string]server.Tier{
				"free": {Rate: 2e6, Connections: 2, Requests: server.RequestRate{Requests: 60, Per: 60e9, Burst: 20}},
				"paid": {Rate: 20e6, Weight: 10, Connections: 16},
			},
		},
	})
}

// guard is middleware of gin: handlers behind it answer whom h lets in, and server.CallerOf(c.Request.Context()) is who
// asks. The engine limits each user as its tier says.
func guard(h *nethttp.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		admitted := false
		h.Guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			admitted, c.Request = true, r
			c.Next()
		})).ServeHTTP(c.Writer, c.Request)
		if !admitted {
			c.Abort()
		}
	}
}
