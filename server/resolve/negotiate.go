package resolve

import (
	"slices"
	"syscall"

	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/site"
)

// found goes on with the source, and looks for a sidecar that the client likes better.
func (a *Answer) found(v *Version) Step {
	a.source, a.Version, a.Chosen = v, v, Source
	if a.Request.AcceptEncoding == nil || !v.Facts.Negotiable {
		return Send
	}
	if len(a.Fields) > 0 && site.HasField(a.Fields, "Content-Encoding") {
		return Send // the handler knows what the file is
	}
	a.base, a.codings = a.Want, a.choice[:0]
	if !v.may {
		a.refused = false
		return uncoded(a)
	}
	for _, k := range httpfile.ServerOrder {
		if v.gone[k] <= a.now {
			a.codings = append(a.codings, k)
		}
	}
	return a.negotiate()
}

// negotiate chooses among the source and its sidecars. It wants no more of them than
// it must: the one that the client likes best, then the next. What is missing is
// remembered with the version of the source, for a second.
func (a *Answer) negotiate() Step {
	k := httpfile.Negotiate(a.Request.AcceptEncoding, a.codings)
	a.refused = k == httpfile.NotAcceptable
	if k == httpfile.Identity {
		return uncoded(a)
	}
	if a.refused { // unless there is nothing to choose from
		k = a.codings[0]
	}
	a.wantSidecar(k)
	return Open
}

// wantSidecar wants a sidecar of the source.
func (a *Answer) wantSidecar(k httpfile.Coding) {
	a.Want = a.base.sidecar(a.keys[1], k)
	a.keys[1] = a.Want.Key
}

// openedSidecar goes on with a sidecar, or without.
func (a *Answer) openedSidecar(v *Version, e syscall.Errno) Step {
	k := a.Want.Coding
	switch {
	case e != 0 || !httpfile.SidecarFresh(a.source.Facts.MtimeNs, v.Facts.MtimeNs):
		if e != 0 && e != syscall.EISDIR { // a directory is none, and no mistake
			a.without(e)
		}
		a.source.gone[k] = a.now + codingFresh
		a.codings = slices.DeleteFunc(a.codings, func(c httpfile.Coding) bool { return c == k })
		return a.negotiate()
	case a.refused:
		return uncoded(a)
	}
	a.Version, a.Chosen = v, Sidecar
	return Send
}
