package admin

import (
	"net/http"
	"slices"
	"time"

	"github.com/fserve/fserve/server"
)

// denyView is one of the answer to GET and POST /deny.
type denyView struct {
	Kind  string    `json:"kind"`
	Name  string    `json:"name"`
	Until time.Time `json:"until"`
}

// denying is the listener as far as it takes proofs back.
type denying struct{ *Admin }

func (d denying) get(*http.Request) (any, *problem) {
	m := d.cfg.Server.Identity()
	views := []denyView{}
	if m == nil {
		return views, nil
	}
	for _, e := range m.Denials() {
		if e.Until > time.Now().Unix() {
			views = append(views, denyView{e.Kind, e.Name, time.Unix(e.Until, 0).UTC()})
		}
	}
	return views, nil
}

// post denies the bearer of one kind of proof until a time, or from the past on not any more.
func (d denying) post(r *http.Request) (any, *problem) {
	o, p := readObject(r, append(slices.Clone(server.DenialKinds), "until")...)
	if p != nil {
		return nil, p
	}
	e := server.Denial{}
	for _, kind := range server.DenialKinds {
		name, there, p := o.text(kind)
		switch {
		case p != nil:
			return nil, p
		case there && (name == "" || e.Kind != ""):
			return nil, bad(kind, "one of user, jti and link is needed")
		case there:
			e.Kind, e.Name = kind, name
		}
	}
	if e.Kind == "" {
		return nil, bad("user", "one of user, jti and link is needed")
	}
	text, _, p := o.text("until")
	if p != nil {
		return nil, p
	}
	until, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, bad("until", "it must be a time like 2027-01-31T12:00:00Z: when the proof ends")
	}
	e.Until = until.Unix()
	m := d.cfg.Server.Identity()
	if m == nil {
		return nil, problemf(http.StatusConflict, "the server has ended")
	}
	if err := m.Deny(e, time.Now().Unix()); err != nil {
		return nil, problemf(http.StatusInsufficientStorage, "%v", err)
	}
	d.log.Info("denied", "who", d.who(r), "kind", e.Kind, "name", e.Name, "until", until)
	return d.get(r)
}

// keysView is one of the answer to POST /-/jwks.
type keysView struct {
	Issuer   string     `json:"issuer"`
	Fetched  *time.Time `json:"fetched"` // null: never
	Failures uint64     `json:"failures"`
}

// fetchKeys fetches the keys of the issuers anew.
func (d denying) fetchKeys(*http.Request) (any, *problem) {
	m := d.cfg.Server.Identity()
	if !m.VerifiesTokens() {
		return nil, problemf(http.StatusConflict, "there are no issuers of tokens")
	}
	m.FetchKeys()
	views := []keysView{}
	for name, s := range m.Sources() {
		v := keysView{Issuer: name, Failures: s.Failures}
		if !s.Fetched.IsZero() {
			at := s.Fetched.UTC()
			v.Fetched = &at
		}
		views = append(views, v)
	}
	return views, nil
}
