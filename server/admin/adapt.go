package admin

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fserve/fserve/engine/adapt"
	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server/alerts"
)

// Adaptive bandwidth and alerts: rates that were found are shown and steered, and alerts
// switch profiles of limits on and off.

// adaptation returns the part of the engine that finds rates; nil: the server was made
// without it.
func (a *Admin) adaptation() *measure.Adaptation { return a.cfg.Server.Engine().Adaptation() }

// steerFields are the members of a body that steer a rate that is found: rates with
// their unit.
var steerFields = []string{"target", "floor", "ceiling"}

// isSteerable reports whether a rate may be found for a target: a client or a path class.
func isSteerable(t shape.Node) bool { return t.Name != "" }

// takeSteer removes the members of o that steer a rate, and reads them.
func takeSteer(o object) (s measure.Steer, given bool, p *problem) {
	for _, part := range []struct {
		field string
		at    *int64
	}{{"target", &s.Target}, {"floor", &s.Floor}, {"ceiling", &s.Ceiling}} {
		text, ok, p := o.text(part.field)
		if p != nil {
			return s, false, p
		}
		if !ok {
			continue
		}
		r, err := shape.ParseRate(text)
		switch {
		case err != nil:
			return s, false, bad(part.field, "%v", err)
		case r == shape.Unlimited || r == shape.Paused:
			return s, false, bad(part.field, "it must be a rate like \"5MiB/s\", neither unlimited nor 0")
		}
		*part.at, given = int64(r), true
		delete(o, part.field)
	}
	return s, given, nil
}

// steered is the answer to a request that steers a rate.
type steered struct {
	Level string     `json:"level"`
	Name  string     `json:"name"`
	Was   *foundView `json:"was"`
	Is    *foundView `json:"is"`
	Limit *changed   `json:"limit,omitempty"` // that was changed with it
}

// foundView is the state of the search for the rate of a client or a path class. Rates
// are in bytes per second.
type foundView struct {
	Level       string  `json:"level,omitempty"`
	Name        string  `json:"name,omitempty"`
	Target      int64   `json:"target_bps"`
	Floor       int64   `json:"floor_bps"`
	Ceiling     int64   `json:"ceiling_bps"`
	Estimate    int64   `json:"estimate_bps"` // 0: nothing was measured yet
	Used        int64   `json:"used_bps"`
	Phase       string  `json:"phase"`
	Verdict     string  `json:"verdict"`
	Breaker     string  `json:"breaker"`
	Trips       int     `json:"trips"`
	Loss        float64 `json:"loss"`
	RTT         float64 `json:"rtt_seconds"`
	Queue       float64 `json:"queue_seconds"`
	Connections int     `json:"connections"`
}

func viewFound(s *adapt.State) *foundView {
	return &foundView{
		Target: s.Target, Floor: s.Min, Ceiling: s.Max, Estimate: s.Estimate, Used: s.Used,
		Phase: s.Phase.String(), Verdict: s.Verdict.String(), Breaker: s.Stage.String(), Trips: s.Trips,
		Loss: s.Loss, RTT: time.Duration(s.SRTT).Seconds(), Queue: time.Duration(s.Queue).Seconds(),
	}
}

// String returns the rates for the log.
func (v *foundView) String() string {
	return fmt.Sprintf("target %v floor %v ceiling %v", shape.Rate(v.Target), shape.Rate(v.Floor), shape.Rate(v.Ceiling))
}

// steer moves the target and the bounds of a client or a path class.
func (a *Admin) steer(who string, t shape.Node, s measure.Steer) (*steered, *problem) {
	ad := a.adaptation()
	if ad == nil {
		return nil, problemf(http.StatusConflict, "rates are not adapted")
	}
	if s.Floor > adapt.MaxRate || s.Ceiling > adapt.MaxRate || s.Target > adapt.MaxRate {
		return nil, problemf(http.StatusBadRequest, "more than %d bytes per second", adapt.MaxRate)
	}
	var was, is adapt.State
	var err error
	if t.Level == shape.LevelPath {
		was, is, err = ad.SteerPath(t.Name, s)
	} else {
		was, is, err = ad.SteerClient(shape.ClientID(t.Name), s)
	}
	switch {
	case errors.Is(err, measure.ErrNotAdapted):
		return nil, problemf(http.StatusConflict, "the rate of %s is not adapted", t)
	case errors.Is(err, measure.ErrCrowded):
		return nil, problemf(http.StatusConflict, "too many clients are known")
	case err != nil:
		return nil, problemf(http.StatusBadRequest, "%v", err)
	}
	out := &steered{Level: t.Level.String(), Name: t.Name, Was: viewFound(&was), Is: viewFound(&is)}
	a.log.Info("adaptation steered", "who", who, "what", t.String(), "was", out.Was.String(), "is", out.Is.String())
	return out, nil
}

