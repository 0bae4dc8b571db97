package admin

import (
	"net/http"
	"time"
)

// breakerView is the answer to GET and PUT /breaker.
type breakerView struct {
	State        string `json:"state"`
	TiersRefused int    `json:"tiers_refused"` // from the lowest on
	Tiers        int    `json:"tiers"`
	Why          string `json:"why,omitempty"`
	Forced       bool   `json:"forced"` // by PUT, whatever is measured
	TTL          string `json:"ttl,omitempty"`
	Refused      uint64 `json:"refused"` // requests since the start
}

// breaker is the listener as far as it shows and orders the breaker.
type breaker struct{ *Admin }

func (b breaker) view() breakerView {
	s := b.cfg.Server.Breaker().Status()
	v := breakerView{State: s.State.String(), TiersRefused: s.Refused, Tiers: s.Tiers, Why: s.Why, Forced: s.Forced, Refused: b.cfg.Server.Breaker().Refused()}
	if s.Ends > 0 {
		v.TTL = s.Ends.Round(time.Second).String()
	}
	return v
}

func (b breaker) get(*http.Request) (any, *problem) { return b.view(), nil }

func (b breaker) put(r *http.Request) (any, *problem) {
	o, p := readObject(r, "state", "ttl")
	if p != nil {
		return nil, p
	}
	state, _, p := o.text("state")
	if p != nil {
		return nil, p
	}
	ttl, timed, p := o.text("ttl")
	if p != nil {
		return nil, p
	}
	var d time.Duration
	if timed {
		var err error
		if d, err = parseTTL(ttl); err != nil {
			return nil, bad("ttl", "%v", err)
		}
	}
	was := b.view().State
	switch {
	case state == "auto" && timed:
		return nil, bad("ttl", "what is measured counts for ever")
	case state == "auto":
		b.cfg.Server.Breaker().Auto()
	case state == "open" || state == "closed":
		b.cfg.Server.Breaker().Force(state == "open", d)
	default:
		return nil, bad("state", `it must be "open", "closed" or "auto"`)
	}
	b.log.Info("breaker ordered", "who", b.who(r), "was", was, "is", state, "ttl", ttl)
	return b.view(), nil
}
