package admin

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// defaultBusiest is how many clients are listed unless a request says.
	defaultBusiest = 50
	// maxBusiest bounds that number.
	maxBusiest = 10_000
)

// limitsView is the answer to GET /limits.
type limitsView struct {
	Active     bool       `json:"active"` // there is a limit somewhere
	Responses  int        `json:"responses"`
	Global     nodeView   `json:"global"`
	Connection *limitView `json:"connection"` // of each
	Client     *limitView `json:"client"`     // of each that has none of its own
	Paths      []nodeView `json:"paths"`
	// Clients are those that have a limit of their own, and the busiest.
	Clients      []nodeView `json:"clients"`
	Others       *nodeView  `json:"others,omitempty"` // the clients that are not listed, together
	ClientsKnown int        `json:"clients_known"`
	Profiles     []string   `json:"profiles_in_force"`
	// HeldSeconds is for how long responses were held, in sum, by the level that
	// held them.
	HeldSeconds map[string]float64 `json:"held_seconds"`
}

// nodeView is a limit and the traffic that passes it.
type nodeView struct {
	Name  string     `json:"name,omitempty"`
	Limit *limitView `json:"limit,omitempty"`
	// Own is set for clients whose limit is their own.
	Own bool `json:"own,omitempty"`

	Rate1   int64    `json:"rate_1s"`  // bytes per second over the last whole second
	Rate10  int64    `json:"rate_10s"` // and over the last ten
	Share   float64  `json:"share"`    // of everything that was sent in these ten, from 0 to 1
	Used    *float64 `json:"used"`     // of the rate in force, from 0 to 1; null if there is none
	Waiting int      `json:"waiting"`  // members that wait for their turn: classes, clients or responses
	Held    bool     `json:"held"`     // it waits for its own limit now

	Responses    int   `json:"responses"` // under way
	GrantedBytes int64 `json:"granted_bytes"`
}

func (a *Admin) getLimits(r *http.Request) (any, *problem) {
	busiest, p := countParam(r, "clients", defaultBusiest, maxBusiest)
	if p != nil {
		return nil, p
	}
	return a.viewLimits(busiest), nil
}

// countParam reads a parameter that bounds how much is answered.
func countParam(r *http.Request, name string, standard, most int) (int, *problem) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return standard, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return 0, bad(name, "it must be a number from 0 to %d", most)
	}
	return n, nil
}

func (a *Admin) viewLimits(busiest int) *limitsView {
	s := a.limits.shaper
	report, _ := a.cfg.Server.Engine().LimitsReport(busiest)
	set := s.Limits()
	v := &limitsView{
		Active: s.Active(), Responses: report.Flows, ClientsKnown: report.ClientCount,
		Global:     viewGlobal(&report, a.limits.view(shape.Node{Level: shape.LevelGlobal}, set.Global)),
		Connection: a.limits.view(shape.Node{Level: shape.LevelConnection}, set.Connection),
		Client:     a.limits.view(shape.Node{Level: shape.LevelClient}, set.Client),
		Paths: viewPaths(&report, set.Paths, func(p *shape.PathLimit) *limitView {
			return a.limits.view(shape.Node{Level: shape.LevelPath, Name: p.Prefix}, p.Limit)
		}),
		Profiles:    a.profilesInForce(),
		HeldSeconds: viewThrottled(&report),
	}
	v.addClients(&report, set, busiest, a.limits.explain)
	return v
}

func viewGlobal(report *shape.Report, limit *limitView) nodeView {
	n := viewNode(&report.Global, report.Global.Rate10)
	n.Limit = limit.inForce(report.Global.Limit, report.Global.By)
	return n
}

// viewThrottled returns for how long responses were held, in sum, by level.
func viewThrottled(report *shape.Report) map[string]float64 {
	m := make(map[string]float64)
	for l := shape.LevelNone + 1; l < shape.NumLevels; l++ {
		m[l.String()] = time.Duration(report.Throttled[l]).Seconds()
	}
	return m
}

