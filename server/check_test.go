package server

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine/loop"
)

// Check finds what New would refuse, and leaves nothing open.
func TestCheck(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "404.html"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	before := openDescriptors(t)
	for _, test := range []struct {
		name, want string
		cfg        Config
	}{
		{"good", "", Config{Site: Site{Root: root, ErrorPages: map[int]Page{404: {Path: "/404.html"}}}}},
		{"root", "no such file", Config{Site: Site{Root: root + "/none"}}},
		{"page", "error_pages[404]: /none.html: ", Config{Site: Site{Root: root, ErrorPages: map[int]Page{404: {Path: "/none.html"}}}}},
		{"header", "Date cannot be set", Config{Site: Site{Root: root, Headers: []HeaderRule{{Match: "/", Name: "Date", Value: "now"}}}}},
		{"certificate", "no such file", Config{Site: Site{Root: root}, TLS: TLS{Listen: []string{":0"}, CertFile: root + "/c", KeyFile: root + "/k"}}},
	} {
		err := Check(test.cfg)
		if (test.want == "") != (err == nil) || err != nil && (!errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	if after := openDescriptors(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

// What of a Config has no effect, or makes no sense, is an error that names it, of New and Swap too.
func TestConfigIsRefused(t *testing.T) {
	site := Site{Root: t.TempDir()}
	handler := func(*fasthttp.RequestCtx) {}
	for want, change := range map[string]func(*Config){
		"MaxBody must not be negative":                 func(c *Config) { c.MaxBody = -1 },
		"MaxDrain must not be negative":                func(c *Config) { c.MaxDrain = -1 },
		"BodyTimeout must not be negative":             func(c *Config) { c.BodyTimeout = -1 },
		"OpenTimeout must not be negative":             func(c *Config) { c.OpenTimeout = -1 },
		"CompressCache must not be negative":           func(c *Config) { c.CompressCache = -1 },
		"RequestLimits.MaxHead must not be negative":   func(c *Config) { c.RequestLimits.MaxHead = -1 },
		"RequestLimits.MaxTarget must not be negative": func(c *Config) { c.RequestLimits.MaxTarget = -1 },
		"RequestLimits.MaxFields must not be negative": func(c *Config) { c.RequestLimits.MaxFields = -1 },
		"TLS.MaxConns must not be negative":            func(c *Config) { c.TLS.MaxConns = -1 },
		"TLS.MaxHandshakes must not be negative":       func(c *Config) { c.TLS.MaxHandshakes = -1 },
		"TLS have no effect: TLS.Listen is empty":      func(c *Config) { c.TLS.CertFile = "cert.pem" },
		"Engine.Listeners is set by the Server":        func(c *Config) { c.Engine.Listeners = []string{"127.0.0.1:0"} },
		"Engine.NewSession is set by the Server":       func(c *Config) { c.Engine.NewSession = func(*loop.Loop) loop.Session { return nil } },
		"Engine.Refusal is set by the Server":          func(c *Config) { c.Engine.Refusal = []byte("no") },
		"Engine.CountClient is set by the Server":      func(c *Config) { c.Engine.CountClient = func(*loop.Conn) bool { return true } },
		"Engine.OnShortage is set by the Server":       func(c *Config) { c.Engine.OnShortage = func(loop.Shortage) {} },
		"Engine.BodyHeadroom is set by the Server":     func(c *Config) { c.Engine.BodyHeadroom = 1 },
		`two routes with the prefix "/a/"`: func(c *Config) {
			c.Routes = []Route{{Prefix: "/a/", Handler: handler}, {Prefix: "/b/", Handler: handler}, {Prefix: "/a/", Handler: handler}}
		},
		`route "a" needs a handler`:            func(c *Config) { c.Routes = []Route{{Prefix: "a", Handler: handler}} },
		"Admission.Users and Claims are made":  func(c *Config) { c.Admission.Users = map[string]RequestRate{} },
		"Either has no effect":                 func(c *Config) { c.Either = true },
		"location /x/: neither a password nor": func(c *Config) { c.Locations = []Location{{Match: "/x/", Site: Site{Root: c.Root, Realm: "r"}}} },
		"key or token is asked for: Realm has no effect": func(c *Config) {
			c.Locations = []Location{{Match: "/y/", Site: Site{Root: c.Root, Realm: "r", SecureLink: "$arg_a,$arg_b", SecureLinkMD5: "$secure_link_expires x"}}}
		},
	} {
		cfg := Config{Site: site, Listen: []string{"127.0.0.1:0"}}
		change(&cfg)
		for name, err := range map[string]error{"Check": Check(cfg), "New": tryNew(cfg)} {
			if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", name, err, want)
			}
		}
	}
	logged := Config{Site: site}
	logged.Site.AccessLog.File = filepath.Join(site.Root, "log")
	if err := tryNew(logged); err == nil || !strings.Contains(err.Error(), "Config.AccessLogs is missing") {
		t.Errorf("New: %v", err)
	}
	if err := Check(logged); err != nil {
		t.Errorf("Check: %v", err)
	}
	if _, err := os.Stat(logged.Site.AccessLog.File); err == nil {
		t.Error("Check has made a log")
	}
}

func tryNew(cfg Config) error {
	s, err := New(cfg)
	if err == nil {
		s.Close()
	}
	return err
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
