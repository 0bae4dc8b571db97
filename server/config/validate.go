package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/httpfile"
)

// Validate returns everything that is wrong with the values of c, as far as they
// tell by themselves: no file is looked for and no address is bound.
func (c *Config) Validate() []Problem { return c.validate(nil) }

func (c *Config) validate(origins Origins) Problems {
	v := &validator{Config: c, origins: origins}
	v.general()
	v.listeners()
	v.timeouts()
	v.files("files", &v.Files)
	v.hosts()
	v.realms()
	v.admission()
	v.identity()
	v.limits()
	v.adapts()
	v.profiles()
	v.alerts()
	v.admin()
	v.problems.sort()
	return v.problems
}

type validator struct {
	*Config
	origins  Origins
	problems Problems
}

// form reports a value that is not well formed or out of range.
func (v *validator) form(path, format string, args ...any) {
	v.problems = append(v.problems, Problem{Path: path, Origin: v.origins.Of(path), Text: fmt.Sprintf(format, args...)})
}

// sense reports a value that is well formed but cannot work.
func (v *validator) sense(path string, err error) {
	if err == nil {
		return
	}
	for line := range strings.Lines(err.Error()) {
		v.problems = append(v.problems, Problem{Path: path, Origin: v.origins.Of(path), Text: strings.TrimSuffix(line, "\n"), Sense: true})
	}
}

func (v *validator) general() {
	if v.Root+v.Release == "" && len(v.Hosts) == 0 && !v.answer() {
		v.form("root", "--root is required: the directory to serve (root in the file)")
	}
	if v.Fallback && v.StateDir == "" {
		v.form("config-fallback", "--config-fallback needs a --state-dir in which the last good configuration is kept")
	}
	if v.MaxConnections < 0 || v.MaxConnections > maxConnections {
		v.form("max_connections", "%d: --max-connections must be from 1 to %d, or 0 for the default", v.MaxConnections, maxConnections)
	}
	if v.MaxClientConnections < 0 {
		v.form("max_client_connections", "%d: --max-client-connections must not be negative", v.MaxClientConnections)
	}
	if v.DeferAccept < 0 || v.DeferAccept > maxDeferAccept {
		v.form("tcp_defer_accept", "%v: --tcp-defer-accept must be from 0s to %v", v.DeferAccept, maxDeferAccept)
	}
	if v.FastOpen < 0 || v.FastOpen > maxFastOpen {
		v.form("tcp_fastopen", "%d: --tcp-fastopen must be from 0 to %d", v.FastOpen, maxFastOpen)
	}
	if v.MaxBuffers < leastBuffers {
		v.form("max_buffers", "%v: --max-buffers must be at least %v", v.MaxBuffers, leastBuffers)
	}
	if v.CompressCache < leastCache {
		v.form("compress_cache", "%v: --compress-cache must be at least %v", v.CompressCache, leastCache)
	}
	if v.Workers < 0 || v.Workers > maxWorkers {
		v.form("workers", "%d: --workers must be from 1 to %d, or 0 for one for each core", v.Workers, maxWorkers)
	}
}

const (
	// maxConnections is the most connections that the engine takes.
	maxConnections = 4_000_000
	// maxDeferAccept and maxFastOpen are beyond what anybody wants.
	maxDeferAccept = time.Hour
	maxFastOpen    = 1 << 16
	// leastBuffers has room for some heads of requests of the largest size.
	leastBuffers Size = 1 << 20
	// leastCache has room for a form of the largest size by default.
	leastCache Size = 1 << 20
)

// maxWorkers is the most event loops that the engine takes.
const maxWorkers = 1024

func (v *validator) timeouts() {
	t := &v.Timeouts
	for path, d := range map[string]time.Duration{"timeouts.header": t.Header, "timeouts.idle": t.Idle, "timeouts.body": t.Body, "timeouts.open": t.Open, "timeouts.send": t.Send} {
		if d <= 0 {
			v.form(path, "%v: timeouts must be positive durations like 10s", d)
		}
	}
	if t.Drain < 0 {
		v.form("timeouts.drain", "%v: --drain-timeout must not be negative", t.Drain)
	}
	if t.Upgrade < 0 {
		v.form("timeouts.upgrade", "%v: --upgrade-timeout must not be negative", t.Upgrade)
	}
}

func (v *validator) listeners() {
	if len(v.Listen)+len(v.TLS.Listen) == 0 {
		v.form("listen", "--listen needs an address")
	}
	v.addresses()
	v.tls()
	for i, n := range v.TrustedProxies {
		if _, err := server.ParseTrust([]string{n}); err != nil {
			v.form(element("trusted_proxies", i), "%q is not a network, an address or unix", n)
		}
	}
	for i, a := range v.ProxyProtocol {
		if !slices.Contains(v.Listen, a) && !slices.Contains(v.TLS.Listen, a) {
			v.form(element("proxy_protocol", i), "%q: no --listen or --tls-listen has this address", a)
		}
	}
}

