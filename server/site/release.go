package site

import (
	"errors"
	"fmt"

	"github.com/fserve/fserve/server/release"
)

// versions compiles a location: as a place, or if it has a release as one with a place for each
// version.
func (b *compilation) versions(host *vhost, l *Location, m match, outer map[int]*ErrorPage) *Place {
	if l.Release == "" {
		return b.place(host, l, m, outer)
	}
	r, where := b.Releases[l.Release], whereOf(host.name, l.Match)
	switch {
	case r == nil:
		b.faults = append(b.faults, &Fault{host.name, l.Match, "release", fmt.Errorf("there is no release %q", l.Release)})
		return b.place(host, &Location{Match: l.Match}, m, outer)
	case b.Handler:
		b.fault(where, errors.New("a release has no effect in a Handler"))
	case l.Root != "" || l.FS != nil:
		b.fault(where, errors.New("a root and a release: one of the two is too much"))
	}
	var versions [release.NumVersions]*Place
	for i, v := range r.Versions() {
		if v.Root == "" {
			continue
		}
		one := *l
		one.Root, one.Alias, one.Release = v.Root, v.Alias, ""
		one.version = fmt.Sprintf("releases[%s].%s", l.Release, release.Keys[i])
		p := b.place(host, &one, m, outer)
		p.Version, p.At = v, release.Index(i)
		versions[i] = p
	}
	p := *versions[release.Stable]
	p.Release, p.Versions = r, versions
	p.Version = release.Version{}
	for _, v := range versions {
		if v != nil {
			v.Release, v.found = r, &p
		}
	}
	p.found = &p
	b.out.places = append(b.out.places, &p)
	return &p
}

// rootFault is what is wrong with the root of a location.
func (l *Location) rootFault(host string, err error) *Fault {
	key := "root"
	if l.Alias {
		key = "alias"
	}
	if l.version != "" { // which is no part of the host
		return &Fault{Key: l.version + "." + key, Err: err}
	}
	return &Fault{host, l.Match, key, err}
}
