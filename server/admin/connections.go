package admin

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/shape"
)

const (
	defaultConns = 50
	maxConnsView = 1000
)

// connsView is the answer to GET /connections.
type connsView struct {
	Open        int        `json:"open"` // of the listeners of the origin, TLS included
	Connections []connView `json:"connections"`
}

// connView is a connection and its response.
type connView struct {
	ID         string        `json:"id"` // unique while it is open
	Peer       string        `json:"peer"`
	AgeSeconds float64       `json:"age_seconds"`
	Requests   uint32        `json:"requests"`
	HTTP2      uint64        `json:"http2,omitempty"` // the connection of the client by HTTP/2 that it is a stream of, the same number for all of them
	Response   *responseView `json:"response"`        // null: none is under way
}

type responseView struct {
	Client      string             `json:"client,omitempty"` // what it is counted by, if that is not the address of the peer
	Tier        string             `json:"tier,omitempty"`   // that it is of
	File        string             `json:"file,omitempty"`   // the one that is being sent, of several the first
	Seconds     float64            `json:"seconds"`          // since it began
	SentBytes   int64              `json:"sent_bytes"`
	LeftBytes   int64              `json:"left_bytes"`
	Rate        int64              `json:"rate"`  // bytes per second over about the last eight
	State       string             `json:"state"` // sending; limited (waits for its turn); blocked (waits for the client or the disk)
	HeldSeconds map[string]float64 `json:"held_seconds,omitempty"`
}

var connOrders = map[string]loop.ConnOrder{"": loop.ByRate, "rate": loop.ByRate, "age": loop.ByAge, "wait": loop.ByWait}

// connections shows and cuts connections.
type connections struct{ *Admin }

func (a connections) list(r *http.Request) (any, *problem) {
	order, ok := connOrders[r.URL.Query().Get("by")]
	if !ok {
		return nil, bad("by", "it must be rate, age or wait")
	}
	n, p := countParam(r, "n", defaultConns, maxConnsView)
	if p != nil {
		return nil, p
	}
	list, open := a.cfg.Server.Engine().Connections(order, n)
	v := connsView{Open: open, Connections: make([]connView, 0, len(list))}
	for i := range list {
		v.Connections = append(v.Connections, viewConn(&list[i]))
	}
	return v, nil
}

// cut cuts a connection: the client gets a reset, so that it takes nothing that
// it has for the whole.
func (a connections) cut(r *http.Request) (any, *problem) {
	text := r.PathValue("id")
	index, number, _ := strings.Cut(text, "-")
	at, err := strconv.ParseUint(index, 10, 31)
	id, err2 := strconv.ParseUint(number, 16, 64)
	if err != nil || err2 != nil {
		return nil, bad("id", "it must be the id of a connection, as GET /connections says it")
	}
	c, ok := a.cfg.Server.Engine().Cut(int(at), id)
	if !ok {
		return nil, problemf(http.StatusNotFound, "there is no connection %s", shorten(text))
	}
	v := viewConn(&c)
	a.log.Info("connection cut", "who", a.who(r), "id", v.ID, "peer", v.Peer, "file", c.File, "sent", c.Sent, "left", c.Left)
	return v, nil
}

func viewConn(c *loop.ConnInfo) connView {
	v := connView{
		ID:         strconv.Itoa(c.Loop) + "-" + strconv.FormatUint(c.ID, 16),
		AgeSeconds: round3(c.Age.Seconds()), Requests: c.Requests,
	}
	if c.Peer.IsValid() {
		v.Peer = c.Peer.String()
	}
	if m, ok := c.Adopted.(interface{ HTTP2() uint64 }); ok {
		v.HTTP2 = m.HTTP2()
	}
	if !c.Sending {
		return v
	}
	v.Response = &responseView{
		Client: c.Client, Tier: c.Group, File: c.File, Seconds: round3(c.For.Seconds()), SentBytes: c.Sent, LeftBytes: c.Left, Rate: c.Rate,
		State: "sending", HeldSeconds: viewHeld(&c.Held),
	}
	switch {
	case c.Waiting:
		v.Response.State = "limited"
	case c.Blocked:
		v.Response.State = "blocked"
	}
	return v
}

// viewHeld returns for how long each level has held a response. The wait of this moment
// is under "now": its level is known when it ends.
func viewHeld(held *[shape.NumLevels]time.Duration) map[string]float64 {
	m := make(map[string]float64)
	for l, d := range held {
		name := shape.Level(l).String()
		if shape.Level(l) == shape.LevelNone {
			name = "now"
		}
		if d > 0 {
			m[name] = round3(d.Seconds())
		}
	}
	return m
}
