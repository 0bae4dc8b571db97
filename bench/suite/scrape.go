package suite

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/fserve/fserve/bench/load"
	"github.com/fserve/fserve/bench/peer"
	"github.com/fserve/fserve/bench/report"
)

const (
	scrapeConns = 10_000
	scrapeRate  = 5_000 // bytes per second of each client: its part of the limit
	scrapeEvery = time.Second
	scrapeProbe = time.Millisecond
)

// scraped measures what a scrape of /metrics takes and how much it holds up others,
// with as many clients as connections: what is told apart is what costs.
func scraped() *testCase {
	g := &shaping{
		name: "shape-scrape", about: fmt.Sprintf("%d downloads of as many clients at 5 KB/s: a scrape of /metrics every %v; "+
			"1 KiB every %v beside it, and without scrapes", scrapeConns, scrapeEvery, scrapeProbe),
		limits: []string{"--limit-path", "/shape-scrape=50MB/s"}, admin: true, conns: scrapeConns,
		metrics: []report.Metric{
			{Name: "scrape p50 ms", Better: report.Lower}, {Name: "max ms", Better: report.Lower},
			{Name: "1 KiB p99 ms", Better: report.Lower}, {Name: "calm"}, {Name: "p99.9 ms", Better: report.Lower}, {Name: "calm"},
			{Name: "CPU %"}, {Name: "calm"}, {Name: "stall ms"},
		},
		files: lasts("shape-scrape", scrapeRate),
	}
	g.groups = func(o *Options) []load.Group {
		return []load.Group{downloads(g.files(o)[0], scrapeConns, scrapeConns), probe(file1k, scrapeConns, scrapeProbe)}
	}
	g.run = func(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
		// The scraper shares the core with the receivers.
		defer func(spin bool) { r.Spin = spin }(r.Spin)
		r.Spin = false
		c := g.load(r)
		c.Spread, c.Warm = 2*c.Spread, 2*c.Warm
		calm, err := r.steady(ctx, s, c, nil)
		if err != nil {
			return nil, err
		}
		var took []float64
		res, err := r.steady(ctx, s, c, func(ctx context.Context, began int64) (err error) {
			took, err = scrapeFor(ctx, s, began+int64(r.Shape))
			return err
		})
		if err != nil {
			return nil, err
		}
		a, b := res.Groups[1], calm.Groups[1]
		return []float64{
			report.Median(took), report.Quantile(took, 1),
			millis(a.P99), millis(b.P99), millis(a.P999), millis(b.P999),
			cpuPart(res), cpuPart(calm), max(stall(res), stall(calm)),
		}, nil
	}
	return g.testCase()
}

// scrapeFor scrapes until an instant of load.Clock and returns how long each took,
// in ms.
func scrapeFor(ctx context.Context, s *peer.Server, until int64) (took []float64, err error) {
	for next := load.Clock() + int64(scrapeEvery)/2; next < until; next += int64(scrapeEvery) {
		if err := sleepUntil(ctx, next); err != nil {
			return nil, err
		}
		asked := load.Clock()
		if err := scrape(ctx, s); err != nil {
			return nil, err
		}
		took = append(took, millis(time.Duration(load.Clock()-asked)))
	}
	return took, nil
}

func scrape(ctx context.Context, s *peer.Server) error {
	url := "http://" + s.Admin + "/metrics"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return nil
}
