package http1

import (
	"syscall"
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/listing"
	"github.com/fserve/fserve/server/resolve"
)

// opening is the errand of an answer whose files cannot be opened without waiting.
type opening struct {
	openfile.Opening
	state    resolve.State
	root     *openfile.Root
	keys     []string
	policies []openfile.Policy
}

// openLater leaves the request until the files are open that it may need.
func (s *Session) openLater(c *loop.Conn) {
	o := &opening{state: s.answer.Save()}
	o.MaxBody = s.loop.Files.MaxContent()
	for _, w := range s.answer.Ahead() { // all below one root
		key := string(w.Key)
		o.root, o.keys, o.Names = w.Place.Root, append(o.keys, key), append(o.Names, w.Name(key))
		o.policies = append(o.policies, w.WritePolicy())
		o.Hashed = o.Hashed || o.policies[len(o.policies)-1].Hashed
	}
	s.sendAway(c, s.answer.Place.Set(), o)
}

func (o *opening) begin(done func()) {
	o.Done = done
	o.root.Begin(&o.Opening)
}

func (o *opening) patience(s *Session) time.Duration { return s.cfg.Patience }

// land puts the files into the cache.
func (o *opening) land(s *Session, _ *exchange) {
	for i, got := range o.Got {
		f, e := s.loop.Files.Add(o.keys[i], got, o.policies[i])
		s.known = append(s.known, opened{o.keys[i], f, e})
	}
}

func (o *opening) goOn(s *Session, x *exchange) {
	s.drive(x.conn, s.answer.Resume(&o.state))
}

// writeInterval is how often a file that is being written is asked about.
const writeInterval = 10 * time.Millisecond

// waiting is the errand of an answer whose file is being written: nothing but time.
type waiting struct{ state resolve.State }

func (w *waiting) begin(done func())               { time.AfterFunc(writeInterval, done) }
func (w *waiting) patience(*Session) time.Duration { return 0 }
func (w *waiting) land(*Session, *exchange)        {}

func (w *waiting) goOn(s *Session, x *exchange) { s.drive(x.conn, s.answer.Resume(&w.state)) }

// making is the errand of an answer that is a listing.
type making struct {
	state    resolve.State
	listings *listing.Cache
	dir      listing.Directory
	view     listing.View
	json     bool

	page *listing.Page
	err  syscall.Errno
}

// listLater leaves the request until its listing is made.
func (s *Session) listLater(c *loop.Conn) {
	a := &s.answer
	s.sendAway(c, a.Place.Set(), &making{
		state: a.Save(), listings: s.cfg.Listings, dir: a.Directory(), view: a.View,
		json: httpfile.PrefersJSON(a.Request.Accept),
	})
}

func (m *making) begin(done func()) {
	if !m.listings.Begin(&m.dir, m.view, m.json, func(p *listing.Page, e syscall.Errno) {
		m.page, m.err = p, e
		done()
	}) {
		m.err = syscall.EBUSY
		done()
	}
}

func (m *making) patience(s *Session) time.Duration { return s.cfg.Patience }

// land gives the page to the exchange, which releases it.
func (m *making) land(_ *Session, x *exchange) {
	if x != nil {
		x.page = m.page
	} else {
		m.page.Release()
	}
}

func (m *making) goOn(s *Session, x *exchange) {
	s.answer.Resume(&m.state)
	s.drive(x.conn, s.answer.Listed(x.page, m.err))
}
