package guest

import (
	"testing"
	"time"

	"github.com/fserve/fserve/engine/shape"
)

// The timer of a gate runs before a bucket with a burst of its own is full.
func TestGatePause(t *testing.T) {
	ms := int64(time.Millisecond)
	limit := func(rate shape.Rate, burst int64) shape.Limit { return shape.Limit{Rate: rate, Burst: burst} }
	for _, c := range []struct {
		limits shape.Limits
		want   int64
	}{
		{shape.Limits{}, gatePause},
		{shape.Limits{Client: limit(10e6, 0)}, gatePause},
		{shape.Limits{Client: limit(10e6, 1e6)}, gatePause},
		{shape.Limits{Client: limit(10e6, 100e3)}, 5 * ms},
		{shape.Limits{Global: limit(10e6, 100e3), Connection: limit(10e6, 40e3)}, 2 * ms},
		{shape.Limits{Paths: []shape.PathLimit{{Prefix: "/a/", Limit: limit(1e9, 16e3)}}}, shortPause},
		{shape.Limits{Clients: []shape.ClientLimit{{ID: "c", Limit: limit(1e6, 2e3)}}}, ms},
		{shape.Limits{Client: limit(0, 1)}, gatePause}, // paused
	} {
		g := &gate{limits: func() shape.Limits { return c.limits }}
		if g.setPause(); g.pause != c.want {
			t.Errorf("%+v: %v, want %v", c.limits, time.Duration(g.pause), time.Duration(c.want))
		}
	}
}
