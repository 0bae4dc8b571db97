package admin

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server/alerts"
)

// route is one row of the table of routes.
type route struct {
	pattern string // of net/http's mux
	example string // a query or a body
	handler http.Handler
	about   string // what it does, for the index and docs/metrics.md
	open    bool   // no token is needed: probes of load balancers have none
	maxBody int64  // bound of the body in bytes; 0: that of the others
}

// routes are everything that is offered. A route is one row here: it is served, and it
// is in the index, and in docs/metrics.md after make docs.
func (a *Admin) routes(metrics http.Handler) []route {
	list := []route{
		{pattern: "GET /metrics", handler: metrics,
			about: "Prometheus text, OpenMetrics, or protobuf with native histograms"},
		{pattern: "GET /livez", handler: http.HandlerFunc(a.livez), open: true,
			about: "200 as long as the process answers"},
		{pattern: "GET /readyz", handler: http.HandlerFunc(a.readyz), open: true,
			about: "200, or 503 while the server drains or the root cannot be read"},
	}
	list = append(list, a.limitRoutes()...)
	list = append(list, []route{
		{pattern: "GET /adapt", handler: needs(a.adaptation() != nil, "rates are not adapted", endpoint(a.getAdapt)),
			about: "the rates that are found, and the profiles in force"},
		{pattern: "POST /alerts", handler: needs(a.cfg.Alerts != nil, "the server takes no alerts", endpoint(a.postAlerts)), maxBody: alerts.MaxBody,
			about: "takes what Alertmanager posts, which switches profiles of limits"},
		{pattern: "GET /admission", handler: endpoint(admission{a}.get),
			about: "the bounds of requests and downloads, what is under way, who waits, and what was refused; paths, breaker and quotas in short"},
		{pattern: "GET /breaker", handler: endpoint(breaker{a}.get),
			about: "whether the server refuses requests because it has too much to do, and why"},
		{pattern: "PUT /breaker", example: `{"state":"open","ttl":"10m"}`, handler: endpoint(breaker{a}.put),
			about: "open: requests are refused; closed: none are, whatever is measured; auto: as is measured"},
		{pattern: "GET /releases", handler: endpoint(releases{a}.get),
			about: "the releases: their weights, steps and versions, and what these have answered"},
		{pattern: "PUT /releases/{name}", example: `{"action":"promote|finish|pause|resume|rollback"} or {"weight":"5%"}`, handler: endpoint(releases{a}.put),
			about: "takes a release to its next or last step, stops it, lets it go on, takes the canary back, or gives it a weight by hand"},
		{pattern: "GET /quota/{name...}", example: "?of=user|address|link", handler: endpoint(quotas{a}.get),
			about: "what a user has had in the day and the month, as far as quotas count it"},
		{pattern: "PUT /quota/{name...}", example: `{"used":"1GiB"}`, handler: endpoint(quotas{a}.put),
			about: "says what a user has had"},
		{pattern: "DELETE /quota/{name...}", handler: endpoint(quotas{a}.delete),
			about: "lets a user begin anew"},
		{pattern: "GET /connections", example: "?by=rate|age|wait&n=50", handler: endpoint(connections{a}.list),
			about: "what connections are doing, at most 1,000"},
		{pattern: "DELETE /connections/{id}", handler: endpoint(connections{a}.cut),
			about: "cuts a connection, and the download that it has"},
		{pattern: "GET /events", handler: http.HandlerFunc(a.getEvents),
			about: "server-sent events: a snapshot every second; Last-Event-ID brings up to 60 that were missed"},
		{pattern: "POST /-/reload", handler: needs(a.cfg.Reloader != nil, "the server was made without a configuration that could be read anew", endpoint(a.postReload)),
			about: "reads the configuration anew: what changes, and what needs a restart; 422 and the reason if it cannot be used"},
		{pattern: "GET /deny", handler: endpoint(denying{a}.get),
			about: "the users, tokens and links that are denied before they end by themselves"},
		{pattern: "POST /deny", example: `{"jti":"f7c1","until":"2027-01-31T12:00:00Z"}`, handler: endpoint(denying{a}.post),
			about: "denies a user, a token (jti) or a link (its id) until then; a time in the past takes that back"},
		{pattern: "POST /-/jwks", handler: endpoint(denying{a}.fetchKeys),
			about: "fetches the keys of the issuers of tokens anew"},
		{pattern: "POST /-/drain", handler: needs(a.cfg.Drain != nil, "who runs the server has not offered to drain it", http.HandlerFunc(a.postDrain)),
			about: "202; what SIGTERM does. The listener stays until the last download has ended"},
		{pattern: "GET /{$}", handler: http.HandlerFunc(a.index),
			about: "this list"},
	}...)
	if a.cfg.PProf {
		list = append(list, profiles...)
	}
	return list
}

