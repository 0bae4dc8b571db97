package resolve

import (
	"bytes"

	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/release"
	"github.com/fserve/fserve/server/site"
)

// picked is which version of a release answers a request. It is the same for all that is looked at.
type picked struct {
	place   *site.Place // with the versions; nil: none was picked
	version release.Index

	// While the version is searched of which the request has the tag:
	searching bool
	given     release.Index // what answers if it is none of them
	seen      [release.NumVersions]bool
	path      []byte // of the request, when the search began
	other     bool   // as Answer.other then
}

// pick asks for the version that answers, unless it is known already.
func pick(a *Answer) Step {
	if p := a.picked.place; p == nil || p.Release != a.Place.Release {
		return Chooses
	}
	a.picked.place = a.Place
	return inVersion(a)
}

// Choose goes on after Chooses. A request that has the tag of a version gets that one, whatever
// the release has chosen: it has a part of it already.
func Choose(a *Answer, q *release.Request) Step {
	p, r := &a.picked, &a.Request
	p.searching = r.NamesVersion()
	q.Path, q.Now = r.Path, a.now
	q.Begins = r.Method == httpfile.MethodGet && (r.Range == nil || bytes.HasPrefix(r.Range, []byte("bytes=0-")))
	q.Resumes = !q.Begins && r.Range != nil // files of two versions may have one tag: the same time and size
	p.place, p.version = a.Place, a.Place.Release.Choose(q)
	if p.searching {
		p.given, p.seen, p.other = p.version, [release.NumVersions]bool{}, a.other
		p.path = append(p.path[:0], a.Request.Path...)
	}
	return inVersion(a)
}

// inVersion decides about the path in the version that was picked.
func inVersion(a *Answer) Step {
	p := a.picked.place.Versions[a.picked.version]
	if p == nil { // a request never has less than the stable version
		p = a.picked.place.Versions[release.Stable]
	}
	a.enter(p)
	return inPlace(a)
}

// endSearch ends the search for a version, if there was one: it is found.
func endSearch(a *Answer) {
	p := &a.picked
	if p.searching && p.version != p.given {
		p.place.Release.Tagged.Add(1)
	}
	p.searching = false
}

// nextVersion goes on with the next version that may have the tag of the request, or with the given one
// if none has it.
func nextVersion(a *Answer) Step {
	p := &a.picked
	p.seen[p.version] = true
	p.searching, p.version = false, p.given
	for i, v := range p.place.Versions {
		if v != nil && !p.seen[i] {
			p.searching, p.version = true, release.Index(i)
			break
		}
	}
	a.path = append(a.path[:0], p.path...)
	a.Request.Path, a.other, a.turn, a.Cause = a.path, p.other, notTrying, 0
	return inVersion(a)
}
