package resolve

import (
	"bytes"

	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/site"
)

// State is where an Answer was left, because what it needs takes time. It refers to
// nothing of the Answer.
type State struct {
	// Prove is set if it was left at that, for another path than that of the request.
	Prove bool

	place   *site.Place
	path    []byte
	tried   []byte
	turn    int
	other   bool
	paged   bool
	index   int // the candidate to go on with
	picked  picked
	failure *httpfile.Plan // whose page is wanted; nil: it is a candidate, or a listing
}

// Save returns where the Answer stands, at Open, List or Prove. Place.Set is to be retained until
// Resume.
func (a *Answer) Save() State {
	r := State{
		place: a.Place, path: bytes.Clone(a.Request.Path), tried: bytes.Clone(a.tried), turn: a.turn, other: a.other, paged: a.paged, index: a.index, picked: a.picked,
	}
	r.picked.path = bytes.Clone(r.picked.path)
	if a.Want.Kind == Page {
		failure := a.Plan
		r.failure = &failure
	}
	return r
}

// Elsewhere reports whether it is another path than that of the request that is answered.
func (r *State) Elsewhere() bool { return r.other }

// Ahead returns what may have to be opened from where Save goes on: all at once, so
// that the answer is decided after one wait, however slow the disk is.
func (a *Answer) Ahead() []Want {
	if a.Want.Kind != Sidecar {
		return []Want{a.Want.keep()}
	}
	all := []Want{a.base.keep()}
	for _, k := range a.codings {
		all = append(all, all[0].sidecar(nil, k))
	}
	return all
}

// Resume goes on where the Answer to the same request was left, after Begin. At Open it
// begins with the candidate, of which a file may have been opened meanwhile.
func (a *Answer) Resume(r *State) Step {
	a.Request.Path, a.tried, a.turn, a.other, a.paged = r.path, r.tried, r.turn, r.other, r.paged
	a.picked = r.picked
	a.enter(r.place)
	switch {
	case r.Prove:
		return Identify
	case r.failure != nil:
		a.Plan = *r.failure
		return a.finish()
	case r.index == dirItself:
		return a.bare()
	}
	return a.try(r.index)
}
