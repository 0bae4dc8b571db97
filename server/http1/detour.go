package http1

import (
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server/site"
)

// errand is work that may block, for which a request leaves its loop.
type errand interface {
	// run does the work, on a goroutine.
	run()
	// land brings its results to the loop, also if the client has gone meanwhile.
	land(s *Session)
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
	errand errand    // nil: the request is not away
	set    *site.Set // under which the answer goes on; nil: under that of the session
}

// isAway reports whether a task uses the exchange.
func (x *exchange) isAway() bool { return x.detour.errand != nil }

// sendAway begins a detour of the request at hand. set may be nil.
func (s *Session) sendAway(c *loop.Conn, set *site.Set, e errand) {
	x := s.exchangeOf(c)
	x.keepHead(s.head.Raw())
	x.detour = detour{e, set}
	if set != nil {
		set.Retain()
	}
	c.Suspend()
	if _, ok := e.(*waiting); ok {
		s.loop.After(writeInterval, x)
		return
	}
	s.loop.Go(x)
}

// Run implements loop.Task.
func (x *exchange) Run() { x.detour.errand.run() }

// Done implements loop.Task.
func (x *exchange) Done(*loop.Loop) {
	s, d := x.s, x.detour
	x.detour = detour{}
	d.errand.land(s)
	if x.conn == nil {
		s.put(nil, x)
	} else {
		s.resume(x)
		d.errand.goOn(s, x)
	}
	s.known = nil
	if d.set != nil {
		s.letGo(d.set)
	}
}

// resume makes the request of an exchange the one at hand again, where its handler's
// path is.
func (s *Session) resume(x *exchange) {
	s.clock.at(s.loop.Now())
	s.parse(x.head, 0)
	s.begin()
	s.answer.Locate(x.call.path)
	s.answer.Fields = x.call.fields
}

// letGo releases what a detour has retained. If the session has another Set by now, the files that
// the errand has put into the cache may be of nobody.
func (s *Session) letGo(set *site.Set) {
	if set != s.set {
		s.loop.Files.Prune(func(key string, _ *openfile.File) bool { return s.set.HasKey(key) })
	}
	set.Release()
}
