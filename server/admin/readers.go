package admin

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/wire"
)

// reader reads the values of a metric from a scrape and puts them out.
type reader func(*scrape, emitter)

func always(*scrape) bool { return true }

// number is a value of a counter or a gauge.
type number interface {
	int | int64 | uint64 | float64
}

// one reads a metric without labels.
func one[T number](read func(*scrape) T) reader {
	return func(s *scrape, e emitter) { e.put(float64(read(s))) }
}

// each reads a metric with one label. name returns the label of an index.
func each[T number](name func(int) string, read func(*scrape) []T) reader {
	return func(s *scrape, e emitter) {
		for i, n := range read(s) {
			e.put(float64(n), name(i))
		}
	}
}

// words names indices by their place in a list.
func words(list ...string) func(int) string { return func(i int) string { return list[i] } }

// named names the values of an enumeration.
func named[T interface {
	~uint8
	fmt.Stringer
}](i int) string {
	return strings.ReplaceAll(T(i).String(), " ", "_")
}

// byLevel reads a metric of each level of limits.
func byLevel(read func(*scrape, shape.Level) float64) reader {
	return func(s *scrape, e emitter) {
		for l := shape.LevelNone + 1; l < shape.NumLevels; l++ {
			e.put(read(s, l), l.String())
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

func responsesByHost(s *scrape, e emitter) {
	for i := range s.hosts {
		h := &s.hosts[i]
		for class := 1; class < len(h.Status); class++ {
			e.put(float64(h.Status[class]), statusClass(class), h.Host)
		}
	}
}

// statusClass names responses by the first digit of their status.
func statusClass(digit int) string { return string(rune('0'+digit)) + "xx" }

func refusals(s *scrape, e emitter) {
	for r := wire.OK + 1; r < wire.NumReason; r++ {
		e.put(float64(s.sum.session.Refused[r]), named[wire.Reason](int(r)))
	}
}

func denials(s *scrape, e emitter) {
	for v := admit.ByAddress; v < admit.NumJudgement; v++ {
		e.put(float64(s.sum.session.Denied[v]), v.String())
	}
}

// reuse returns which part of the responses came on connections that had served
// one before; NaN if there were none.
func (s *sums) reuse() float64 {
	if s.Responses == 0 {
		return math.NaN()
	}
	return min(float64(s.Reused)/float64(s.Responses), 1)
}

func openByLoop(loops []loop.Stats) []int {
	open := make([]int, len(loops))
	for i := range loops {
		open[i] = loops[i].Open
	}
	return open
}

func lastReload(s *scrape, e emitter) {
	if t := s.config.LastReload; !t.IsZero() {
		e.put(unixSeconds(t))
	}
}

func limitRates(s *scrape, e emitter) {
	set := func(level shape.Level, name string, r shape.Rate) {
		if r != shape.Unlimited {
			e.put(float64(max(r, 0)), level.String(), name)
		}
	}
	set(shape.LevelGlobal, "", s.set.Global.Rate)
	set(shape.LevelClient, "", s.set.Client.Rate)
	set(shape.LevelConnection, "", s.set.Connection.Rate)
	for _, p := range s.set.Paths {
		set(shape.LevelPath, p.Prefix, p.Rate)
	}
}

func classRates(s *scrape, e emitter) {
	for i := range s.report.Classes {
		e.put(float64(s.report.Classes[i].Rate10), s.report.Classes[i].Name)
	}
}

// clientRates tells the traffic of clients apart as far as the bounds allow. Names
// that are not UTF-8, or that are the word for the rest, are added up: a series
// that is there twice would spoil the scrape.
func clientRates(s *scrape, e emitter) {
	rates := map[string]int64{otherClients: s.report.Others.Rate10}
	own := 0
	for i := range s.report.Clients {
		c := &s.report.Clients[i]
		name := validLabel(c.Name)
		if c.Custom {
			if own++; own > ownSeries {
				name = otherClients
			}
		}
		rates[name] += c.Rate10
	}
	for name, rate := range rates {
		e.put(float64(rate), name)
	}
}

func activeProfiles(s *scrape, e emitter) {
	for _, p := range s.alerts.Profiles {
		e.put(truth(p.Active), p.Name)
	}
}

// found reads a metric of each client and path class whose rate is found.
func found(read func(*measure.State) float64) reader {
	return func(s *scrape, e emitter) {
		for i := range s.found {
			f := &s.found[i]
			e.put(read(f.state), f.level, f.name)
		}
	}
}

// foundIn is found for a metric that is 1 for the state that something is in.
func foundIn(read func(*measure.State) fmt.Stringer) reader {
	return func(s *scrape, e emitter) {
		for i := range s.found {
			f := &s.found[i]
			e.put(1, f.level, f.name, read(f.state).String())
		}
	}
}

func certificateExpiry(s *scrape, e emitter) {
	for _, x := range s.tls.Expiries {
		e.put(float64(x.At.Unix()), x.Host) // it may be in the year 9999
	}
}