// putSteered answers a PUT for a client or a path class whose body steers a rate, and
// perhaps sets a limit too.
func (a *Admin) putSteered(who string, t shape.Node, o object, s measure.Steer) (any, *problem) {
	var wanted order
	var p *problem
	if len(o) > 0 {
		if wanted, p = readOrder(o, t.Level); p != nil {
			return nil, p
		}
	}
	out, p := a.steer(who, t, s)
	if p != nil {
		return nil, p
	}
	if len(o) > 0 {
		c, p := a.limits.set(who, t, wanted)
		if p != nil {
			return nil, p
		}
		out.Limit = &c
	}
	return out, nil
}

// postConfig sets the rate of one client in bytes per second:
// {"client_id":"user_123","target_bps":5242880}. 0 pauses it. Where the rates of clients
// are found, the target is where the loops go on from, floor_bps and ceiling_bps may be there
// too, and a target after a pause lets the client go on.
func (a *Admin) postConfig(r *http.Request) (any, *problem) {
	ad := a.adaptation()
	found := ad != nil && ad.FindsClients()
	client, s, pause, p := readSteer(r, found)
	if p == nil {
		client, p = a.clientName("client_id", client)
	}
	if p != nil {
		return nil, p
	}
	who := a.who(r)
	switch {
	case pause:
		return a.limits.retarget(who, client, shape.Paused)
	case !found:
		return a.limits.retarget(who, client, shape.Rate(s.Target))
	}
	t := shape.Node{Level: shape.LevelClient, Name: client}
	out, p := a.steer(who, t, s)
	if p != nil {
		return nil, p
	}
	if l, own := a.limits.shaper.ClientLimit(shape.ClientID(client)); own && l.Rate == shape.Paused && s.Target != 0 {
		if c, p := a.limits.remove(who, t); p == nil {
			out.Limit = &c
		}
	}
	return out, nil
}

// readSteer reads the body of postConfig, which has bounds only if rates are found.
func readSteer(r *http.Request, found bool) (client string, s measure.Steer, pause bool, p *problem) {
	rates := []string{"target_bps", "floor_bps", "ceiling_bps"}
	read := []*int64{&s.Target, &s.Floor, &s.Ceiling}
	if !found {
		rates = rates[:1]
	}
	o, p := readObject(r, append([]string{"client_id"}, rates...)...)
	if p != nil {
		return "", s, false, p
	}
	if client, p = o.client(); p != nil {
		return "", s, false, p
	}
	for i, name := range rates {
		n, given, p := o.number(name)
		if p != nil {
			return "", s, false, p
		}
		if n < 0 || n > adapt.MaxRate || n == 0 && given && i > 0 {
			return "", s, false, bad(name, "%d is not a number of bytes per second up to %d", n, adapt.MaxRate)
		}
		*read[i], pause = n, pause || given && n == 0
	}
	switch {
	case len(o) == 1:
		return "", s, false, bad("target_bps", "there is none of %s", strings.Join(rates, ", "))
	case pause && len(o) > 2:
		return "", s, false, bad("target_bps", "0 pauses the client: it goes with nothing else")
	}
	return client, s, pause, nil
}

// maxFound is how many clients GET /adapt shows beside those in trouble.
const maxFound = 100

// adaptView is the answer to GET /adapt.
type adaptView struct {
	On       bool         `json:"on"`
	Known    int          `json:"clients_known"`
	Sampled  int          `json:"connections_sampled"`
	Period   float64      `json:"sample_seconds"`
	Clients  []*foundView `json:"clients"`
	Paths    []*foundView `json:"paths"`
	Profiles []string     `json:"profiles_in_force"`
}

// getAdapt shows the rates that are found.
func (a *Admin) getAdapt(*http.Request) (any, *problem) {
	ad := a.adaptation()
	r := ad.Report(maxFound)
	v := adaptView{
		On: ad.On(), Known: r.Known, Sampled: r.Taps, Period: r.Period.Seconds(),
		Clients: viewAllFound(shape.LevelClient, r.Clients), Paths: viewAllFound(shape.LevelPath, r.Paths), Profiles: a.profilesInForce(),
	}
	return v, nil
}

func (a *Admin) profilesInForce() []string {
	list := []string{}
	if s := a.cfg.Alerts; s != nil {
		for _, p := range s.State().Profiles {
			if p.Active {
				list = append(list, p.Name)
			}
		}
	}
	return list
}

func viewAllFound(level shape.Level, states []measure.State) []*foundView {
	list := make([]*foundView, len(states))
	for i := range states {
		v := viewFound(&states[i].State)
		v.Level, v.Name, v.Connections = level.String(), states[i].Name, states[i].Conns
		list[i] = v
	}
	return list
}

// postAlerts takes a message of Alertmanager.
func (a *Admin) postAlerts(r *http.Request) (any, *problem) {
	body, p := readBody(r)
	if p != nil {
		return nil, p
	}
	m, err := alerts.Parse(body)
	if err != nil {
		return nil, problemf(http.StatusBadRequest, "%v", err)
	}
	active := a.cfg.Alerts.Receive(m, a.who(r))
	return struct {
		Profiles []string `json:"profiles_in_force"`
	}{slices.Concat([]string{}, active)}, nil
}
