package admin

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/peer"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/sys"
)

// takes returns the problem of a limit that has a part which is not for this level, or
// is out of range; nil: there is none.
func takes(l shape.Level, s shape.Limit) *problem {
	if s.Weight != 0 && (l == shape.LevelGlobal || l == shape.LevelConnection) {
		return bad("weight", "it is for path classes and clients")
	}
	if err := s.ValidateAt(l); err != nil {
		field, reason, _ := strings.Cut(err.Error(), ": ")
		return bad(field, "%s", reason)
	}
	return nil
}

// maxName bounds the name of a client and the prefix of a path class, in bytes.
const maxName = 1024

// checkName returns why a name cannot be that of a client or a path class, nil if it
// can.
func checkName(field, name string) *problem {
	switch {
	case name == "":
		return bad(field, "it must not be empty")
	case len(name) > maxName:
		return bad(field, "it is longer than %d bytes", maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return r == unicode.ReplacementChar || unicode.IsControl(r) }):
		return bad(field, "it has control characters, or is not UTF-8")
	}
	return nil
}

// maxOverrides bounds the limits of single clients.
const maxOverrides = 100_000

// limits changes the limits of a server. Its changes do not overlap, so that each is
// answered with the limit that it has replaced.
type limits struct {
	shaper *shape.Shaper // nil: the server was made without limits
	log    *slog.Logger

	mu        sync.Mutex
	temporary map[shape.Node]*temporary
	inherited map[shape.Node]change        // see Admin.Inherit
	bounds    map[shape.Node]measure.Steer // likewise
	closed    bool
}

// temporary is a change that ends by itself.
type temporary struct {
	timer *time.Timer
	ends  time.Time
	set   shape.Limit // while it lasts
	base  shape.Limit // after it
	made  bool        // the path class was not there before
}

func newLimits(s *shape.Shaper, log *slog.Logger) *limits {
	return &limits{shaper: s, log: log, temporary: make(map[shape.Node]*temporary)}
}

// close lets the changes that were to be taken back stay.
func (l *limits) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, t := range l.temporary {
		t.timer.Stop()
	}
}

// changed is the answer to a change.
type changed struct {
	Level string     `json:"level"`
	Name  string     `json:"name,omitempty"`
	Was   *limitView `json:"was"` // null: there was none of its own
	Is    *limitView `json:"is"`  // null: there is none any more
}

// set changes a limit.
func (l *limits) set(who string, t shape.Node, o order) (changed, *problem) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.room(t); p != nil {
		return changed{}, p
	}
	was, existed, err := l.apply(t, o)
	if err != nil {
		return changed{}, problemf(http.StatusConflict, "%v", err)
	}
	c := changed{Level: t.Level.String(), Name: t.Name}
	if existed || t.Name == "" {
		c.Was = viewLimit(was, l.ends(t))
	}
	l.plan(t, o, was, existed)
	c.Is = viewLimit(o.limit, l.ends(t)).inForce(l.explain(t))
	l.log.Info("limit changed", "who", who, "what", t.String(), "was", c.Was.String(), "is", c.Is.String())
	return c, nil
}

// room keeps the number of limits of single clients in bounds.
func (l *limits) room(t shape.Node) *problem {
	if !isOneClient(t) || l.shaper.Overrides() < maxOverrides {
		return nil
	}
	if _, own := l.shaper.ClientLimit(shape.ClientID(t.Name)); own {
		return nil
	}
	return problemf(http.StatusConflict, "there are %d limits of single clients, and no more are kept", maxOverrides)
}

// apply gives a limit to the shaper, which wakes the responses that wait.
func (l *limits) apply(t shape.Node, o order) (was shape.Limit, existed bool, err error) {
	switch t.Level {
	case shape.LevelGlobal:
		was, err = l.shaper.SetGlobal(o.limit)
	case shape.LevelConnection:
		was, err = l.shaper.SetConnectionDefault(o.limit)
	case shape.LevelPath:
		return l.shaper.SetPath(t.Name, o.limit)
	case shape.LevelClient:
		if t.Name == "" {
			was, err = l.shaper.SetClientDefault(o.limit)
			break
		}
		var expires int64
		if o.ttl > 0 {
			expires = sys.Nanotime() + int64(o.ttl)
		}
		return l.shaper.SetClient(shape.ClientID(t.Name), o.limit, expires)
	}
	return was, true, err
}

// plan arranges for the end of a change, in place of any that was planned. Of several
// changes in a row, the limit before the first comes back.
func (l *limits) plan(t shape.Node, o order, was shape.Limit, existed bool) {
	before := l.temporary[t]
	if before != nil {
		before.timer.Stop()
		delete(l.temporary, t)
	}
	if o.ttl == 0 || l.closed {
		return
	}
	next := &temporary{ends: time.Now().Add(o.ttl), set: o.limit, base: was, made: !existed}
	if before != nil && before.set == was {
		next.base, next.made = before.base, before.made
	}
	next.timer = time.AfterFunc(o.ttl, func() { l.end(t, next) })
	l.temporary[t] = next
}

