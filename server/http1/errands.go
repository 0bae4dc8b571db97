package http1

import (
	"syscall"
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/server/listing"
	"github.com/fserve/fserve/server/resolve"
	"github.com/fserve/fserve/server/wire"
)

// opening is the errand of an answer whose files' directories are not in memory.
type opening struct {
	state resolve.State
	files []opened
}

// openLater leaves the request until the files are open that it may need.
func (s *Session) openLater(c *loop.Conn) {
	o := &opening{state: s.answer.Save()}
	for _, w := range s.answer.Ahead() {
		o.files = append(o.files, opened{want: w, key: string(w.Key)})
	}
	s.sendAway(c, s.answer.Place.Set(), o)
}

func (o *opening) run() {
	for i := range o.files {
		f := &o.files[i]
		f.got = f.want.Place.Root.Open(f.want.Name(f.key), false)
	}
}

// land puts the files into the cache.
func (o *opening) land(s *Session) {
	for i := range o.files {
		f := &o.files[i]
		f.file, f.err = s.loop.Files.Add(f.key, f.got, f.want.WritePolicy())
	}
}

func (o *opening) goOn(s *Session, x *exchange) {
	s.known = o.files
	s.drive(x.conn, s.answer.Resume(&o.state))
}

// writeInterval is how often a file that is being written is asked about.
const writeInterval = 10 * time.Millisecond

// waiting is the errand of an answer whose file is being written: nothing but time.
type waiting struct{ state resolve.State }

func (w *waiting) run()          {}
func (w *waiting) land(*Session) {}

func (w *waiting) goOn(s *Session, x *exchange) { s.drive(x.conn, s.answer.Resume(&w.state)) }

// making is the errand of an answer that is a listing.
type making struct {
	state    resolve.State
	exchange *exchange // that uses the page
	listings *listing.Cache
	dir      listing.Directory
	view     listing.View
	json     bool

	err syscall.Errno
}

// listLater leaves the request until its listing is made; false: too many wait.
func (s *Session) listLater(c *loop.Conn) bool {
	a := &s.answer
	if !s.cfg.Listings.Enter() {
		return false
	}
	s.sendAway(c, a.Place.Set(), &making{
		state: a.Save(), exchange: s.exchangeOf(c), listings: s.cfg.Listings, dir: a.Directory(), view: a.View,
		json: listing.PrefersJSON(string(s.head.Get(wire.Accept))),
	})
	return true
}

func (m *making) run()          { m.exchange.page, m.err = m.listings.Get(&m.dir, m.view, m.json) }
func (m *making) land(*Session) { m.listings.Exit() }

func (m *making) goOn(s *Session, x *exchange) {
	s.answer.Resume(&m.state)
	s.drive(x.conn, s.answer.Listed(x.page, m.err))
}
