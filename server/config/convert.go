package config

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
)

// attachment is the disposition of files that are for saving.
const attachment = "attachment"

// Server returns the configuration of a server. The caller opens the access log. c must
// be valid.
func (c *Config) Server() server.Config {
	trust, _ := server.ParseTrust(c.TrustedProxies) // Validate has read it
	trust.Field = c.ClientHeader
	above := c.setting()
	limits, adapt := c.Limits.Shape(), c.Adaptation()
	return server.Config{
		Site:      above.site(),
		Locations: above.locations(c.Locations), Hosts: c.hosts(),
		Listen: c.Listen, ProxyProtocol: c.ProxyProtocol, Trust: trust,
		TLS:         c.tlsOf(),
		BodyTimeout: c.Timeouts.Body, OpenTimeout: c.Timeouts.Open, Admission: c.Admission.policy(), Breaker: c.Admission.Breaker.breaker(), Identity: c.identity(),
		Releases: c.releases(), ReleaseFile: c.releaseFile(), CompressCache: int64(c.CompressCache), QuotaDir: c.quotaDir(),
		Engine: engine.Config{
			Loops: c.Loops(), Pin: c.Pin, UnixMode: fs.FileMode(c.UnixMode),
			Driver: c.Driver, ZeroCopy: c.ZeroCopy, Congestion: c.congestion(), DeferAccept: c.DeferAccept, FastOpen: c.FastOpen,
			HeaderTimeout: c.Timeouts.Header, IdleTimeout: c.Timeouts.Idle, SendTimeout: c.Timeouts.Send,
			MaxConns: c.MaxConnections, MaxClientConns: c.MaxClientConnections, MaxBuffered: int64(c.MaxBuffers),
			Limits: &limits, Adapt: &adapt, Sample: c.Admin.Listen != "",
		},
	}
}

// identity returns the Identity as a server has it.
func (c *Config) identity() server.Identity {
	i := c.Identity.identity()
	if c.StateDir != "" {
		i.DenialsFile = filepath.Join(c.StateDir, "denied.json")
	}
	return i
}

// quotaDir returns where what users have had is kept; empty: nowhere.
func (c *Config) quotaDir() string {
	if c.StateDir == "" {
		return ""
	}
	return filepath.Join(c.StateDir, "quota")
}

// releaseFile returns where is kept how far releases are; empty: nowhere.
func (c *Config) releaseFile() string {
	if c.StateDir == "" {
		return ""
	}
	return filepath.Join(c.StateDir, "releases.json")
}

// congestion returns the engine's name of Congestion.
func (c *Config) congestion() string {
	if c.Congestion == CongestionAuto {
		return ""
	}
	return c.Congestion
}

// Loops returns the number of event loops: one for each core unless Workers says
// otherwise.
func (c *Config) Loops() int {
	if c.Workers > 0 {
		return c.Workers
	}
	return runtime.GOMAXPROCS(0)
}

// maxToken bounds the file with a token, in bytes.
const maxToken = 4 << 10

// Bearer returns the token that admin requests must carry, from its file if there
// is one. Empty: none.
func (a *Admin) Bearer() (string, error) {
	if a.TokenFile == "" {
		return a.Token, nil
	}
	b, err := readBounded(a.TokenFile)
	if err != nil {
		return "", fmt.Errorf("admin token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if len(token) > maxToken || !isToken(token) {
		return "", fmt.Errorf("admin token: %s: not one line of printable ASCII characters without spaces", a.TokenFile)
	}
	return token, nil
}

// isToken reports whether a request can carry a token.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
