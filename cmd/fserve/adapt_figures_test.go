package main_test

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
)

// The figures of adaptive bandwidth with the real command: make adapt.

// measured says that the figures are to be measured, which takes minutes and a quiet
// machine.
func measured(t *testing.T) {
	t.Helper()
	if os.Getenv("FSERVE_ADAPT_FIGURES") != "1" {
		t.Skip("a measurement: make adapt")
	}
}

// point is what was there after a time.
type point struct {
	at   float64 // s
	got  int64   // bytes, so far
	seen found
}

// watch looks ten times a second; at is called at the given seconds.
func (a *adapted) watch(seconds float64, downloads []*download, at map[int]func()) (ps []point) {
	begin, done := time.Now(), -1
	for now := 0.0; now < seconds; now = time.Since(begin).Seconds() {
		if s := int(now); s != done {
			done = s
			if f := at[s]; f != nil {
				f()
			}
		}
		p := point{at: time.Since(begin).Seconds(), seen: a.client()}
		for _, d := range downloads {
			p.got += d.received.Load()
		}
		ps = append(ps, p)
		time.Sleep(100 * time.Millisecond)
	}
	return ps
}

// rate is what came between two instants, in Mbit/s.
func rate(ps []point, from, to float64) float64 {
	first, last := at(ps, from), at(ps, to)
	return float64(last.got-first.got) / (last.at - first.at) / mbit
}

func at(ps []point, when float64) point {
	for _, p := range ps {
		if p.at >= when {
			return p
		}
	}
	return ps[len(ps)-1]
}

// payload is the part of a packet of a full segment that is the file's: 1448 of the
// 1514 bytes that the line counts.
const payload = 1448.0 / 1514

func TestFigureSteps(t *testing.T) {
	measured(t)
	for _, n := range []int{1, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			l := testenv.NewLine(t)
			const queue = 128 << 10
			l.SetRate(100e6, queue)
			a := serveAdapted(t, l, "--adapt-min", "128KiB/s", "--adapt-max", "50MiB/s", "--workers", "1")
			var ds []*download
			for range n {
				ds = append(ds, a.download("/big"))
			}
			ps := a.watch(51, ds, map[int]func(){15: func() { l.SetRate(40e6, queue) }, 30: func() { l.SetRate(100e6, queue) }})
			for _, c := range []struct{ at, want float64 }{{4, 100}, {17, 40}} {
				got := at(ps, c.at).seen.Estimate / mbit
				t.Logf("estimate at %v s: %.1f of %.1f Mbit/s", c.at, got, c.want*payload)
				if math.Abs(got-c.want*payload) > 0.1*c.want*payload {
					t.Error("missed")
				}
			}
			over, sum, squares := 0.0, 0.0, 0.0
			for s := 18.0; s < 30; s++ {
				over = max(over, at(ps, s).seen.Target/mbit)
			}
			for s := 22.0; s < 29; s++ {
				r := rate(ps, s, s+1)
				sum, squares = sum+r, squares+r*r
			}
			dev := math.Sqrt(max(squares/7-sum*sum/49, 0)) / (sum / 7)
			back := math.Inf(1)
			for s := 49.0; s >= 30 && rate(ps, s, s+1) >= 90*payload; s-- {
				back = s - 30
			}
			t.Logf("from 3 s after the step down: at most %.1f of 40 Mbit/s; back after %v s; oscillation %.1f %%", over, back, 100*dev)
			if over > 42 || back > 20 || dev > 0.08 {
				t.Error("missed")
				for i := 0; i < len(ps); i += 5 {
					t.Logf("%5.1f s %+v", ps[i].at, ps[i].seen)
				}
			}
		})
	}
}

// retransmitted returns the segments that the server's namespace has sent again.
func retransmitted(t *testing.T, l *testenv.Line) (n float64) {
	t.Helper()
	l.InServer(func() {
		b, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			t.Error(err)
			return
		}
		var names []string
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if f[0] != "Tcp:" {
				continue
			}
			if names == nil {
				names = f
				continue
			}
			for i, name := range names {
				if name == "RetransSegs" {
					n, err = strconv.ParseFloat(f[i], 64)
				}
			}
		}
		if err != nil {
			t.Error(err)
		}
	})
	return n
}

func TestFigureRetransmits(t *testing.T) {
	measured(t)
	for _, n := range []int{1, 4} {
		var again, goodput [2]float64
		for i, args := range [][]string{nil, {"--adapt-min", "128KiB/s", "--adapt-max", "50MiB/s"}} {
			t.Run(fmt.Sprint(n, args != nil), func(t *testing.T) {
				l := testenv.NewLine(t)
				l.SetRate(40e6, 48<<10)
				l.SetLoss(500)
				a := serveAdapted(t, l, append(args, "--workers", "1")...)
				var ds []*download
				for range n {
					ds = append(ds, a.download("/big"))
				}
				sum := func() (got float64) {
					for _, d := range ds {
						got += float64(d.received.Load())
					}
					return got
				}
				time.Sleep(3 * time.Second)
				r0, g0 := retransmitted(t, l), sum()
				time.Sleep(15 * time.Second)
				again[i], goodput[i] = retransmitted(t, l)-r0, (sum()-g0)/15/mbit
			})
		}
		t.Logf("%d connections: sent again %.0f -> %.0f segments (%.2f), goodput %.2f -> %.2f Mbit/s (%.3f)",
			n, again[0], again[1], again[1]/again[0], goodput[0], goodput[1], goodput[1]/goodput[0])
		chance := goodput[0] * mbit * 15 / 1448 * 0.0005 // is lost at any rate
		if goodput[1] < 0.9*goodput[0] || again[0] > 2*chance && again[1] > 0.7*again[0] {
			t.Errorf("missed (by chance: %.0f segments)", chance)
		}
	}
}

func TestFigureFairness(t *testing.T) {
	measured(t)
	l := testenv.NewLine(t)
	l.SetRate(100e6, 128<<10)
	a := serveAdapted(t, l, "--adapt-min", "128KiB/s", "--adapt-max", "50MiB/s", "--workers", "1", "--trusted-proxies", testenv.ClientAddr)
	var ds []*download
	for i := range 4 {
		ds = append(ds, a.download("/big", fmt.Sprintf("X-Forwarded-For: 192.0.2.%d", i+1)))
	}
	time.Sleep(10 * time.Second)
	var rates [4]float64
	for i, d := range ds {
		rates[i] = -float64(d.received.Load())
	}
	time.Sleep(10 * time.Second)
	sum, squares := 0.0, 0.0
	for i, d := range ds {
		rates[i] = (rates[i] + float64(d.received.Load())) / 10 / mbit
		sum, squares = sum+rates[i], squares+rates[i]*rates[i]
	}
	j := sum * sum / 4 / squares
	t.Logf("Jain's index %.3f, Mbit/s %.1f", j, rates)
	if j < 0.95 {
		t.Error("missed")
	}
}
