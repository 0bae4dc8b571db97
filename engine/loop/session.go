package loop

import (
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/engine/shape"
)

// Session is what a loop's connections speak: the seam between a protocol and
// the engine. Each loop has its own; the loop calls
// it on its own goroutine only, so a Session needs no locks and must not block. The loop
// never calls a session from inside a call of the session.
type Session interface {
	// Receive is given the received bytes of c that are not yet consumed, and
	// how many of them it has seen before (when it found them too few). It
	// returns how many it consumes. Before it returns it may call one of
	// c.Respond, c.Suspend, c.Close or c.Reset; if it consumes nothing and
	// calls none, it is called again when there is more. p is valid until it
	// returns.
	Receive(c *Conn, p []byte, seen int) (n int)

	// Sent tells how the response ended. If it is complete the connection
	// goes on to the next request, unless c.CloseAfter was called; otherwise
	// it is being closed. o is valid until it returns.
	Sent(c *Conn, o *outcome.Outcome)

	// Timeout tells that a request did not arrive whole in time. The session
	// may Respond; if it does not, the connection is closed. It is also called when
	// the time of Conn.Suspend is over; then the connection stays if nothing is done.
	Timeout(c *Conn)

	// Closed tells that the connection is gone. It is called exactly once for
	// each connection on which Receive or Timeout was called or Data is set.
	Closed(c *Conn)
}

// Ender is a Session that is told when its loop ends. All connections are being closed then,
// and tasks are waited for: what some wait for, and the session can end, ends now.
type Ender interface{ Ending() }

// Replanner is a Session that answers a request anew if a file of its response is about to be
// changed, or has changed, before any byte of the response was sent.
type Replanner interface {
	// Again is given the Request of that Response, which is valid until it returns. Sent was
	// not called. It is for the session to call one of c.Respond, c.Suspend, c.Close or
	// c.Reset.
	Again(c *Conn, request []byte)
}

// Response is what a session answers with.
type Response struct {
	// Head is sent first. It may be reused as soon as Respond returns: what
	// cannot be sent at once is copied.
	Head []byte
	// Body follows. The slice itself may be reused as Head may.
	Body []Segment
	// Source follows in place of Body if it is not nil: a body that is not there yet, or
	// not all of it.
	Source Body
	// Request is what a Replanner is to get if it has to answer anew. It may be reused as
	// Head may. nil, or longer than MaxRequest: such a response is reset.
	Request []byte
	// Meter is told what the socket takes of the response. nil: nobody wants to know.
	Meter Meter

	// What follows counts only where there are limits (see Loop.Shaped).

	// Client is what the response is counted by. It is copied if need be. Empty:
	// the peer's address, of IPv6 the network of 64 bits.
	Client []byte
	// Class is the path class. nil: the default one.
	Class *shape.Class
	// Limit is for this response in place of the connection's; zero: that one.
	Limit shape.Limit
	// ClientLimit is for the client in place of that of each client, whose rate stays if this has none,
	// from this response on; an override counts before it. It is copied if need be. nil: that of each client.
	ClientLimit *shape.Limit
	// Group is what operators see beside the client, see ConnInfo.
	Group string
}

// Meter counts the bytes of one response, on its loop. It is told of no more when Session.Sent, or Closed,
// was called.
type Meter interface {
	// Spend takes n bytes that the socket took. If ok is false, and there is more to send, the response
	// ends as outcome.Aborted. slow takes the place of Response.ClientLimit from here on, where there are
	// limits; it is copied. nil: nothing does.
	Spend(n int64) (slow *shape.Limit, ok bool)
}
