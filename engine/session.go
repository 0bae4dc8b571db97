package engine

import (
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/aio"
)

// Session is what a loop's connections speak: the seam between a protocol and
// the engine. Each loop has its own, made by Config.NewSession; the loop calls
// it on its own goroutine only, so a Session needs no locks and must not block.
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
	Sent(c *Conn, o *Outcome)

	// Timeout tells that a request did not arrive whole in time. The session
	// may Respond; if it does not, the connection is closed.
	Timeout(c *Conn)

	// Closed tells that the connection is gone. It is called exactly once for
	// each connection on which Receive or Timeout was called or Data is set.
	Closed(c *Conn)
}

// End says how a response ended.
type End uint8

const (
	Complete    End = iota // every byte is with the kernel
	PeerGone               // the peer reset or vanished
	FileChanged            // the file shrank or changed while it was sent
	FileFailed             // the file cannot be read (EIO and the like)
	TimedOut               // the peer read nothing for Config.SendTimeout
	Aborted                // closed by the session, or by the engine's end
)

func (e End) String() string {
	switch e {
	case Complete:
		return "complete"
	case PeerGone:
		return "peer gone"
	case FileChanged:
		return "file changed"
	case FileFailed:
		return "file failed"
	case TimedOut:
		return "timed out"
	case Aborted:
		return "aborted"
	}
	return "unknown"
}

// Outcome is how a response ended and what it took.
type Outcome struct {
	End   End
	Bytes [aio.NumVia]int64 // moved, by way
	// Start and Duration are monotonic ns: when Respond was called, and how
	// long it took until the last byte was with the kernel.
	Start    int64
	Duration int64
	// First is how long it took until the first bytes were with the kernel; 0
	// if there were none. All are as exact as a turn of the loop.
	First int64
	// Held is for how long, in ns, the response waited for its turn, by the level
	// of limits that held it back.
	Held [shape.NumLevels]int64
}

// Total returns the bytes moved by all ways.
func (o *Outcome) Total() int64 {
	var n int64
	for _, b := range o.Bytes {
		n += b
	}
	return n
}

// FileVia returns the way that most of the file bytes went, ViaMemory if none
// were sent from a file.
func (o *Outcome) FileVia() Via {
	best := ViaMemory
	for v := ViaMemory + 1; v < aio.NumVia; v++ {
		if o.Bytes[v] > 0 && (best == ViaMemory || o.Bytes[v] > o.Bytes[best]) {
			best = v
		}
	}
	return best
}

// Via is the way that bytes took to the socket.
type Via = aio.Via

const (
	ViaMemory   = aio.ViaMemory   // from memory
	ViaSendfile = aio.ViaSendfile // sendfile(2)
	ViaSplice   = aio.ViaSplice   // file, pipe, socket
	ViaCopy     = aio.ViaCopy     // file, memory, socket
)

// Segment is a part of a response: memory, or a range of a file.
type Segment struct {
	// Mem is sent if it is not nil. It must not change until Sent.
	Mem []byte
	// File lends its bytes [Off, Off+N) if Mem is nil. With Mem it is only
	// held, so that its InUse tells whether the memory may be changed. The
	// engine holds a reference of its own until the response has ended.
	File   *File
	Off, N int64
}

func (s *Segment) inMemory() bool { return s.Mem != nil || s.File == nil }

// Response is what a session answers with.
type Response struct {
	// Head is sent first. It may be reused as soon as Respond returns: what
	// cannot be sent at once is copied.
	Head []byte
	// Body follows. The slice itself may be reused as Head may.
	Body []Segment

	// What follows counts only where there are limits (see Loop.Shaped).

	// Client is what the response is counted by. It is copied if need be. Empty:
	// the peer's address, of IPv6 the network of 64 bits.
	Client []byte
	// Class is the path class. nil: the default one.
	Class *shape.Class
	// Limit is for this response in place of the connection's; zero: that one.
	Limit shape.Limit
}

// Task is work that may block: Run is called on a goroutine of its own, then
// Done on the loop, even if the engine is shutting down.
type Task interface {
	Run()
	Done(l *Loop)
}
