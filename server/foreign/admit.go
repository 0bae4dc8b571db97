package foreign

import (
	"time"

	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/auth"
	"github.com/fserve/fserve/server/resolve"
)

// began is when the monotonic time of verdicts begins.
var began = time.Now()

// admit tells the answer who the client is, and checks its password.
func (h *Handler) admit(r *resolve.Answer, q *Query) resolve.Step {
	step := r.Admit(&admit.Visitor{Addr: q.Client, Unix: q.Unix, Referer: []byte(q.Referer), Agent: []byte(q.UserAgent)})
	if step != resolve.Prove {
		return step
	}
	var c auth.Credentials
	if !c.Read([]byte(q.Authorization)) {
		return r.Proved(admit.NoPassword)
	}
	defer c.Forget()
	return r.Proved(h.prove(r.Place.Users.Users(int64(time.Since(began))), &c, q))
}

// prove finds out whether a password is right, and waits for that.
func (h *Handler) prove(users *auth.Users, c *auth.Credentials, q *Query) admit.Judgement {
	proof := c.Proof(users)
	h.proving.Lock()
	right, known := h.verdicts.Find(proof, int64(time.Since(began)))
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
		h.verdicts.Put(proof, right, int64(time.Since(began)))
		h.proving.Unlock()
	}
	if right {
		return admit.Passed
	}
	return admit.WrongPassword
}
