package suite

import (
	"context"

	"github.com/fserve/fserve/bench/load"
	"github.com/fserve/fserve/bench/peer"
)

// ofSecure is what is looked at of loads over TLS, whose client is not cheaper than the server.
var ofSecure = []column{
	lower("CPU µs/request", cpuMicros), plain("GB/server CPU s", perCPUSecond), plain("requests/s", perSecond),
	plain("p50 µs", p50Micros), plain("p99 µs", p99Micros), plain("load busy %", busy),
}

// overTLS makes a case one of TLS 1.3.
func overTLS(c *testCase) *testCase {
	site := c.site
	c.site = func(r *runner) peer.Site {
		s := site(r)
		s.TLS = true
		return s
	}
	c.possible = func(r *runner) string {
		if r.Netns != "" {
			return "the load over TLS comes from this network only"
		}
		return ""
	}
	c.excluded = func(kind peer.Kind) string {
		if !kind.HasTLS() {
			return "it is not set up for TLS here"
		}
		return ""
	}
	return c
}

func secure(name, about string, f file, edit ...func(*load.Group)) *testCase {
	return overTLS(secured(load.NewSessions, single(name, "TLS 1.3: "+about, f, ofSecure), f, edit...))
}

// secured puts the load of a case over TLS.
func secured(way load.TLS, c *testCase, f file, edit ...func(*load.Group)) *testCase {
	c.run = func(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
		g := r.closed(f)
		for _, e := range edit {
			e(&g)
		}
		l := r.load(g)
		l.TLS = way
		res, err := r.generate(ctx, s, l)
		if err != nil {
			return nil, err
		}
		return figures(ofSecure, res), nil
	}
	return c
}

// handshakes opens a connection for each request.
func handshakes(name, about string, way load.TLS) *testCase {
	c := reconnect()
	c.name, c.metrics = name, metrics(ofSecure)
	c.about = func(o *Options) string { return o.fill("TLS 1.3: 1 KiB, " + about + ", {conns} at a time") }
	return overTLS(secured(way, c, file1k, func(g *load.Group) { g.Mode, g.Clients = load.Reconnect, connSources }))
}

// secureIdle measures what idle connections over TLS cost in memory.
func secureIdle() *testCase {
	c := idle()
	c.name = "tls-idle"
	c.about = func(o *Options) string {
		return o.fill("TLS 1.3: {idle} idle connections that made one request each: resident memory added")
	}
	fits := c.possible
	c = overTLS(c)
	here := c.possible
	c.possible = func(r *runner) string {
		if reason := here(r); reason != "" {
			return reason
		}
		return fits(r)
	}
	c.run = func(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
		return runIdle(ctx, r, s, load.NewSessions)
	}
	return c
}