// end takes a change back whose time has come, unless something else (a reload)
// has replaced it meanwhile.
func (l *limits) end(t shape.Node, ended *temporary) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.temporary[t] != ended {
		return
	}
	delete(l.temporary, t)
	if isOneClient(t) {
		l.shaper.Expire(sys.Nanotime()) // the loops see the end of it by themselves
	} else if now, there := l.current(t); !there || now != ended.set {
		return
	} else if ended.made {
		l.shaper.RemovePath(t.Name)
	} else if _, _, err := l.apply(t, order{limit: ended.base}); err != nil {
		l.log.Error("limit not taken back", "what", t.String(), "err", err)
		return
	}
	l.log.Info("limit ended", "what", t.String(), "was", viewLimit(ended.set, time.Time{}).String())
}

// current returns the limit of a target that is not a client.
func (l *limits) current(t shape.Node) (limit shape.Limit, there bool) {
	all := l.shaper.Limits()
	switch t.Level {
	case shape.LevelGlobal:
		return all.Global, true
	case shape.LevelConnection:
		return all.Connection, true
	case shape.LevelClient:
		return all.Client, true
	}
	for _, p := range all.Paths {
		if p.Prefix == t.Name {
			return p.Limit, true
		}
	}
	return shape.Limit{}, false
}

// ends returns when a change ends; zero: never.
func (l *limits) ends(t shape.Node) time.Time {
	if p := l.temporary[t]; p != nil {
		return p.ends
	}
	return time.Time{}
}

// remove takes a path class, or the limit of one client, away.
func (l *limits) remove(who string, t shape.Node) (changed, *problem) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ends := l.ends(t)
	var was shape.Limit
	var existed bool
	c := changed{Level: t.Level.String(), Name: t.Name}
	if t.Level == shape.LevelPath {
		was, existed = l.shaper.RemovePath(t.Name)
	} else {
		was, existed = l.shaper.RemoveClient(shape.ClientID(t.Name))
		now, _ := l.shaper.ClientLimit(shape.ClientID(t.Name))
		c.Is = viewLimit(now, time.Time{}).inForce(l.explain(t))
	}
	if !existed {
		return changed{}, problemf(http.StatusNotFound, "%s has no limit of its own", t)
	}
	l.plan(t, order{}, was, true)
	c.Was = viewLimit(was, ends)
	l.log.Info("limit removed", "who", who, "what", t.String(), "was", c.Was.String())
	return c, nil
}

// retarget changes the rate of one client for good. Burst and weight stay if the client
// has a limit of its own.
func (l *limits) retarget(who, client string, rate shape.Rate) (changed, *problem) {
	o := order{limit: shape.Limit{Rate: rate}}
	if was, own := l.shaper.ClientLimit(shape.ClientID(client)); own {
		o.limit.Burst, o.limit.Weight = was.Burst, was.Weight
	}
	return l.set(who, shape.Node{Level: shape.LevelClient, Name: client}, o)
}

// limitView is a limit as clients see it.
type limitView struct {
	Rate string `json:"rate"`
	// BytesPerSecond is the rate as a number: null if it is unlimited, 0 if it is
	// paused.
	BytesPerSecond *int64     `json:"bytes_per_second"`
	Burst          string     `json:"burst,omitempty"`
	Weight         int        `json:"weight"`
	Priority       int        `json:"priority,omitempty"`
	Guarantee      string     `json:"guarantee,omitempty"`
	Client         string     `json:"client,omitempty"`     // of each client within the class
	Connection     string     `json:"connection,omitempty"` // of each connection within the class
	After          string     `json:"after,omitempty"`      // what passes of a response before these two
	Ends           *time.Time `json:"ends,omitempty"`
	// InForce is what holds now, which may be another rate than what is set.
	InForce *forceView `json:"in_force,omitempty"`
}

// forceView is the rate that is in force, and what says so: see shape.Row.
type forceView struct {
	Rate           string `json:"rate"`
	BytesPerSecond *int64 `json:"bytes_per_second"`
	By             string `json:"by"`
}

// inForce notes the rate that is in force, and returns v.
func (v *limitView) inForce(r shape.Rate, by shape.Row) *limitView {
	v.InForce = &forceView{r.String(), bytesPerSecond(r), by.String()}
	return v
}

// explain returns the rate that is in force for a target, as far as the loops need not be
// asked.
func (l *limits) explain(t shape.Node) (shape.Rate, shape.Row) {
	limit, by, _ := l.shaper.Explain(t)
	return limit.Rate, by
}

