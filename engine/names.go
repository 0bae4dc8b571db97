package engine

import (
	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/engine/outcome"
)

type (
	// Outcome is how a Send ended and what it took.
	Outcome = outcome.Outcome
	// End says how.
	End = outcome.End
	// Via is the way that bytes took to the socket.
	Via = outcome.Via
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

type (
	// Sockets are listening sockets of another process, for Config.Inherit.
	Sockets = listen.Sockets
	// Inherited is one of them.
	Inherited = listen.Inherited
)

const (
	// UnixPrefix begins a listener's address that is the path of a Unix socket.
	UnixPrefix = listen.UnixPrefix
	// CongestionSystem leaves the congestion control of listeners as the system sets it.
	CongestionSystem = listen.CongestionSystem
)
