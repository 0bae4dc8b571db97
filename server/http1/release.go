package http1

import (
	"net/netip"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/server/release"
	"github.com/fserve/fserve/server/resolve"
	"github.com/fserve/fserve/server/wire"
)

// choose tells the answer at hand who asks, for which a version of a release is chosen.
func (s *entry) choose(c *loop.Conn) resolve.Step {
	p, q := s.answer.Place, &s.asks
	*q = release.Request{Client: (*Session)(s).clientOf(c), Query: s.head.Query()}
	if s.caller != nil && len(s.caller.User) > 0 {
		q.User = s.caller.User
	} else if p.Users != nil && s.hasProven(c, q.Client) && s.credentials.Read(s.head.Get(wire.Authorization)) {
		q.User = s.credentials.User
		defer s.credentials.Forget()
	}
	if p.Release.AsksFields() {
		for name, value := range s.head.Fields {
			if i := p.Release.FieldAt(name); i >= 0 && q.Values[i] == nil {
				q.Values[i] = value
			}
		}
	}
	return resolve.Choose(&s.answer, q)
}

// hasProven reports whether the password of a request was looked at: who comes from an allowed
// network, where that is enough (admit.Guard.Either), may claim to be anybody.
func (s *entry) hasProven(c *loop.Conn, client netip.Addr) bool {
	g := s.answer.Place.Guard
	return g != nil && !(g.Either && g.Allows(client, c.OnUnix()))
}
