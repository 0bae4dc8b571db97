package shape

import (
	"fmt"
	"testing"
)

// The table of what shaping must show, in virtual time: a loop that is sometimes
// late, flows that always want more.

func TestOneConnection(t *testing.T) {
	for _, rate := range []Rate{1, 100, 3000, 50_000, 1 * mib, 100 * mib, 10e9, 100e9} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v late %v", rate, late), func(t *testing.T) {
				w := newWorld(t, Config{Connection: Limit{Rate: rate}})
				if late {
					w.late = uneven(1)
				}
				f := w.join(0, "/", "a", -1)
				w.run(sec)
				burst := Limit{Rate: rate}.burst()
				if most := float64(rate)*1.1 + float64(burst); float64(f.total) > most {
					t.Errorf("first second: %d bytes, more than %.0f", f.total, most)
				}
				w.run(9 * sec)
				tolerance := 0.01
				if rate < 48*kib {
					tolerance = 0.11 // of a grant in ten seconds
				} else if rate < mib {
					tolerance = 0.04
				}
				within(t, "bytes in 10 s", float64(f.total), 10*float64(rate), tolerance)
			})
		}
	}
}

func TestHundredConnections(t *testing.T) {
	for _, cfg := range []Config{
		{Connection: Limit{Rate: mib}},
		{Connection: Limit{Rate: mib}, Global: Limit{Rate: 1e9}},
		{Global: Limit{Rate: 100 * mib}},
		{Client: Limit{Rate: mib}},
	} {
		w := newWorld(t, cfg)
		w.late = uneven(2)
		for i := range 100 {
			w.join(0, "/", ClientID(fmt.Sprint(i)), -1)
			w.run(ms)
		}
		w.forget()
		w.run(10 * sec)
		var covs, errors []float64
		for _, f := range w.flows {
			covs = append(covs, f.cov(0, 100))
			errors = append(errors, abs(float64(f.total)/(10*mib)-1))
		}
		cov, off := percentile(covs, 50), percentile(errors, 99)
		t.Logf("%v: CoV of 100 ms %.3f, rate error p99 %.4f, %d wakes", w.s.Limits(), cov, off, w.wakes)
		if cov > 0.15 {
			t.Errorf("%+v: CoV of 100 ms slots is %.3f at the median", cfg, cov)
		}
		if off > 0.02 {
			t.Errorf("%+v: rate error p99 %.4f", cfg, off)
		}
	}
}

func TestTenThousandConnections(t *testing.T) {
	for _, cfg := range []Config{
		{Connection: Limit{Rate: 50_000}},
		{Client: Limit{Rate: 50_000}},
		{Global: Limit{Rate: 500e6}},
	} {
		w := newWorld(t, cfg)
		w.late = uneven(3)
		w.slot = sec
		for i := range 10_000 {
			w.join(0, "/", ClientID(fmt.Sprint(i)), -1)
			if i%10 == 0 {
				w.run(ms / 3)
			}
		}
		if testing.Short() {
			w.run(sec)
			continue
		}
		if cfg.Global.limits() {
			w.run(sec) // grants were larger while there were few
		}
		w.forget()
		before := w.wakes
		w.run(10 * sec)
		var covs, errors []float64
		for _, f := range w.flows {
			covs = append(covs, f.cov(0, 10))
			errors = append(errors, abs(float64(f.total)/500_000-1))
		}
		cov, off := percentile(covs, 50), percentile(errors, 99)
		t.Logf("%v: CoV of 1 s %.3f, rate error p99 %.4f, %d wakes", w.s.Limits(), cov, off, w.wakes-before)
		if cov > 0.15 {
			t.Errorf("%+v: CoV of 1 s slots is %.3f at the median", cfg, cov)
		}
		if off > 0.04 {
			t.Errorf("%+v: rate error p99 %.4f", cfg, off)
		}
	}
}

func abs(x float64) float64 { return max(x, -x) }
