package admin

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/server/release"
)

// releases is the listener as far as it shows and changes releases.
type releases struct{ *Admin }

// releaseView is one of the answer to GET /releases, and that to PUT /releases/NAME.
type releaseView struct {
	Name      string        `json:"name"`
	Phase     release.Phase `json:"phase"`
	Weight    string        `json:"weight"` // of the canary
	Step      int           `json:"step"`   // from 1
	Steps     int           `json:"steps"`
	Held      string        `json:"held"`           // for how long the step has
	Hold      string        `json:"hold,omitempty"` // at least; empty: until somebody promotes it
	Responses uint64        `json:"responses"`      // of the canary in this step
	Least     int           `json:"least_responses"`
	Why       string        `json:"why,omitempty"`
	Versions  []versionView `json:"versions"`
	// Requests that had another version than by their share: by an override, by what they had had before,
	// by the tag of a resume.
	Overridden uint64 `json:"overridden"`
	Resumed    uint64 `json:"resumed"`
	Tagged     uint64 `json:"tagged"`
}

// versionView is a version, with its responses since the start.
type versionView struct {
	Version   string  `json:"version"`
	Is        string  `json:"is"` // stable, canary, previous
	Root      string  `json:"root"`
	Responses uint64  `json:"responses"`
	Failed    uint64  `json:"failed"`
	Bytes     uint64  `json:"bytes"`
	FirstByte float64 `json:"first_byte_p99_ms"`
}

func (a releases) view(r *release.Release) releaseView {
	s, step := r.Saved(), r.Now()
	v := releaseView{
		Name: r.Name, Phase: s.Phase, Weight: percent(s.Weight), Step: s.Step + 1, Steps: len(r.Steps), Held: s.Elapsed.Round(time.Second).String(),
		Responses: s.Seen, Least: step.Responses, Why: s.Why,
		Overridden: r.Overridden.Load(), Resumed: r.Held.Load(), Tagged: r.Tagged.Load(),
	}
	if step.Hold > 0 {
		v.Hold = step.Hold.String()
	}
	counts := a.cfg.Server.ReleaseCounts(r)
	for i, one := range r.Versions() {
		if one.Root != "" {
			c := &counts[i]
			v.Versions = append(v.Versions, versionView{one.Name, release.Keys[i], one.Root, c.Responses, c.Failed, c.Bytes, c.FirstByte.Quantile(0.99) / 1e3})
		}
	}
	return v
}

func percent(part float64) string { return strconv.FormatFloat(part*100, 'g', 6, 64) + "%" }

func (a releases) get(*http.Request) (any, *problem) {
	all, views := a.cfg.Server.Releases(), []releaseView{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		views = append(views, a.view(all[name]))
	}
	return views, nil
}

func (a releases) put(r *http.Request) (any, *problem) {
	name := r.PathValue("name")
	one := a.cfg.Server.Releases()[name]
	if one == nil {
		return nil, problemf(http.StatusNotFound, "there is no release %q", shorten(name))
	}
	o, p := readObject(r, "action", "weight")
	if p != nil {
		return nil, p
	}
	action, _, p := o.text("action")
	if p != nil {
		return nil, p
	}
	weight, weighs, p := o.text("weight")
	switch {
	case p != nil:
		return nil, p
	case weighs == (action != ""):
		return nil, bad("action", "one of action and weight is needed")
	case one.Canary.Root == "":
		return nil, problemf(http.StatusConflict, "the release has no canary")
	}
	why, now := "ordered by "+a.who(r), sys.Nanotime()
	var c *release.Change
	var err error
	if weighs {
		text, ok := strings.CutSuffix(weight, "%")
		n, failed := strconv.ParseFloat(text, 64)
		if !ok || failed != nil || !(n >= 0 && n <= 100) {
			return nil, bad("weight", "%q is not a part like 5%%, from 0%% to 100%%", shorten(weight))
		}
		c = one.Weigh(n/100, why, now)
	} else if c, err = one.Do(release.Action(action), why, now); errors.Is(err, release.ErrAction) {
		return nil, bad("action", "%v", err)
	}
	if err != nil {
		return nil, problemf(http.StatusConflict, "%v", err)
	}
	a.cfg.Server.ReleaseChanged(name, c)
	return a.view(one), nil
}

// eachRelease reads a number of each version of each release.
func eachRelease(read func(*release.Counts) uint64) func(*scrape, emitter) {
	return func(s *scrape, e emitter) {
		for name, r := range s.releases {
			counts := s.releaseCounts[name]
			for i, v := range r.Versions() {
				if v.Root != "" {
					e.put(float64(read(&counts[i])), name, v.Name)
				}
			}
		}
	}
}

func releaseWeights(s *scrape, e emitter) {
	for name, r := range s.releases {
		e.put(r.Weight(), name)
	}
}

func releasePhases(s *scrape, e emitter) {
	for name, r := range s.releases {
		for _, p := range release.Phases {
			e.put(truth(r.Saved().Phase == p), name, string(p))
		}
	}
}

func releaseMoved(s *scrape, e emitter) {
	for name, r := range s.releases {
		e.put(float64(r.Overridden.Load()), name, "override")
		e.put(float64(r.Held.Load()), name, "resume")
		e.put(float64(r.Tagged.Load()), name, "tag")
	}
}
