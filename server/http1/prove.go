package http1

import (
	"net/netip"
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/peer"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/auth"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/resolve"
	"github.com/fserve/fserve/server/wire"
)

// judge tells the answer at hand who the client is, who asks, and whether the password is right.
// Prove: that is not known; see proveLater.
func (s *entry) judge(c *loop.Conn) resolve.Step {
	h, a := &s.head, &s.answer
	step := a.Admit(&admit.Visitor{
		Addr: (*Session)(s).clientOf(c), Unix: c.OnUnix(), Referer: h.Get(wire.Referer), Agent: h.Get(wire.UserAgent),
	})
	if step != resolve.Prove {
		return step
	}
	if step, ok := s.charge(c); !ok {
		return step
	}
	if a.Place.Wants.Any() {
		switch v := s.identify(c); v {
		case admit.Passed:
		case admit.Unproven:
			s.users = nil
			return resolve.Prove
		default:
			return a.Proved(v)
		}
	}
	if a.Place.Users == nil {
		return a.Proved(admit.Passed)
	}
	if h.Repeated(wire.Authorization) { // programs on the way may take another than this one
		return a.Fail(httpfile.StatusBadRequest)
	}
	if !s.credentials.Read(h.Get(wire.Authorization)) {
		return a.Proved(admit.NoPassword)
	}
	s.users = a.Place.Users.Users(s.loop.Now())
	right, known := s.verdicts.Find(s.credentials.Proof(s.users), s.loop.Now())
	switch {
	case !known:
		return resolve.Prove
	case right:
		step = a.Proved(admit.Passed)
	default:
		step = a.Proved(admit.WrongPassword)
	}
	s.credentials.Forget()
	return step
}

// identify finds out who asks. A request that was away is judged by the time at which it began.
func (s *entry) identify(c *loop.Conn) admit.Judgement {
	began := s.loop.Now()
	if x, ok := c.Data.(*exchange); ok {
		began = x.record.Began
	}
	q := &s.asked
	q.Path, q.Query, q.Host = s.answer.Request.Path, s.answer.Request.Query, s.head.Host()
	q.Authorization, q.Key = s.head.Get(wire.Authorization), s.head.Get(wire.XAPIKey)
	q.Cookie = nil
	if m := s.answer.Request.Method; m == httpfile.MethodGet || m == httpfile.MethodHead { // others may be asked for by any page
		q.Cookie = s.head.Get(wire.Cookie)
	}
	q.Twice = s.head.Repeated(wire.Authorization) || s.head.Repeated(wire.XAPIKey)
	q.Mono = s.loop.Now()
	q.Client, q.Unix, q.Now = (*Session)(s).clientOf(c), c.OnUnix(), s.clock.unix(began)/int64(time.Second)
	s.caller = &s.own
	return s.answer.Place.Set().Methods().Identify(s.caller, &s.answer.Place.Wants, q)
}

// proving is the errand of a request whose password or token is to be checked.
type proving struct {
	s      *Session
	users  *auth.Users // nil: it is a token
	client netip.Addr
	proof  auth.Proof
	result auth.Result
	state  *resolve.State // of the answer, if it is another path than that of the request that asks; nil: it is not
}

// proveLater leaves the request until the password or the token that judge has read is checked.
func (s *entry) proveLater(c *loop.Conn) {
	p := &proving{s: (*Session)(s), users: s.users, client: (*Session)(s).clientOf(c)}
	if p.users != nil {
		p.proof = s.credentials.Proof(s.users)
	}
	if state := s.answer.Save(); state.Elsewhere() {
		state.Prove, p.state = true, &state
		(*Session)(s).sendAway(c, s.answer.Place.Set(), p)
		return
	}
	(*Session)(s).sendAway(c, nil, p)
}

func (p *proving) begin(done func()) {
	ended := func(r auth.Result) {
		p.result = r
		done()
	}
	if p.users == nil {
		p.s.answer.Place.Set().Methods().Verify(&p.s.asked, ended)
		return
	}
	p.s.cfg.Passwords.Check(p.users, &p.s.credentials, p.client, ended)
	p.s.credentials.Forget()
}

func (p *proving) patience(s *Session) time.Duration { return s.cfg.Patience }

func (p *proving) land(s *Session, x *exchange) {
	if p.users == nil && p.result == auth.Wrong && s.cfg.Admission.Limits() {
		s.whose = peer.AppendClient(s.whose[:0], p.client, x != nil && x.conn != nil && x.conn.OnUnix())
		s.cfg.Admission.Punish(s.whose, s.loop.Now())
	}
	if p.users != nil && (p.result == auth.Right || p.result == auth.Wrong) {
		s.verdicts.Put(p.proof, p.result == auth.Right, s.loop.Now())
	}
}

// goOn begins anew, or with the path that has asked: the verdict is known now.
func (p *proving) goOn(s *Session, x *exchange) {
	if p.state != nil { // the request was admitted, and its body seen to
		s.drive(x.conn, p.judge(s, x, s.answer.Resume(p.state)))
		return
	}
	e := (*entry)(s)
	step := p.judge(s, x, s.answer.Start(s.head.Path()))
	if x.grant.Counts() || loop.Replanned(x.conn) { // it was admitted
		e.route(x.conn, step, nil)
		return
	}
	if s.cfg.Breaker.Refuses() && step == resolve.Route { // it is known now who asks
		if refused, ok := e.bear(x.conn); !ok {
			step = refused
		}
	}
	e.enter(x.conn, step, nil)
}

// judge goes on from a step with what was found.
func (p *proving) judge(s *Session, x *exchange, step resolve.Step) resolve.Step {
	switch {
	case step != resolve.Identify:
	case p.result == auth.Crowded:
		step = s.answer.Proved(admit.Crowded)
	case p.result == auth.Insistent:
		step = s.answer.Proved(admit.Insistent)
	case p.result == auth.Unknown:
		step = s.answer.Proved(admit.NoKeys)
	default:
		if step = (*entry)(s).judge(x.conn); step == resolve.Prove && p.users == nil && s.users == nil { // it is forgotten already
			step = s.answer.Proved(admit.Crowded)
		}
	}
	return step
}