// bytesPerSecond is a rate as a number; nil: it is unlimited.
func bytesPerSecond(r shape.Rate) *int64 {
	if r == shape.Unlimited {
		return nil
	}
	n := max(int64(r), 0)
	return &n
}

func viewLimit(l shape.Limit, ends time.Time) *limitView {
	v := &limitView{Rate: l.Rate.String(), BytesPerSecond: bytesPerSecond(l.Rate), Weight: cmp.Or(l.Weight, 1), Priority: l.Priority}
	if l.Burst > 0 {
		v.Burst = shape.FormatSize(l.Burst)
	}
	if l.Guarantee > 0 {
		v.Guarantee = l.Guarantee.String()
	}
	if l.Client != shape.Unlimited {
		v.Client = l.Client.String()
	}
	if l.Connection != shape.Unlimited {
		v.Connection = l.Connection.String()
	}
	if l.After > 0 {
		v.After = shape.FormatSize(l.After)
	}
	if !ends.IsZero() {
		ends = ends.UTC().Truncate(time.Millisecond)
		v.Ends = &ends
	}
	return v
}

// String is the limit for the log.
func (v *limitView) String() string {
	if v == nil {
		return "none"
	}
	s := v.Rate
	for _, part := range [][2]string{
		{"burst", v.Burst}, {"guarantee", v.Guarantee}, {"client", v.Client}, {"connection", v.Connection}, {"after", v.After},
	} {
		if part[1] != "" {
			s += " " + part[0] + " " + part[1]
		}
	}
	if v.Weight != 1 {
		s += fmt.Sprintf(" weight %d", v.Weight)
	}
	if v.Priority != 0 {
		s += fmt.Sprintf(" priority %d", v.Priority)
	}
	if v.Ends != nil {
		s += " until " + v.Ends.Format(time.RFC3339)
	}
	return s
}

// putLevel is the endpoint of PUT for a level.
func (a *Admin) putLevel(l shape.Level) endpoint {
	return func(r *http.Request) (any, *problem) {
		t, p := a.targetOf(l, r)
		if p != nil {
			return nil, p
		}
		fields := limitFields
		if isSteerable(t) {
			fields = slices.Concat(limitFields, steerFields)
		}
		o, p := readObject(r, fields...)
		if p != nil {
			return nil, p
		}
		if s, given, p := takeSteer(o); p != nil {
			return nil, p
		} else if given {
			return a.putSteered(a.who(r), t, o, s)
		}
		wanted, p := readOrder(o, l)
		if p != nil {
			return nil, p
		}
		return a.limits.set(a.who(r), t, wanted)
	}
}

// deleteLevel is the endpoint of DELETE for a level.
func (a *Admin) deleteLevel(l shape.Level) endpoint {
	return func(r *http.Request) (any, *problem) {
		t, p := a.targetOf(l, r)
		if p != nil {
			return nil, p
		}
		return a.limits.remove(a.who(r), t)
	}
}

// targetOf reads from the path of a request whose limit it is about.
func (a *Admin) targetOf(l shape.Level, r *http.Request) (t shape.Node, p *problem) {
	t.Level = l
	switch {
	case l == shape.LevelPath:
		t.Name = "/" + strings.TrimPrefix(r.PathValue("prefix"), "/")
		return t, checkPrefix(t.Name)
	case strings.HasSuffix(r.Pattern, oneClient):
		t.Name, p = a.clientName("client", r.PathValue("name"))
	}
	return t, p
}

// oneClient is the part of a pattern that names a client. Without it the route is for what
// clients have by default.
const oneClient = "/{name...}"

// isOneClient reports whether a limit is that of a single client, not of clients by default.
func isOneClient(t shape.Node) bool { return t.Level == shape.LevelClient && t.Name != "" }

// checkPrefix returns why no path can begin with a prefix, nil if one can.
func checkPrefix(prefix string) *problem {
	if err := shape.CheckPrefix(prefix); err != nil {
		return bad("prefix", "%v", err)
	}
	return nil
}

// clientName returns what a client is counted by, of an address the same as the loops do. A
// name that is none is for clients that handlers name.
func (a *Admin) clientName(field, name string) (string, *problem) {
	if p := checkName(field, name); p != nil {
		return "", p
	}
	if addr, err := netip.ParseAddr(name); err == nil {
		return string(peer.AppendClient(nil, addr, false)), nil
	}
	switch n, err := netip.ParsePrefix(name); {
	case err == nil && (n.IsSingleIP() || n.Bits() == 64):
		return string(peer.AppendClient(nil, n.Addr(), false)), nil
	case err == nil:
		return "", bad(field, "a client is one IPv4 address or an IPv6 network of 64 bits, not %s", name)
	case name == peer.Unix || name == peer.Unknown || a.cfg.Server.NamesClients():
		return name, nil
	}
	return "", bad(field, "a client is an address here, since no handler names clients")
}
