package engine

import (
	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/engine/shape"
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

// Outcome is how a response ended and what it took.
type (
	Outcome = outcome.Outcome
	End     = outcome.End
	Via     = outcome.Via
)

const (
	Complete    = outcome.Complete
	PeerGone    = outcome.PeerGone
	FileChanged = outcome.FileChanged
	FileFailed  = outcome.FileFailed
	TimedOut    = outcome.TimedOut
	Aborted     = outcome.Aborted

	ViaMemory   = outcome.ViaMemory
	ViaSendfile = outcome.ViaSendfile
	ViaSplice   = outcome.ViaSplice
	ViaCopy     = outcome.ViaCopy
)

// What a session knows of files: see package openfile.
type (
	File      = openfile.File
	Files     = openfile.Files
	FileStats = openfile.Stats
	Opened    = openfile.Opened
	Root      = openfile.Root
	Symlinks  = openfile.Symlinks
)

const (
	SymlinksInside = openfile.SymlinksInside
	SymlinksFollow = openfile.SymlinksFollow
	SymlinksDeny   = openfile.SymlinksDeny
)

// OpenRoot opens a directory.
func OpenRoot(dir string, links Symlinks) (*Root, error) { return openfile.OpenRoot(dir, links) }

// What finds rates: see package measure.
type (
	Adaptation  = measure.Adaptation
	AdaptConfig = measure.Config
	AdaptEvent  = measure.Event
	AdaptReport = measure.Report
	AdaptState  = measure.State
	Steer       = measure.Steer
)

// AdaptSampleEvery is what adapt.Config.SampleEvery must be for the engine's pace.
const AdaptSampleEvery = measure.SampleEvery

var (
	ErrNotAdapted = measure.ErrNotAdapted
	ErrCrowded    = measure.ErrCrowded
)

// Adaptation returns what finds the rates of clients; nil: the engine was made without.
func (e *Engine) Adaptation() *Adaptation { return e.adaptation }

// Inherited, Sockets: see package listen.
type (
	Inherited = listen.Inherited
	Sockets   = listen.Sockets
)

const (
	UnixPrefix       = listen.UnixPrefix
	CongestionSystem = listen.CongestionSystem
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
