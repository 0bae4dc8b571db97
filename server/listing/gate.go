package listing

import (
	"log/slog"
	"sync/atomic"
	"syscall"
)

const (
	// maxListings is how many listings are made at the same time: it bounds
	// their memory and how much of the machine they take.
	maxListings = 4
	// maxWaiting is how many more wait for their turn, for each loop of a server.
	maxWaiting = 64
)

// Gate bounds how many listings are made at a time, and how many wait for that. It
// is safe for concurrent use.
type Gate struct {
	making  chan struct{} // one for each that is being made
	entered atomic.Int64
	most    int64
	log     *slog.Logger
}

// NewGate returns a Gate for a server with a number of event loops, or of processors
// that its goroutines run on.
func NewGate(loops int, log *slog.Logger) *Gate {
	return &Gate{making: make(chan struct{}, maxListings), most: maxListings + maxWaiting*int64(loops), log: log}
}

// Enter reports whether one more may wait to be made. If so, Exit is to follow.
func (g *Gate) Enter() bool {
	if g.entered.Add(1) > g.most {
		g.entered.Add(-1)
		return false
	}
	return true
}

// Exit ends what Enter began.
func (g *Gate) Exit() { g.entered.Add(-1) }

// Make makes a page of a directory, for who has entered. It waits for its turn and
// for the disk. ENOENT says that there is no such page.
func (g *Gate) Make(d *Directory, view View, json bool) (Page, syscall.Errno) {
	g.making <- struct{}{}
	defer func() { <-g.making }()
	l, e := d.read(view)
	if e != 0 {
		return Page{}, e
	}
	p, err := l.render(json)
	if err != nil {
		g.log.Error("listing not rendered", "path", d.Path, "err", err)
		return Page{}, syscall.EIO
	}
	return p, 0
}
