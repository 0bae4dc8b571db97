package http1

import (
	"net/http"
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/peer"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/resolve"
)

// entry is a session as far as it is concerned with which requests are answered.
type entry Session

// place finds the place of the request in s.head, and whether its client is answered there.
func (s *entry) place(c *loop.Conn) resolve.Step {
	step := s.answer.Start(s.head.Path())
	if s.cfg.Breaker.Refuses() {
		if refused, ok := s.bear(c); !ok {
			return refused
		}
	}
	if step == resolve.Identify {
		step = s.judge(c)
	}
	return step
}

// bear asks the breaker for the request at hand, once. It reports false, with the answer, if that is
// refused. While a token is yet to be verified it is not asked: that is bounded by itself.
func (s *entry) bear(c *loop.Conn) (resolve.Step, bool) {
	if s.borne {
		return 0, true
	}
	rank, who := 0, s.caller
	if s.answer.Place.Wants.Any() {
		v := s.identify(c)
		s.caller = who // whether a proof is asked for is not said yet
		switch v {
		case admit.Passed:
			rank = s.own.Rank()
		case admit.Unproven:
			return 0, true
		}
	} else if s.tiered {
		s.answer.Place.Set().Methods().Anonymous(&s.own, (*Session)(s).clientOf(c), c.OnUnix())
		rank = s.own.Rank()
	}
	wait, ok := s.cfg.Breaker.Admit(rank, s.loop.Now())
	if s.borne = ok; !ok {
		return s.answer.FailFor(http.StatusServiceUnavailable, "breaker", admit.RetryAfter(wait)), false
	}
	return 0, true
}

// enter goes on with the request at hand when its place is found.
func (s *entry) enter(c *loop.Conn, step resolve.Step, rest []byte) {
	s.anonymous(c, step)
	if step == resolve.Route {
		if refused, ok := s.afford(c); !ok {
			step = refused
		}
	}
	switch {
	case step == resolve.Prove:
		s.proveLater(c)
	case step != resolve.Route || !s.cfg.Admission.Limits() || s.admit(c, rest):
		s.route(c, step, rest)
	}
}

// anonymous finds the tier of who was not asked for a proof.
func (s *entry) anonymous(c *loop.Conn, step resolve.Step) {
	if s.tiered && s.caller == nil && step == resolve.Route {
		s.caller = &s.own
		s.answer.Place.Set().Methods().Anonymous(s.caller, (*Session)(s).clientOf(c), c.OnUnix())
	}
}

// route has a route answer the request at hand, or answers it. rest is what has arrived behind
// its head.
func (s *entry) route(c *loop.Conn, step resolve.Step, rest []byte) {
	if step == resolve.Route {
		if r := s.cfg.Routes.find(s.answer.Request.Path); r != nil {
			(*Session)(s).handle(c, r)
			return
		}
		step = s.answer.File()
	}
	if (*Session)(s).skipBody(c, rest) {
		(*Session)(s).drive(c, step)
	}
}

// admit asks for the request at hand. It reports whether that is answered now: otherwise it
// waits, or is refused. rest is what has arrived behind its head.
func (s *entry) admit(c *loop.Conn, rest []byte) bool {
	s.whose = peer.AppendClient(s.whose[:0], (*Session)(s).clientOf(c), c.OnUnix())
	ask := &s.ask
	*ask = admit.Ask{Client: s.whose, Path: s.answer.Request.Path, Charged: s.charged}
	s.charged = true
	if who := s.caller; who != nil {
		ask.User, ask.Tier, ask.Downloads = who.User, who.Tier(), who.Connections
	}
	grant, refusal := s.cfg.Admission.Admit(ask, s.loop.Now())
	s.tell(&refusal)
	switch {
	case refusal.Reason == admit.Admitted:
		if grant.Counts() {
			(*Session)(s).exchangeOf(c).grant = grant
		}
		return true
	case refusal.Queue && !s.head.HasBody(): // a body would have to wait, too
		c.Suspend(0) // what was waited for before, a password, had a time of its own
		(*Session)(s).sendAway(c, s.answer.Place.Set(), &queueing{s: (*Session)(s), ask: ask, why: refusal.Reason})
	default:
		if refusal.Queue {
			s.cfg.Admission.Refuse(ask, refusal.Reason)
		}
		if (*Session)(s).skipBody(c, rest) {
			(*Session)(s).drive(c, resolve.TooMany(&s.answer, &refusal))
		}
	}
	return false
}

// charge counts the request at hand by its client, once, before what it proves is looked at. It
// reports false, with the answer, if that client asks too often.
func (s *entry) charge(c *loop.Conn) (resolve.Step, bool) {
	if s.charged || !s.cfg.Admission.Limits() {
		return 0, true
	}
	s.charged = true
	s.whose = peer.AppendClient(s.whose[:0], (*Session)(s).clientOf(c), c.OnUnix())
	if r := s.cfg.Admission.Charge(s.whose, s.loop.Now()); r.Reason != admit.Admitted {
		s.tell(&r)
		return resolve.TooMany(&s.answer, &r), false
	}
	return 0, true
}

// tell adds to the answer how its client stands with the rates of requests.
func (s *entry) tell(r *admit.Refusal) {
	if f := s.cfg.Admission.Fields(); f != admit.FieldsOff {
		s.standing = r.Standing.Append(s.standing[:0], f)
		s.answer.Fields = s.standing
	}
}

// queueing is the errand of a request that waits for its turn.
type queueing struct {
	s      *Session
	ask    *admit.Ask // nil: it has begun
	why    admit.Reason
	waiter *admit.Waiter
}

func (q *queueing) begin(done func()) {
	q.s.queued[q] = struct{}{}
	q.waiter = q.s.cfg.Admission.Wait(q.ask, q.why, done)
	q.ask = nil
}

func (q *queueing) patience(s *Session) time.Duration { return s.cfg.Admission.QueueWait() }

// land gives what counts the response to the exchange.
func (q *queueing) land(s *Session, x *exchange) {
	delete(s.queued, q)
	grant, why := q.waiter.Admitted()
	if q.why = why; x != nil && x.conn != nil {
		x.grant = grant
	} else {
		grant.Release()
	}
}

func (q *queueing) goOn(s *Session, x *exchange) {
	x.conn.Suspend(0) // what is waited for from here on has a time of its own
	e := (*entry)(s)
	step := e.place(x.conn)
	if q.why != admit.Admitted && step == resolve.Route {
		s.drive(x.conn, resolve.TooMany(&s.answer, &admit.Refusal{Reason: q.why}))
		return
	}
	e.route(x.conn, step, nil)
}

// giveUp answers a request that has waited for too long.
func (q *queueing) giveUp(s *Session, x *exchange) {
	q.waiter.Leave()
	(*entry)(s).place(x.conn)
	s.drive(x.conn, resolve.TooMany(&s.answer, &admit.Refusal{Reason: q.why}))
}
