package resolve

import (
	"syscall"

	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/site"
)

// answered plans what the place answers without a file. It reports false if that is nothing
// for this request.
func (a *Answer) answered() (Step, bool) {
	q := &a.Request
	if q.Method == httpfile.MethodUnknown {
		return a.decline(), true
	}
	url, status := a.Place.Redirect(a.memory[:0], &site.Requested{
		Host: a.host, Encrypted: a.Encrypted, Path: q.Path, Query: q.Query,
	})
	if status != 0 {
		a.memory = url
		a.Plan.Redirect(status, q, a.Place.Policy, url)
		return a.done(), true
	}
	switch status, planned := a.Place.Respond(&a.Plan, q); {
	case planned:
		return a.done(), true
	case status != 0:
		return a.Fail(status), true
	}
	return Done, false
}

// attempt tries the i-th of what the place tries.
func (a *Answer) attempt(i int) Step {
	a.turn = i
	switch t := &a.Place.Try[i]; t.Kind {
	case site.AttemptStatus:
		return a.Fail(t.Status)
	case site.AttemptPath:
		return a.goTo(t.Path(a.path[:0], a.Request.Path))
	case site.AttemptDir:
		a.tried = a.Request.Path
	default:
		a.tried = t.Path(a.memory[:0], a.Request.Path)
		if a.tried == nil || !t.Fixed() && a.Place.Policy.Hidden(a.tried) {
			return a.missed(syscall.ENOENT)
		}
		a.memory = a.tried[:0]
	}
	return a.try(0)
}

// goTo answers another path, in memory of a.path, as if it had been asked for.
func (a *Answer) goTo(path []byte) Step {
	a.turn, a.other, a.path, a.Request.Path = notTrying, true, path, path
	a.enter(a.Place.Set().Find(&a.lastHost, a.At, a.host, path))
	if a.Place.Guard != nil {
		return Identify
	}
	return a.File()
}

// takes reports whether the path that is tried may be what an attempt of a kind is for.
func (a *Answer) takes(k site.AttemptKind) bool {
	return a.turn == notTrying || a.Place.Try[a.turn].Kind == k
}

// missed goes on with the next that the place tries, or tells that there is nothing.
func (a *Answer) missed(e syscall.Errno) Step {
	if a.turn == notTrying {
		return a.failErrno(e)
	}
	if e == 0 || e == syscall.EISDIR { // it is something else than what was tried
		e = syscall.ENOENT
	}
	if next := a.turn + 1; next < len(a.Place.Try) && httpfile.StatusOfErrno(e) == httpfile.StatusNotFound {
		return a.attempt(next)
	}
	return a.failErrno(e)
}
