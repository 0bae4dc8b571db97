package foreign

import (
	"time"

	"github.com/fserve/fserve/engine/peer"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/auth"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/link"
	"github.com/fserve/fserve/server/resolve"
)

// began is when the monotonic time of verdicts begins.
var began = time.Now()

func monotonic() int64 { return int64(time.Since(began)) }

// identify tells the answer who the client is and who asks, and checks the password.
func (h *Handler) identify(a *Answer, q *Query) resolve.Step {
	r := &a.resolved
	step := r.Admit(&admit.Visitor{Addr: q.Client, Unix: q.Unix, Referer: []byte(q.Referer), Agent: []byte(q.UserAgent)})
	if step != resolve.Prove {
		return step
	}
	if !a.charged {
		a.charged = true
		if refusal := h.admission.Charge(q.name(), monotonic()); refusal.Reason != admit.Admitted {
			return h.tooMany(a, &refusal)
		}
	}
	if w := &r.Place.Wants; w.Any() {
		asked := auth.Asked{Visit: link.Visit{
			Request: link.Request{Path: r.Request.Path, Host: []byte(q.Host), Client: q.Client, Now: time.Now().Unix()}, Query: r.Request.Query, Unix: q.Unix,
		}, Authorization: field(q.Authorization), Key: field(q.APIKey), Twice: q.Twice, Mono: monotonic()}
		if m := q.Method; m == httpfile.MethodGet || m == httpfile.MethodHead { // others may be asked for by any page
			asked.Cookie = field(q.Cookie)
		}
		if v := h.verify(a, &asked); v != admit.Passed {
			return r.Proved(v)
		}
	}
	if r.Place.Users == nil {
		return r.Proved(admit.Passed)
	}
	if q.Twice { // programs on the way may take another than this one
		return r.Fail(httpfile.StatusBadRequest)
	}
	var c auth.Credentials
	if !c.Read([]byte(q.Authorization)) {
		return r.Proved(admit.NoPassword)
	}
	defer c.Forget()
	return r.Proved(h.prove(r.Place.Users.Users(monotonic()), &c, q))
}

// field is the value of a field as auth has it.
func field(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

// verify finds out who asks, and waits for that.
func (h *Handler) verify(a *Answer, asked *auth.Asked) admit.Judgement {
	m, w := h.set.Methods(), &a.resolved.Place.Wants
	a.known = true
	identify := func() admit.Judgement {
		v := m.Identify(&a.caller, w, asked)
		if v == admit.Passed && a.caller.LinkBytes > 0 { // nobody here counts them
			return admit.BadLink
		}
		return v
	}
	v := identify()
	if v != admit.Unproven {
		return v
	}
	result := make(chan auth.Result, 1)
	m.Verify(asked, func(r auth.Result) { result <- r })
	switch <-result {
	case auth.Crowded:
		return admit.Crowded
	case auth.Insistent:
		return admit.Insistent
	case auth.Unknown:
		return admit.NoKeys
	case auth.Wrong:
		h.admission.Punish(peer.AppendClient(nil, asked.Client, asked.Unix), monotonic())
	}
	if v = identify(); v == admit.Unproven { // it is forgotten already
		return admit.Crowded
	}
	return v
}

// prove finds out whether a password is right, and waits for that.
func (h *Handler) prove(users *auth.Users, c *auth.Credentials, q *Query) admit.Judgement {
	proof := c.Proof(users)
	h.proving.Lock()
	right, known := h.verdicts.Find(proof, monotonic())
	h.proving.Unlock()
	if !known {
		result := make(chan auth.Result, 1)
		h.passwords.Check(users, c, q.Client, func(r auth.Result) { result <- r })
		switch r := <-result; r {
		case auth.Crowded:
			return admit.Crowded
		case auth.Insistent:
			return admit.Insistent
		default:
			right = r == auth.Right
		}
		h.proving.Lock()
		h.verdicts.Put(proof, right, monotonic())
		h.proving.Unlock()
	}
	if right {
		return admit.Passed
	}
	return admit.WrongPassword
}
