package engine

import (
	"context"
	"net"
	"os"

	"github.com/fserve/fserve/engine/guest"
)

// Flow says what a response is counted by and how fast it may go.
type Flow = guest.Flow

// GuestStats count what Send and the connections of Listener did.
type GuestStats = guest.Stats

var (
	// ErrEnded is returned when the engine takes nothing new any more.
	ErrEnded = guest.ErrEnded
	// ErrNoGuests is returned by Send, and by Accept of a Listener, if the engine has
	// limits and loops of its own and was made without Config.Guests.
	ErrNoGuests = guest.ErrNoGuests
	// ErrNoConn is returned by SetFlow if its context has no connection of a
	// Listener.
	ErrNoConn = guest.ErrNoConn
	// ErrMultiplexed is returned by SetFlow if the responses on a connection are not one after
	// the other, as those of HTTP/2.
	ErrMultiplexed = guest.ErrMultiplexed
)

// Listener returns a listener whose connections send through the engine: files
// that are copied to them (io.Copy, http.ServeContent, a body stream of fasthttp)
// without passing through user memory and without a thread that waits for the
// disk, and everything by the engine's limits.
//
// Nothing else changes: the connections belong to whoever accepts them, and
// deadlines, CloseWrite, SyscallConn and half-closed peers work as they do without. What is
// written by SyscallConn is not limited. TLS goes around it
// (tls.NewListener(e.Listener(ln), cfg)); its bytes are limited like others.
//
// When the engine is closed connections with limits fail with ErrEnded; without,
// they go on by themselves. Shut the server down first.
func (e *Engine) Listener(ln net.Listener) net.Listener { return e.guests.Listener(ln) }

// Send sends n bytes of file from off to conn, and returns when they are with the kernel. With n < 0 it sends the file to its end.
// The file's own offset is neither used nor changed.
//
// The bytes go by sendfile(2) or splice(2), by the limits of the engine (see
// WithFlow), and no thread waits for the disk or for the peer meanwhile, if conn is a syscall.Conn: a
// stream socket. To others, as *tls.Conn, they are read and written, by the same limits; over a connection of Listener
// they count there, with what TLS adds. Any
// goroutine may call it; one at a time for each connection, since bytes of others
// would come between.
//
// Send returns an error if, and only if, fewer than n bytes were sent; the outcome.Outcome
// tells how many and by which ways. A peer that has got a part of a body must not
// take it for the whole: close the connection. The errors are io.ErrUnexpectedEOF
// if the file is shorter, net.ErrClosed or os.ErrClosed if the connection or the
// file was closed meanwhile, os.ErrDeadlineExceeded after conn's write deadline, ErrEnded if the
// engine was closed, and what ctx says if it has ended.
//
// Send never uses a descriptor that was closed: it keeps the runtime's hold on
// both while it does. If ctx ends while the socket is waited for, Send sets conn's
// write deadline to the past and leaves it there.
func (e *Engine) Send(ctx context.Context, conn net.Conn, file *os.File, off, n int64) (Outcome, error) {
	return e.guests.Send(ctx, conn, file, off, n)
}

// GuestStats returns the counters of Send and of the connections of Listener.
func (e *Engine) GuestStats() GuestStats { return e.guests.Stats() }

// ConnContext returns ctx with the connection c for SetFlow. It is what
// http.Server.ConnContext is set to. c may be a TLS connection over one of a Listener.
func ConnContext(ctx context.Context, c net.Conn) context.Context { return guest.ConnContext(ctx, c) }

// SetFlow says what the response under way on the connection in ctx is counted
// by, from the next byte on. ctx is that of an http.Request whose server has ConnContext,
// or the RequestCtx of a stock fasthttp server. If it can end, as that of an http.Request,
// the Flow holds until then; else until the next request is read.
//
// It returns ErrNoConn or ErrMultiplexed, or says what is wrong with the Limit; nothing has
// changed then. HTTP/2 is served under the limits of the peer's address.
func SetFlow(ctx context.Context, f Flow) error { return guest.SetFlow(ctx, f) }

// WithFlow returns a context by which Send knows what it is counted by.
func WithFlow(ctx context.Context, f Flow) context.Context { return guest.WithFlow(ctx, f) }
