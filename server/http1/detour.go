package http1

import (
	"net/http"
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server/site"
)

// errand is work that may block, for which a request leaves its loop.
type errand interface {
	// begin begins the work, on another goroutine. done is called when it has ended.
	begin(done func())
	// patience is how long the request waits for it; 0: as long as it takes.
	patience(s *Session) time.Duration
	// land brings its results to the loop, for x; nil: nobody waits any more.
	land(s *Session, x *exchange)
	// goOn answers the request of x, which is the one at hand again.
	goOn(s *Session, x *exchange)
}

// detour takes the request of an exchange off the loop and brings it back. While it is
// away
//
//   - the exchange belongs to the detour: Closed only notes that the client has gone,
//     and the detour pools the exchange;
//   - the exchange has the request head, from which the request is read again;
//   - the connection is suspended, so that nothing of it comes in between;
//   - set is retained, so that its roots stay open for the errand.
type detour struct {
	s      *Session
	x      *exchange // nil: it was answered meanwhile
	errand errand
	set    *site.Set // under which the answer goes on; nil: under that of the session
}

// isAway reports whether an errand uses the exchange.
func (x *exchange) isAway() bool { return x.detour != nil }

// sendAway begins a detour of the request at hand. set may be nil.
func (s *Session) sendAway(c *loop.Conn, set *site.Set, e errand) {
	x := s.exchangeOf(c)
	x.keepHead(s.head.Raw())
	x.keepAsked()
	d := &detour{s, x, e, set}
	x.detour = d
	if set != nil {
		set.Retain()
	}
	c.Suspend(e.patience(s))
	e.begin(s.loop.Await(d.back))
}

// keepAsked keeps what is known of the request at hand beyond its head, for resume.
func (x *exchange) keepAsked() {
	s := x.s
	if s.caller == &s.own {
		x.caller = s.caller.Clone()
	}
	if x.call.route == nil { // else they are those of its handler
		x.call.fields = append(x.call.fields[:0], s.answer.Fields...)
	}
	x.charged, x.borne = s.charged, s.borne
}

// back ends the detour, on the loop.
func (d *detour) back(*loop.Loop) {
	s := d.s
	d.errand.land(s, d.x)
	if x := d.x; x != nil {
		x.detour = nil
		if x.conn == nil {
			s.put(nil, x)
		} else {
			s.resume(x)
			d.errand.goOn(s, x)
		}
	}
	clear(s.known)
	s.known = s.known[:0]
	if d.set != nil {
		d.letGo()
	}
}

// giveUp answers a request whose errand has taken too long. That goes on without it.
func (s *Session) giveUp(c *loop.Conn, x *exchange) {
	e := x.detour.errand
	x.detour.x, x.detour = nil, nil
	s.resume(x)
	if e, ok := e.(interface {
		giveUp(s *Session, x *exchange)
	}); ok {
		e.giveUp(s, x)
		return
	}
	s.fail(c, http.StatusServiceUnavailable)
}

// resume makes the request of an exchange the one at hand again, where its handler's
// path is.
func (s *Session) resume(x *exchange) {
	s.clock.at(s.loop.Now())
	s.parse(x.head, 0)
	s.begin(x.conn)
	s.answer.Locate(x.call.path)
	s.answer.Fields, s.caller = x.call.fields, x.caller
	s.charged, s.borne = x.charged, x.borne
}

// letGo releases what a detour has retained. If the session has another Set by now, the files that
// the errand has put into the cache may be of nobody.
func (d *detour) letGo() {
	if s := d.s; d.set != s.set {
		s.loop.Files.Prune(func(key string, _ *openfile.File) bool { return s.set.HasKey(key) })
	}
	d.set.Release()
}