// limitRoutes are the routes that show and change limits.
func (a *Admin) limitRoutes() []route {
	limited := func(e endpoint) http.Handler {
		return needs(a.limits.shaper != nil, "the server was made without limits", e)
	}
	put := func(l shape.Level) http.Handler { return limited(a.putLevel(l)) }
	get := func(l shape.Level) http.Handler { return limited(explainer{a}.level(l)) }
	remove := func(l shape.Level) http.Handler { return limited(a.deleteLevel(l)) }
	return []route{
		{pattern: "GET /limits", example: "?clients=50", handler: limited(a.getLimits),
			about: "limits, what passes, and who waits"},
		{pattern: "GET /limits/explain", example: "?path=/video/f.mp4&client=203.0.113.7", handler: limited(endpoint(explainer{a}.explain)),
			about: "what holds the responses to a client for a path, level by level, and the lowest of it"},
		{pattern: "GET /limits/global", handler: get(shape.LevelGlobal),
			about: "the limit of everything together"},
		{pattern: "GET /limits/connection", handler: get(shape.LevelConnection),
			about: "the limit of each connection"},
		{pattern: "GET /limits/client", handler: get(shape.LevelClient),
			about: "the limit of each client without one of its own"},
		{pattern: "GET /limits/path/{prefix...}", handler: get(shape.LevelPath),
			about: "the limit of a path class"},
		{pattern: "GET /limits/client/{name...}", handler: get(shape.LevelClient),
			about: "the limit of one client"},
		{pattern: "PUT /limits/global", example: `{"rate":"10MiB/s","burst":"1MiB","ttl":"1h"}`, handler: put(shape.LevelGlobal),
			about: "sets the limit of everything together"},
		{pattern: "PUT /limits/connection", example: `{"rate":"2MiB/s"}`, handler: put(shape.LevelConnection),
			about: "sets the limit of each connection"},
		{pattern: "PUT /limits/client", example: `{"rate":"10MiB/s"}`, handler: put(shape.LevelClient),
			about: "sets the limit of each client without one of its own"},
		{pattern: "PUT /limits/path/{prefix...}", example: `{"rate":"40MiB/s","client":"3MiB/s","connection":"1MiB/s","after":"10MiB"}`, handler: put(shape.LevelPath),
			about: "sets the limit of a path class, or steers the rate that is found for it"},
		{pattern: "PUT /limits/client/{name...}", example: `{"rate":"1MiB/s","weight":2}`, handler: put(shape.LevelClient),
			about: "sets the limit of one client, or steers the rate that is found for it"},
		{pattern: "DELETE /limits/path/{prefix...}", handler: remove(shape.LevelPath),
			about: "removes a path class"},
		{pattern: "DELETE /limits/client/{name...}", handler: remove(shape.LevelClient),
			about: "removes the limit of one client"},
		{pattern: "POST /config", example: `{"client_id":"203.0.113.7","target_bps":5242880}`, handler: limited(a.postConfig),
			about: "sets the rate of one client in bytes per second; 0 pauses it"},
	}
}

// profiles are the routes of net/http/pprof, whose answers may take longer than others.
var profiles = []route{
	{pattern: "GET /debug/pprof/", handler: unhurried(pprof.Index), about: "profiles by name"},
	{pattern: "GET /debug/pprof/cmdline", handler: unhurried(pprof.Cmdline), about: "the command line"},
	{pattern: "GET /debug/pprof/profile", example: "?seconds=30", handler: unhurried(pprof.Profile), about: "a CPU profile"},
	{pattern: "GET /debug/pprof/symbol", handler: unhurried(pprof.Symbol), about: "names of program counters"},
	{pattern: "POST /debug/pprof/symbol", handler: unhurried(pprof.Symbol), about: "the same for many"},
	{pattern: "GET /debug/pprof/trace", example: "?seconds=5", handler: unhurried(pprof.Trace), about: "an execution trace"},
}

func unhurried(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
		h(w, r)
	})
}

// needs returns h, or if the server lacks what h needs, a handler that says why.
func needs(there bool, why string, h http.Handler) http.Handler {
	if there {
		return h
	}
	return endpoint(func(*http.Request) (any, *problem) { return nil, problemf(http.StatusConflict, "%s", why) })
}

// request returns the method of a route and its path, in which capitals stand for names.
func (r *route) request() (method, path string) {
	method, path, _ = strings.Cut(r.pattern, " ")
	path, name, _ := strings.Cut(path, "{")
	return method, path + strings.ToUpper(strings.TrimRight(name, "$.}"))
}

// summary says what a route does, and whether that needs a token.
func (r *route) summary() string {
	if r.open {
		return r.about + "; needs no token"
	}
	return r.about
}

// index lists the routes.
func (a *Admin) index(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	b.WriteString("fserve admin listener\n\n")
	for i := range a.table {
		r := &a.table[i]
		method, path := r.request()
		fmt.Fprintf(&b, "%-6s %-24s %s", method, path, r.summary())
		if r.example != "" {
			b.WriteString(": " + r.example)
		}
		b.WriteByte('\n')
	}
	plain(w, b.String())
}
