package foreign

import (
	"net"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine/peer"
	"github.com/fserve/fserve/server/httpfile"
)

// Serve is a fasthttp.RequestHandler for a fasthttp.Server of the caller's own.
// (Handlers of a Server of this package call ServeFile instead.) The body is left
// as a stream, which the server sends after the handler has returned; if the file
// changes meanwhile, the server cuts the connection.
func (h *Handler) Serve(ctx *fasthttp.RequestCtx) {
	q := queryOf(ctx)
	a := h.Answer(&q)
	a.Share(ctx)
	a.respond(ctx)
}

// Guard returns a fasthttp.RequestHandler that has next answer the requests that are let in (see Enter), for a
// fasthttp.Server of the caller's own. A response counts until it was written. CallerOf says who asks.
// A fasthttp.TimeoutHandler goes around next, not around this: it forgets what would be given back.
func (h *Handler) Guard(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		q := queryOf(ctx)
		a, admitted := h.Enter(&q)
		if !admitted {
			a.respond(ctx)
			return
		}
		ctx.SetUserValue(callerKey{}, a) // fasthttp closes it when the response was written
		a.Share(ctx)
		next(ctx)
		r := &ctx.Response
		if late := ctx.LastTimeoutErrorResponse(); late != nil { // fasthttp forgets the context, which is still written to
			_ = a.Close() // there is no file
			r = late
		}
		for name, value := range a.Fields() {
			if len(r.Header.Peek(name)) == 0 {
				r.Header.Set(name, value)
			}
		}
	}
}

// queryOf returns what the answer depends on.
func queryOf(ctx *fasthttp.RequestCtx) Query {
	uri := ctx.URI()
	q := Query{
		Request: httpfile.Request{
			Method: httpfile.ParseMethod(ctx.Method()), HTTP10: !ctx.Request.Header.IsHTTP11(),
		},
		Target: string(uri.PathOriginal()), Host: string(ctx.Host()), Encrypted: ctx.IsTLS(),
	}
	if query := uri.QueryString(); len(query) > 0 {
		q.Query = query
	}
	q.Referer, q.UserAgent = string(ctx.Referer()), string(ctx.UserAgent())
	q.Authorization = string(ctx.Request.Header.Peek("Authorization"))
	q.APIKey = string(ctx.Request.Header.Peek("X-API-Key"))
	q.Cookie = string(ctx.Request.Header.Peek("Cookie"))
	q.Twice = len(ctx.Request.Header.PeekAll("Authorization")) > 1 || len(ctx.Request.Header.PeekAll("X-API-Key")) > 1
	q.Client = peer.Of(ctx.RemoteAddr())
	_, q.Unix = ctx.RemoteAddr().(*net.UnixAddr)
	for name, value := range ctx.Request.Header.All() {
		q.AddField(name, value)
	}
	return q
}

// respond gives the answer to the server, which closes it.
func (a *Answer) respond(ctx *fasthttp.RequestCtx) {
	r := &ctx.Response
	r.SetStatusCode(a.Status())
	r.Header.SetNoDefaultContentType(true)
	for name, value := range a.Fields() {
		if name != "Content-Length" {
			r.Header.Add(name, value)
		}
	}
	n := a.ContentLength()
	switch {
	case n < 0:
		_ = a.Close() // it was only read
	case ctx.IsHead():
		_ = a.Close()
		r.SkipBody = true
		r.Header.SetContentLength(int(n))
	default:
		r.SetBodyStream(a, int(n))
	}
}
