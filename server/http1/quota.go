package http1

import (
	"net/http"
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/peer"
	"github.com/fserve/fserve/engine/rate"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/quota"
	"github.com/fserve/fserve/server/resolve"
)

// meter is a loop.Meter for the quotas of a response.
type meter struct {
	quota.Spender
	slow shape.Limit
}

// Spend implements loop.Meter.
func (m *meter) Spend(n int64) (slow *shape.Limit, ok bool) {
	switch then, over := m.Spender.Spend(n); {
	case !over || then == quota.Refuse:
		return nil, true
	case then == quota.Throttle:
		return &m.slow, true
	}
	return nil, false
}

// owes are the accounts that a response is counted by.
type owes struct {
	user, link *quota.Account // nil: none
}

// accounts finds those of the caller of the request at hand.
func (s *entry) accounts(c *loop.Conn) (o owes) {
	who := s.caller
	if l := &who.Quota; l.Bytes > 0 {
		name := append(s.named[:0], quota.OfUser...)
		if len(who.User) > 0 {
			name = append(name, who.User...)
		} else {
			name = peer.AppendClient(append(name[:0], quota.OfAddress...), (*Session)(s).clientOf(c), c.OnUnix())
		}
		o.user = s.cfg.Quotas.Of(name, l.Kind.At(s.unixNow()))
		s.named = name
	}
	if who.LinkBytes > 0 {
		s.named = append(append(s.named[:0], quota.OfLink...), who.LinkID...)
		o.link = s.cfg.Quotas.Of(s.named, quota.Period{Kind: quota.Life, Number: who.LinkEnds})
	}
	return o
}

func (s *entry) unixNow() int64 { return s.clock.unix(s.loop.Now()) / int64(time.Second) }

// afford looks at the quotas of the caller of the request at hand. It reports false, with the answer, if
// one is used up.
func (s *entry) afford(c *loop.Conn) (resolve.Step, bool) {
	who := s.caller
	if who == nil || who.Quota.Bytes == 0 && who.LinkBytes == 0 {
		return 0, true
	}
	o, now := s.accounts(c), s.unixNow()
	if o.link != nil && o.link.Left(who.LinkBytes) == 0 {
		s.cfg.Quotas.Refuse()
		return s.answer.Fail(http.StatusGone), false
	}
	if l := &who.Quota; o.user != nil && o.user.Left(l.Bytes) == 0 {
		if l.Then == quota.Throttle {
			who.Slow(s.slowed())
			return 0, true
		}
		s.cfg.Quotas.Refuse()
		return s.answer.FailFor(http.StatusTooManyRequests, "quota", admit.RetryAfter((o.user.Ends()-now)*int64(time.Second))), false
	}
	return 0, true
}

// slowed returns the rate of the caller once its quota is used up, which is never more than before.
func (s *entry) slowed() rate.Rate {
	who, tree := s.caller, s.loop.Limits()
	r := who.Quota.Slow
	if l := who.Limit(); l != nil && l.Rate != rate.Unlimited {
		return rate.Least(r, l.Rate)
	}
	if tree != nil { // that of each client, which is in no override
		each, _ := tree.ClientLimit("")
		r = rate.Least(r, each.Rate)
	}
	return r
}

// count has the response in s.resp counted by the quotas of who has asked for it.
func (s *entry) count(c *loop.Conn) {
	who := s.caller
	s.resp.Meter = nil
	if who == nil || who.Quota.Bytes == 0 && who.LinkBytes == 0 {
		return
	}
	m := &(*Session)(s).exchangeOf(c).meter
	if s.resp.Meter = m; m.Counts() { // it is planned anew
		return
	}
	o := s.accounts(c)
	if l := who.Limit(); l != nil {
		m.slow = *l
	}
	if o.user != nil {
		if who.Quota.Then == quota.Throttle {
			m.slow.Rate = s.slowed()
		}
		m.Of(o.user, who.Quota.Bytes, who.Quota.Then)
	}
	if o.link != nil {
		m.Of(o.link, who.LinkBytes, quota.Cut)
	}
}