// viewPaths returns the classes that are configured.
func viewPaths(report *shape.Report, set []shape.PathLimit, limit func(*shape.PathLimit) *limitView) []nodeView {
	traffic := make(map[string]*shape.NodeReport, len(report.Classes))
	for i := range report.Classes {
		traffic[report.Classes[i].Name] = &report.Classes[i]
	}
	list := make([]nodeView, len(set))
	for i := range set {
		p, n := &set[i], &list[i]
		n.Name, n.Limit = p.Prefix, limit(p)
		if t := traffic[p.Prefix]; t != nil {
			*n = viewNode(t, report.Global.Rate10)
			n.Limit = limit(p).inForce(t.Limit, t.By)
		}
	}
	return list
}

// addClients lists clients by traffic, and then those that are configured and
// have none.
func (v *limitsView) addClients(report *shape.Report, set shape.Limits, busiest int, explain func(shape.Node) (shape.Rate, shape.Row)) {
	now, wall, total := sys.Nanotime(), time.Now(), report.Global.Rate10
	own := make(map[string]*shape.ClientLimit, len(set.Clients))
	for i := range set.Clients {
		own[string(set.Clients[i].ID)] = &set.Clients[i]
	}
	v.Clients = []nodeView{}
	list := func(n nodeView, o *shape.ClientLimit, inForce shape.Rate, by shape.Row) {
		limit := set.Client
		if o != nil {
			limit, n.Own = o.Limit, true
			delete(own, n.Name)
		}
		n.Limit = viewLimit(limit, endOf(o, now, wall)).inForce(inForce, by)
		v.Clients = append(v.Clients, n)
	}
	rest := report.Others
	for i := range report.Clients {
		c := &report.Clients[i]
		if len(v.Clients) == maxBusiest || !c.Custom && busiest == 0 {
			add(&rest, c)
			continue
		}
		list(viewNode(c, total), own[c.Name], c.Limit, c.By)
	}
	for i := range set.Clients {
		o := &set.Clients[i]
		if len(v.Clients) == maxBusiest {
			break
		}
		if own[string(o.ID)] != nil && (o.Expires == 0 || o.Expires > now) {
			inForce, by := explain(shape.Node{Level: shape.LevelClient, Name: string(o.ID)})
			list(nodeView{Name: string(o.ID)}, o, inForce, by)
		}
	}
	if rest.Granted > 0 {
		n := viewNode(&rest, total)
		v.Others = &n
	}
}

// add adds the traffic of one node to that of several.
func add(sum, o *shape.NodeReport) {
	sum.Rate1 += o.Rate1
	sum.Rate10 += o.Rate10
	sum.Granted += o.Granted
	sum.Flows += o.Flows
	sum.Waiting += o.Waiting
}

// endOf returns the time of day at which a client's own limit ends; zero: never.
func endOf(o *shape.ClientLimit, now int64, wall time.Time) time.Time {
	if o == nil || o.Expires == 0 {
		return time.Time{}
	}
	return wall.Add(time.Duration(o.Expires - now))
}

// view returns a limit that is not of a client, with its end.
func (l *limits) view(t shape.Node, limit shape.Limit) *limitView {
	l.mu.Lock()
	defer l.mu.Unlock()
	return viewLimit(limit, l.ends(t)).inForce(l.explain(t))
}

func viewNode(r *shape.NodeReport, total int64) nodeView {
	n := nodeView{
		Name: r.Name, Rate1: r.Rate1, Rate10: r.Rate10, Waiting: r.Waiting, Held: r.Parked,
		Responses: r.Flows, GrantedBytes: r.Granted,
	}
	if total > 0 {
		n.Share = round3(float64(r.Rate10) / float64(total))
	}
	if r.Limit > 0 {
		used := round3(float64(r.Rate10) / float64(r.Limit))
		n.Used = &used
	}
	return n
}

// round3 keeps three decimals: a share is not known to more.
func round3(x float64) float64 { return math.Round(x*1000) / 1000 }
