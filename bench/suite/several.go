package suite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/fserve/fserve/bench/load"
	"github.com/fserve/fserve/bench/peer"
	"github.com/fserve/fserve/bench/report"
)

// several draws files at random, which nginx keeps all open.
func several(name, about string, f file) *testCase {
	c := single(name, about, f, ofRequests, func(g *load.Group) { g.Files = f.many })
	c.excluded = oneAnswer
	c.possible = func(*runner) string { return fits(2 * f.many) }
	c.site = func(r *runner) peer.Site {
		site := r.site(f, r.Conns)
		site.NginxFiles = wideFiles
		return site
	}
	c.verify = func(ctx context.Context, r *runner, s *peer.Server) error {
		members := f.members()
		for range 8 {
			if err := r.verify.whole(ctx, s, members[rand.IntN(len(members))], false); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

// tail draws among more files than servers keep open.
func tail() *testCase {
	c := several("tail", "40,000 files of 4 KiB drawn at random, {conns} keep-alive connections", file{name: "tail/", size: 4 * kib, many: 40_000})
	c.open = true
	c.possible = nil
	c.excluded = func(kind peer.Kind) string {
		if kind == peer.NginxOpen {
			return fits(peer.NginxOpenFiles)
		}
		return oneAnswer(kind)
	}
	site := c.site
	c.site = func(r *runner) peer.Site {
		s := site(r)
		s.NginxFiles = 0
		return s
	}
	return c
}

// withOpen adds nginx with a cache of all open files.
func withOpen(field []Contestant) []Contestant {
	for _, c := range field {
		if c.Kind == peer.Nginx {
			c.Name, c.Kind = c.Name+"-open", peer.NginxOpen
			return append(field[:len(field):len(field)], c)
		}
	}
	return field
}

// hotBesideTail times requests for one file while others walk the tail.
func hotBesideTail() *testCase {
	c := tail()
	c.name, c.open = "tail-hot", false
	c.about = func(o *Options) string {
		return o.fill(fmt.Sprintf("hot 1 KiB (%d/s on %d connections) while {conns} connections draw among 40,000 files", hotRate, hotConns))
	}
	c.metrics = []report.Metric{
		{Name: "hot p50 ms", Better: report.Lower}, {Name: "hot p99 ms", Better: report.Lower}, {Name: "walked/s"},
	}
	walked := c.files
	c.files = func(o *Options) []file { return append(walked(o), file1k) }
	c.run = func(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
		walkers := r.closed(walked(&r.Options)[0])
		walkers.Files = walked(&r.Options)[0].many
		res, err := r.generate(ctx, s, r.load(hot(file1k, time.Second/hotRate), walkers))
		if err != nil {
			return nil, err
		}
		seen := res.Groups[0]
		return []float64{millis(seen.P50), millis(seen.P99), float64(res.Groups[1].Requests) / res.Seconds}, nil
	}
	return c
}
