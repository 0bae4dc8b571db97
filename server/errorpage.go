package server

import (
	"syscall"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/httpfile"
)

// page puts the page of the configuration into the failure that is planned, and
// returns the file to send. A page that cannot be had leaves the short text: a
// failure never leads to another. later: the request waits for the disk.
func (s *session) page(c *engine.Conn) (f *engine.File, later bool) {
	p := s.at.pages[s.plan.Status]
	if p == nil {
		return nil, false
	}
	s.sideBuf = append(s.sideBuf[:0], p.key...)
	if f = s.loop.Files.Get(s.sideBuf); f == nil {
		var e syscall.Errno
		f, e = s.loop.Files.Open(p.place.root, p.key, p.name)
		if e == syscall.EAGAIN && !s.refusing {
			s.pageLater(c, p)
			return nil, true
		}
		if e != 0 {
			return nil, false
		}
	}
	s.usePage(f, p)
	return f, false
}

func (s *session) usePage(f *engine.File, p *errorPage) {
	s.plan.UsePage(&s.req, p.place.version(f, p.path, httpfile.Identity).facts)
}

// pageTask opens an error page where that must wait for the disk.
type pageTask struct {
	x      *exchange
	place  *place        // of the request
	path   []byte        // normalised path of the request, nil if it has none
	plan   httpfile.Plan // of the failure: it refers to nothing that is used anew
	page   *errorPage
	opened engine.Opened
}

// pageLater leaves the request until the page is open. A request that could not
// be read does not wait: there would be nothing to go on with.
func (s *session) pageLater(c *engine.Conn, page *errorPage) {
	x := s.take(c)
	x.keepHead(&s.head)
	t := &pageTask{x: x, place: s.hold(), plan: s.plan, page: page}
	if s.req.Path != nil {
		t.path = append([]byte{}, s.req.Path...)
	}
	x.running = true
	c.Suspend()
	s.loop.Go(t)
}

// Run implements engine.Task.
func (t *pageTask) Run() { t.opened = t.page.place.root.Open(t.page.name, false) }

// Done implements engine.Task.
func (t *pageTask) Done(l *engine.Loop) {
	x, s := t.x, t.x.s
	defer s.leave(t.place.site)
	x.running = false
	f, e := l.Files.Add(t.page.key, t.opened)
	if x.conn == nil {
		s.put(nil, x)
		return
	}
	s.resume(x, t.place)
	s.req.Path = t.path
	s.plan = t.plan
	if e != 0 {
		f = nil
	} else {
		s.usePage(f, t.page)
	}
	s.sendPlan(x.conn, f)
}