func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// firstGiven returns the first of the paths that is not a default.
func (v *validator) firstGiven(paths ...string) string {
	for _, p := range paths {
		if v.origins.Of(p).Kind != FromDefault {
			return p
		}
	}
	return paths[0]
}

// files checks each rule of a group of them by itself, so that each fault has its
// place.
func (v *validator) files(at string, f *Files) {
	policy := func(path string, c httpfile.Config) {
		_, err := httpfile.NewPolicy(c)
		v.sense(path, err)
	}
	for i, r := range f.CacheControl {
		policy(element(at+".cache_control", i), httpfile.Config{CacheControl: []httpfile.Rule{{Match: r.Match, Value: r.Value}}})
	}
	for i, p := range f.Attachment {
		policy(element(at+".attachment", i), httpfile.Config{Disposition: []httpfile.Rule{{Match: p, Value: attachment}}})
	}
	for i, p := range f.Growing {
		_, err := httpfile.CompileRules("growing", []httpfile.Rule{{Match: p, Value: "growing"}})
		v.sense(element(at+".growing", i), err)
	}
	for ext, typ := range f.Types {
		policy(at+".types["+ext+"]", httpfile.Config{ContentTypes: map[string]string{ext: typ}})
	}
	if f.DefaultType != nil {
		policy(at+".default_type", httpfile.Config{DefaultType: *f.DefaultType})
	}
	if f.DownloadParam != nil {
		policy(at+".download_param", httpfile.Config{DownloadParam: *f.DownloadParam})
	}
	if f.MaxRanges != nil {
		if *f.MaxRanges == 0 {
			v.form(at+".max_ranges", "0: an answer has at least one range")
		}
		policy(at+".max_ranges", httpfile.Config{MaxRanges: *f.MaxRanges})
	}
	if f.Compress != nil {
		policy(at+".compress", httpfile.Config{Compress: f.Compress.policy()})
	}
	if f.ServerField != nil {
		policy(at+".server_field", httpfile.Config{Server: *f.ServerField})
	}
	for i, h := range f.Headers {
		v.sense(element(at+".headers", i), server.HeaderRule(h).Validate())
	}
	if f.ListingPage != nil && *f.ListingPage < 1 {
		v.form(at+".listing_page", "%d: a page of a listing has at least one entry", *f.ListingPage)
	}
	for i, n := range f.Index {
		if n == "" || n == "." || n == ".." || strings.Contains(n, "/") {
			v.sense(element(at+".index", i), fmt.Errorf("%q is not a file name", n))
		}
	}
	for status, page := range f.ErrorPages {
		path := fmt.Sprintf("%s.error_pages[%d]", at, status)
		if status < 400 || !httpfile.Sends(status) {
			v.sense(path, fmt.Errorf("%d is not the status of a failure", status))
		}
		if !strings.HasPrefix(page.Page, "/") {
			v.sense(path, fmt.Errorf("%q is not an absolute path of a file below the root", page.Page))
		}
	}
}

func (v *validator) limits() {
	l := &v.Limits
	for path, limit := range map[string]*Limit{"limits.global": &l.Global, "limits.client": &l.Client, "limits.connection": &l.Connection} {
		if (*limit != Limit{Rate: limit.Rate, Burst: limit.Burst}) {
			v.form(path, "a level has rate and burst; the other keys are for classes of paths")
		}
		v.limit(path, limit)
	}
	if l.Burst < 0 {
		v.form("limits.burst", "%v: a burst must not be negative", l.Burst)
	}
	for prefix, limit := range l.Paths {
		path := "limits.paths[" + prefix + "]"
		if err := shape.CheckPrefix(prefix); err != nil {
			v.form(path, "%q: %v", prefix, err)
		}
		v.limit(path, &limit)
	}
}

// limit reports what package shape says about a limit; it names the part first.
func (v *validator) limit(path string, l *Limit) {
	if err := l.Shape().Validate(); err != nil {
		part, text, _ := strings.Cut(err.Error(), ": ")
		v.form(path+"."+part, "%s", text)
	}
}

func (v *validator) admin() {
	a := &v.Admin
	if a.Token != "" && a.TokenFile != "" {
		v.form("admin.token_file", "there is a token too: which of them is meant?")
	}
	if a.Token != "" && !isToken(a.Token) {
		v.form("admin.token", "a token is of printable ASCII characters without spaces")
	}
	switch {
	case a.Listen == "" || checkAddress(a.Listen) != nil: // addresses has said so
	case !IsLocal(a.Listen) && a.Token == "" && a.TokenFile == "":
		v.form("admin.listen", "%q can be reached from elsewhere: it needs a token (--admin-token-file, token_file in the file), or an address of loopback or unix:/PATH", a.Listen)
	}
}

// IsLocal reports whether only programs on this machine can connect to an address,
// HOST:PORT or unix:/PATH. A name other than localhost may be anybody's, and so may
// what is no address.
func IsLocal(addr string) bool {
	if strings.HasPrefix(addr, engine.UnixPrefix) {
		return true
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
