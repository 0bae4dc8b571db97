package http1

import (
	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
)

// SetClient names whom the response to ctx is counted by, in place of the
// address: a user, an API key. Limits of clients hold for all responses of one
// name together. It may be called by handlers; without limits it does nothing.
func SetClient(ctx *fasthttp.RequestCtx, id string) { ctx.SetUserValue(clientKey{}, id) }

// SetLimit limits the response to ctx in place of the limit for connections;
// those of the client, the path and everything together still hold. It may be
// called by handlers; without limits (see Config.Engine) it does nothing.
func SetLimit(ctx *fasthttp.RequestCtx, l shape.Limit) { ctx.SetUserValue(limitKey{}, l) }

type (
	clientKey struct{}
	limitKey  struct{}
)

// shape says whose the response in s.resp is: of which client and path class.
func (s *Session) shape(c *engine.Conn) {
	r := &s.resp
	path := s.answer.Request.Path
	if class := s.answer.Place.Class; class != nil {
		path = class
	}
	r.Class = s.loop.Limits().Class(path)
	r.Client, r.Limit = nil, shape.Limit{}
	if s.cfg.Trust.Any() {
		s.client = engine.AppendClient(s.client[:0], s.clientOf(c))
		r.Client = s.client
	}
	x, ok := c.Data.(*exchange)
	if !ok || x.call.route == nil || x.call.ctx == nil || x.call.timedOut() != nil {
		return
	}
	if id, ok := x.call.ctx.UserValue(clientKey{}).(string); ok {
		r.Client = append(s.client[:0], id...)
	}
	if l, ok := x.call.ctx.UserValue(limitKey{}).(shape.Limit); ok {
		r.Limit = l
	}
}
