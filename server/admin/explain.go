package admin

import (
	"net/http"

	"github.com/fserve/fserve/engine/shape"
)

// oneLimit is the answer to GET of a single limit.
type oneLimit struct {
	Level string `json:"level"`
	Name  string `json:"name,omitempty"`
	// Own is set if the limit is that of this client alone.
	Own   bool       `json:"own,omitempty"`
	Limit *limitView `json:"limit"`
}

// explainer tells what is limited, and why.
type explainer struct{ *Admin }

// level is the endpoint of GET for a level.
func (a explainer) level(l shape.Level) endpoint {
	return func(r *http.Request) (any, *problem) {
		t, p := a.targetOf(l, r)
		if p != nil {
			return nil, p
		}
		one, there := a.limits.one(t)
		if !there {
			return nil, problemf(http.StatusNotFound, "%s has no limit of its own", t)
		}
		return one, nil
	}
}

// one returns what is set for a node; a client without a limit of its own has the one of
// all.
func (l *limits) one(t shape.Node) (v oneLimit, there bool) {
	v = oneLimit{Level: t.Level.String(), Name: t.Name}
	if !isOneClient(t) {
		limit, ok := l.current(t)
		v.Limit = l.view(t, limit)
		return v, ok
	}
	limit, own := l.shaper.ClientLimit(shape.ClientID(t.Name))
	v.Own, v.Limit = own, l.view(t, limit)
	return v, true
}

// explanation is the answer to GET /limits/explain: all that holds a response.
type explanation struct {
	Path   string `json:"path"`
	Client string `json:"client"`
	// Limits are in the order of the tree. The lowest one is what a response runs at, if
	// nobody shares it.
	Limits []heldBy `json:"limits"`
	Lowest forceAt  `json:"lowest"`
	After  string   `json:"after,omitempty"` // what passes before the limits within the class
}

// heldBy is one limit of an explanation.
type heldBy struct {
	forceAt
	Own bool `json:"own,omitempty"` // of the client alone
}

// forceAt is a rate in force, and of which node.
type forceAt struct {
	Level  string `json:"level"`
	Name   string `json:"name,omitempty"`
	Within string `json:"within,omitempty"` // prefix of the class in which it holds
	forceView
}

// explain answers GET /limits/explain.
func (a explainer) explain(r *http.Request) (any, *problem) {
	q := r.URL.Query()
	path, client := q.Get("path"), q.Get("client")
	if p := checkName("path", path); p != nil {
		return nil, p
	}
	if path[0] != '/' {
		return nil, bad("path", "it begins with /")
	}
	client, p := a.clientName("client", client)
	if p != nil {
		return nil, p
	}
	return a.limits.explanation(path, client, a.found), nil
}

// found returns the rate that adaptation has found for a node.
func (a explainer) found(t shape.Node) shape.Rate {
	ad := a.adaptation()
	switch {
	case ad == nil:
	case t.Level == shape.LevelClient:
		if s, ok := ad.Client(shape.ClientID(t.Name)); ok {
			return shape.Rate(s.Target)
		}
	case t.Level == shape.LevelPath:
		for _, s := range ad.Report(0).Paths {
			if s.Name == t.Name {
				return shape.Rate(s.Target)
			}
		}
	}
	return shape.Unlimited
}

func (l *limits) explanation(path, client string, found func(shape.Node) shape.Rate) explanation {
	e := explanation{Path: path, Client: client}
	lowest := shape.Unlimited
	add := func(t shape.Node, within string, rate shape.Rate, by string, own bool) {
		at := forceAt{t.Level.String(), t.Name, within, forceView{rate.String(), bytesPerSecond(rate), by}}
		e.Limits = append(e.Limits, heldBy{at, own})
		if rate.Below(lowest) || len(e.Limits) == 1 {
			lowest, e.Lowest = rate, at
		}
	}
	addNode := func(t shape.Node, own bool) {
		rate, by := l.explain(t)
		if r := found(t); r.Below(rate) {
			rate, by = r, shape.RowFound
		}
		add(t, "", rate, by.String(), own)
	}
	class := shape.Node{Level: shape.LevelPath, Name: l.shaper.Class([]byte(path)).Prefix()}
	within, _ := l.current(class)
	all, one := shape.Node{Level: shape.LevelConnection}, shape.Node{Level: shape.LevelClient, Name: client}
	_, own := l.shaper.ClientLimit(shape.ClientID(client))
	addNode(shape.Node{Level: shape.LevelGlobal}, false)
	if class.Name != "" {
		addNode(class, false)
	}
	addNode(one, own)
	if within.Client != shape.Unlimited {
		add(one, class.Name, within.Client, shape.RowConfigured.String(), false)
	}
	addNode(all, false)
	if within.Connection != shape.Unlimited {
		add(all, class.Name, within.Connection, shape.RowConfigured.String(), false)
	}
	if within.After > 0 {
		e.After = shape.FormatSize(within.After)
	}
	return e
}
