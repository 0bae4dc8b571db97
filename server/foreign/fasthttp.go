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
	q.Twice = len(ctx.Request.Header.PeekAll("Authorization")) > 1 || len(ctx.Request.Header.PeekAll("X-API-Key")) > 1
	q.Client = peer.Of(ctx.RemoteAddr())
	_, q.Unix = ctx.RemoteAddr().(*net.UnixAddr)
	for name, value := range ctx.Request.Header.All() {
		q.AddField(name, value)
	}
	a := h.Answer(&q)
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
