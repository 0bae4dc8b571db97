package guest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"

	"github.com/fserve/fserve/engine/shape"
)

// Flow says what a response is counted by and how fast it may go. The zero value
// is what holds for a connection about which nothing is said.
type Flow struct {
	// Client is whom the limit of clients is shared with: a user, an API key.
	// Empty: the peer's address, of IPv6 the network of 64 bits.
	Client string
	// Path chooses the path class, by the longest prefix. Empty: the default one.
	Path string
	// Limit is for this response, in place of what holds for connections. The zero
	// value: that one. Those of the client, the path and everything together
	// hold beside it.
	Limit shape.Limit
	// ClientLimit is that of the Client, over all its responses, in place of that of each client. One that an
	// operator has set counts before it. The zero value: there is none.
	ClientLimit shape.Limit
}

var (
	// ErrNoConn is returned by SetFlow if its context has no connection of a
	// Listener.
	ErrNoConn = errors.New("engine: no connection of a Listener in the context (see ConnContext)")
	// ErrMultiplexed is returned by SetFlow if the responses on a connection are not one after
	// the other.
	ErrMultiplexed = errors.New("engine: the streams of an HTTP/2 connection cannot be told apart")
)

type (
	connKey struct{}
	flowKey struct{}
)

// ConnContext returns ctx with the connection c for SetFlow. It is what
// http.Server.ConnContext is set to. c may be a TLS connection over one of a Listener.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if g, _ := unwrap(c); g == nil {
		return ctx
	}
	return context.WithValue(ctx, connKey{}, c)
}

// unwrap returns the connection of a Listener that is c, or is under it; nil: there is
// none. multiplexed is set if several responses may be under way on it at once.
func unwrap(c net.Conn) (g *Conn, multiplexed bool) {
	for {
		if t, ok := c.(interface{ ConnectionState() tls.ConnectionState }); ok {
			multiplexed = t.ConnectionState().NegotiatedProtocol == "h2"
		}
		if g, ok := c.(*Conn); ok {
			return g, multiplexed || g.naming.isMultiplexed()
		}
		under, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil, false
		}
		c = under.NetConn()
	}
}

// SetFlow says what the response under way on the connection in ctx is counted
// by, from the next byte on. ctx is that of an http.Request whose server has ConnContext,
// or of a fasthttp handler. If it can end, as that of an http.Request, the Flow holds
// until then; else until the next request is read.
//
// It returns ErrNoConn or ErrMultiplexed, or says what is wrong with the Limit; nothing has
// changed then.
func SetFlow(ctx context.Context, f Flow) error {
	outer, _ := ctx.Value(connKey{}).(net.Conn)
	if r, ok := ctx.(interface{ Conn() net.Conn }); ok && outer == nil {
		outer, ctx = r.Conn(), context.Background() // fasthttp's is used again and ends with the server
	}
	c, multiplexed := unwrap(outer)
	switch {
	case c == nil:
		return ErrNoConn
	case multiplexed:
		return ErrMultiplexed
	}
	if err := cmp.Or(f.Limit.Validate(), f.ClientLimit.ValidateAt(shape.LevelClient)); err != nil {
		return err
	}
	c.naming.set(ctx, f)
	return nil
}

// WithFlow returns a context by which Send knows what it is counted by.
func WithFlow(ctx context.Context, f Flow) context.Context {
	return context.WithValue(ctx, flowKey{}, f)
}

func flowFrom(ctx context.Context) (f Flow, ok bool) {
	f, ok = ctx.Value(flowKey{}).(Flow)
	return f, ok
}

// afterNaming is how much may follow the end of a request and still be of its
// response: what net/http keeps in its buffers until the handler has returned, in
// bytes.
const afterNaming = 8 << 10

// naming is the Flow of a connection's response. A server tells nobody where a
// response ends, so that is taken from the context, or from the order of reads
// and writes.
type naming struct {
	mu    sync.Mutex
	flow  Flow
	ctx   context.Context // nil: nothing is set
	wrote bool            // since it was set
	after int             // bytes written after the end of ctx

	begun, multiplexed bool // bytes have come; they begin as HTTP/2 does
}

func (n *naming) set(ctx context.Context, f Flow) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flow, n.ctx, n.wrote, n.after = f, ctx, false, 0
}

// lend sets a Flow, and returns what sets that again which held before.
func (n *naming) lend(f Flow) (giveBack func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	flow, ctx := n.flow, n.ctx
	n.flow, n.ctx = f, context.Background()
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.flow, n.ctx = flow, ctx
	}
}

func (n *naming) clear() { n.flow, n.ctx = Flow{}, nil }

// forWrite returns the Flow that counts for the next bytes.
func (n *naming) forWrite(bytes int) Flow {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx != nil && n.ctx.Err() != nil {
		if n.after += bytes; n.after > afterNaming {
			n.clear()
		}
	}
	n.wrote = true
	return n.flow
}

// preface begins every connection of HTTP/2 (RFC 9113 section 3.4), and no other: there is
// no method of that name.
var preface = []byte("PRI ")

func (n *naming) isMultiplexed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.multiplexed
}

// received notes that bytes have come.
func (n *naming) received(p []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.begun {
		n.begun, n.multiplexed = true, bytes.HasPrefix(p, preface)
	}
	switch {
	case n.ctx == nil:
	case n.ctx.Err() != nil, n.ctx.Done() == nil && n.wrote:
		n.clear()
	}
}
