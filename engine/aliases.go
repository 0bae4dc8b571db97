package engine

import (
	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/outcome"
)

// What a session is made of: see package loop.
type (
	Loop      = loop.Loop
	LoopStats = loop.Stats
	Conn      = loop.Conn
	ConnInfo  = loop.ConnInfo
	ConnOrder = loop.ConnOrder
	Session   = loop.Session
	Response  = loop.Response
	Segment   = loop.Segment
	Task      = loop.Task
	Adopted   = loop.Adopted
	Socket    = loop.Socket
)

const (
	ByRate = loop.ByRate
	ByAge  = loop.ByAge
	ByWait = loop.ByWait
)

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

// Inherited, Sockets: see package listen.
type (
	Inherited = listen.Inherited
	Sockets   = listen.Sockets
)

const (
	UnixPrefix       = listen.UnixPrefix
	CongestionSystem = listen.CongestionSystem
)
