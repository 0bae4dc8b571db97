package http1

import (
	"github.com/valyala/fasthttp"

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

// ServeFile makes the response to ctx the file at path of the host that the
// request is for, as if it had been requested: ranges, preconditions and methods
// are those of the request. The path finds its location but no other route, and
// the location's Access is not asked: the handler has decided. Fields that the handler
// has set on the response are added, except those that describe the file. It
// does not block; the file is sent by the engine after the handler returns.
func ServeFile(ctx *fasthttp.RequestCtx, path string) { ctx.SetUserValue(fileKey{}, path) }

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

type fileKey struct{}
