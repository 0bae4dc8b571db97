package suite

import (
	"context"
	"time"

	"github.com/fserve/fserve/bench/load"
	"github.com/fserve/fserve/bench/peer"
	"github.com/fserve/fserve/bench/proc"
	"github.com/fserve/fserve/bench/report"
)

const (
	settleEvery = 200 * time.Millisecond
	settleMost  = 3 * time.Second
)

// idle measures what connections cost in memory that made one request each
// and are quiet since.
func idle() *testCase {
	c := single("idle", "{idle} idle keep-alive connections that made one request each: resident memory added", file1k, nil)
	c.fresh = true
	c.metrics = []report.Metric{{Name: "MB", Better: report.Lower}, {Name: "bytes/connection"}, {Name: "MB before"}}
	c.site = func(r *runner) peer.Site { return r.site(file1k, r.IdleConns) }
	c.possible = func(r *runner) string { return fits(r.IdleConns) }
	c.run = func(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) { return runIdle(ctx, r, s, "") }
	return c
}

// fits says why so many connections do not fit. The servers inherit the limit.
func fits(conns int) string {
	if err := load.RaiseFiles(conns); err != nil {
		return err.Error()
	}
	return ""
}

func runIdle(ctx context.Context, r *runner, s *peer.Server, way load.TLS) ([]float64, error) {
	c := load.Config{TLS: way, Groups: []load.Group{{
		Mode: load.Hold, Conns: r.IdleConns, Path: file1k.path(), BodyLen: file1k.size, Clients: idleSources,
	}}}
	before, err := settled(ctx, s)
	if err != nil {
		return nil, err
	}
	var after int64
	_, err = r.during(ctx, s, c, func(ctx context.Context, _ int64) error {
		after, err = settled(ctx, s)
		return err
	})
	added := float64(after - before)
	return []float64{added / 1e6, added / float64(r.IdleConns), float64(before) / 1e6}, err
}

// settled returns the resident memory of a server in bytes once it changes by
// less than 1 % from one look to the next, or after settleMost.
func settled(ctx context.Context, s *peer.Server) (int64, error) {
	look := time.NewTicker(settleEvery)
	defer look.Stop()
	var last int64
	for range settleMost / settleEvery {
		pids, err := s.Pids()
		if err != nil {
			return 0, err
		}
		now, err := proc.RSS(pids)
		if err != nil {
			return 0, err
		}
		if d := now - last; d < now/100 && -d < now/100 {
			return now, nil
		}
		last = now
		select {
		case <-look.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return last, nil
}
