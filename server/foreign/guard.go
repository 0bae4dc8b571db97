package foreign

import (
	"context"
	"time"

	"github.com/fserve/fserve/engine/guest"
	"github.com/fserve/fserve/engine/peer"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/resolve"
)

// Enter decides whether a request is answered by a handler that is not ours: by the rules of access, proofs and
// bounds of the place of its path, as Answer does for a file. admitted: it is, its fields are those that
// the handler's response has too, and the response counts until Close. If not, the Answer is what the
// request gets. Enter may wait for a proof to be verified, and for other downloads to end.
func (h *Handler) Enter(q *Query) (a *Answer, admitted bool) {
	a = &Answer{}
	step := h.enter(a, q)
	if step == resolve.Route {
		a.head = "\r\n" + string(a.resolved.Fields)
		return a, true
	}
	h.drive(a, q, step)
	return a, false
}

// admit asks for a request whose place and caller are known, and waits for its turn.
func (h *Handler) admit(a *Answer, q *Query) resolve.Step {
	r, who := &a.resolved, &a.caller
	if m := h.set.Methods(); !a.known && m.Tiered() {
		m.Anonymous(who, q.Client, q.Unix)
	}
	ask := &admit.Ask{
		Client: q.name(), User: who.User, Tier: who.Tier(), Downloads: who.Connections, Path: r.Request.Path, Charged: a.charged,
	}
	a.charged = true
	grant, refusal := h.admission.Admit(ask, monotonic())
	a.grant = grant
	if refusal.Queue {
		refusal.Reason = h.wait(a, q, ask, refusal.Reason)
	}
	if refusal.Reason != admit.Admitted {
		return h.tooMany(a, &refusal)
	}
	r.Fields = refusal.Standing.Append(nil, h.admission.Fields())
	return resolve.Route
}

// wait waits for the turn of a request; Admitted: it has come.
func (h *Handler) wait(a *Answer, q *Query, ask *admit.Ask, why admit.Reason) admit.Reason {
	ended := make(chan struct{})
	w := h.admission.Wait(ask, why, func() { close(ended) })
	patience := time.NewTimer(h.admission.QueueWait())
	defer patience.Stop()
	select {
	case <-ended:
	case <-q.Gone:
		w.Leave()
	case <-patience.C:
		w.Leave()
	}
	<-ended
	a.grant, why = w.Admitted()
	return why
}

// tooMany answers a request that is not admitted.
func (h *Handler) tooMany(a *Answer, refusal *admit.Refusal) resolve.Step {
	a.resolved.Fields = refusal.Standing.Append(nil, h.admission.Fields())
	return resolve.TooMany(&a.resolved, refusal)
}

// name is what is counted by the address of the client.
func (q *Query) name() []byte { return peer.AppendClient(nil, q.Client, q.Unix) }

// Caller is who asks, as far as that was proved or is said by the address.
type Caller struct{ User, Tier string } // empty: it is not

// Caller returns who asks.
func (a *Answer) Caller() Caller { return Caller{string(a.caller.User), a.caller.Tier()} }

// callerKey is that of the *Answer in contexts of requests that were let in.
type callerKey struct{}

// CallerOf returns who asks, from the context of a request that a Guard has let in: that of an http.Request, or a
// fasthttp.RequestCtx.
func CallerOf(ctx context.Context) Caller {
	if a, ok := ctx.Value(callerKey{}).(*Answer); ok {
		return a.Caller()
	}
	return Caller{}
}

// With returns a context for CallerOf.
func (a *Answer) With(ctx context.Context) context.Context {
	return context.WithValue(ctx, callerKey{}, a)
}

// Share has a response counted by the caller, and limited by its tier, if it goes by a connection of the engine;
// see engine.SetFlow about ctx. Of callers of whom nothing is known it changes nothing.
func (a *Answer) Share(ctx context.Context) {
	f := guest.Flow{Client: string(a.caller.User), Path: string(a.resolved.Request.Path)}
	limit := a.caller.Limit()
	if limit != nil {
		f.ClientLimit = *limit
	}
	if f.Client != "" || f.ClientLimit != (shape.Limit{}) {
		_ = guest.SetFlow(ctx, f) // on other connections there are no limits, or those of addresses
	}
}
