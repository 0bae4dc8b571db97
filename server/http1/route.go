package http1

import (
	"errors"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
)

// Route is a handler for the paths that begin with Prefix.
type Route struct {
	Prefix string
	// Handler answers. Unless Blocking is set it runs on an event loop and must
	// not block: everything else waits meanwhile. It may call ServeFile. The
	// RequestCtx must not be kept. A body stream is read to its end, into
	// memory, before the response begins; Hijack does nothing.
	Handler fasthttp.RequestHandler
	// Blocking runs the handler on a goroutine.
	Blocking bool
}

// Routes are the routes of a server, the longest prefix first.
type Routes []Route

// find returns the route of a normalised path; nil: it is a file's.
func (r Routes) find(path []byte) *Route {
	for i := range r {
		if p := r[i].Prefix; len(path) >= len(p) && string(path[:len(p)]) == p {
			return &r[i]
		}
	}
	return nil
}

// ErrNoRoute is returned by ServeFile if the request was not given to a Route's handler by
// this package's server.
var ErrNoRoute = errors.New("server: not a request of a Route")

// ServeFile makes the response to ctx the file at path of the host that the
// request is for, as if it had been requested: ranges, preconditions and methods
// are those of the request. The path finds its location but no other route, and
// the location's Access is not asked: the handler has decided. Fields that the handler
// has set on the response are added, except those that describe the file. It
// does not block; the file is sent by the engine after the handler returns. In a stock
// fasthttp.Server it does nothing and returns ErrNoRoute: there a Handler serves files.
func ServeFile(ctx *fasthttp.RequestCtx, path string) error {
	if !routed(ctx) {
		return ErrNoRoute
	}
	ctx.SetUserValue(fileKey{}, path)
	return nil
}

// SetClient names whom the response to ctx is counted by, in place of the
// address: a user, an API key. Limits of clients hold for all responses of one
// name together. It may be called by handlers of a Route, where it returns nil, and does
// nothing without limits; and by those of a stock fasthttp.Server, where it is
// engine.SetFlow and returns the errors of that.
func SetClient(ctx *fasthttp.RequestCtx, id string) error {
	ctx.SetUserValue(clientKey{}, id)
	return setFlow(ctx)
}

// SetLimit limits the response to ctx in place of the limit for connections;
// those of the client, the path and everything together still hold. It may be called as
// SetClient.
func SetLimit(ctx *fasthttp.RequestCtx, l shape.Limit) error {
	if err := l.Validate(); err != nil {
		return err
	}
	ctx.SetUserValue(limitKey{}, l)
	return setFlow(ctx)
}

// routed reports whether a handler of a Route was called with ctx.
func routed(ctx *fasthttp.RequestCtx) bool {
	switch ctx.Conn().(type) {
	case *connView, *tlsView:
		return true
	}
	return false
}

// setFlow brings into force what was said of the response to ctx. That of a Route is asked
// for it when it begins.
func setFlow(ctx *fasthttp.RequestCtx) error {
	if routed(ctx) {
		return nil
	}
	f := engine.Flow{Path: string(ctx.Path())}
	f.Client, _ = ctx.UserValue(clientKey{}).(string)
	f.Limit, _ = ctx.UserValue(limitKey{}).(shape.Limit)
	return engine.SetFlow(ctx, f)
}

type (
	clientKey struct{}
	limitKey  struct{}
)

type fileKey struct{}
