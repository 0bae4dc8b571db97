package server

import (
	"fmt"
	"net/http"
	"syscall"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/httpfile"
)

// errorPages are Config.ErrorPages by status: keys of the cache.
type errorPages map[int]string

// makePages checks the pages of the configuration: each is there when the
// server starts. One that goes away later is replaced by the short text.
func (s *Server) makePages() error {
	if len(s.cfg.ErrorPages) == 0 {
		return nil
	}
	if s.root == nil {
		return fmt.Errorf("%w: error pages need a root", ErrConfig)
	}
	s.pages = make(errorPages, len(s.cfg.ErrorPages))
	for status, path := range s.cfg.ErrorPages {
		if err := s.checkPage(status, path); err != nil {
			return err
		}
		s.pages[status] = path
	}
	return nil
}

func (s *Server) checkPage(status int, path string) error {
	fault := func(why string) error {
		return fmt.Errorf("%w: error page %d=%s: %s", ErrConfig, status, path, why)
	}
	if status < 400 || status > 599 || http.StatusText(status) == "" {
		return fault("not the status of a failure")
	}
	if !cleanPath(path) || path[len(path)-1] == '/' {
		return fault("not an absolute path of a file below the root")
	}
	o := s.root.Open(path[1:], false)
	if o.Err != 0 {
		return fault(o.Err.Error())
	}
	if o.FD < 0 {
		return fault("not a regular file")
	}
	if err := syscall.Close(int(o.FD)); err != nil {
		return fault(err.Error())
	}
	return nil
}

// page puts the page of the configuration into the failure that is planned, and
// returns the file to send. A page that cannot be had leaves the short text: a
// failure never leads to another. later: the request waits for the disk.
func (s *session) page(c *engine.Conn) (f *engine.File, later bool) {
	path, ok := s.srv.pages[s.plan.Status]
	if !ok {
		return nil, false
	}
	s.sideBuf = append(s.sideBuf[:0], path...)
	if f = s.loop.Files.Get(s.sideBuf); f == nil {
		var e syscall.Errno
		f, e = s.loop.Files.Open(s.srv.root, path, path[1:])
		if e == syscall.EAGAIN && !s.refusing {
			s.pageLater(c, path)
			return nil, true
		}
		if e != 0 {
			return nil, false
		}
	}
	s.usePage(f, path)
	return f, false
}

func (s *session) usePage(f *engine.File, path string) {
	s.plan.UsePage(&s.req, s.version(f, []byte(path), httpfile.Identity).facts)
}

// pageTask opens an error page where that must wait for the disk.
type pageTask struct {
	x      *exchange
	path   []byte        // normalised path of the request, nil if it has none
	plan   httpfile.Plan // of the failure: it refers to nothing that is used anew
	page   string
	opened engine.Opened
}

// pageLater leaves the request until the page is open. A request that could not
// be read does not wait: there would be nothing to go on with.
func (s *session) pageLater(c *engine.Conn, page string) {
	x := s.take(c)
	x.keepHead(&s.head)
	t := &pageTask{x: x, plan: s.plan, page: page}
	if s.req.Path != nil {
		t.path = append([]byte{}, s.req.Path...)
	}
	x.running = true
	c.Suspend()
	s.loop.Go(t)
}

// Run implements engine.Task.
func (t *pageTask) Run() { t.opened = t.x.s.srv.root.Open(t.page[1:], false) }

// Done implements engine.Task.
func (t *pageTask) Done(l *engine.Loop) {
	x, s := t.x, t.x.s
	x.running = false
	f, e := l.Files.Add(t.page, t.opened)
	if x.conn == nil {
		s.put(nil, x)
		return
	}
	s.resume(x)
	s.req.Path = t.path
	s.plan = t.plan
	if e != 0 {
		f = nil
	} else {
		s.usePage(f, t.page)
	}
	s.sendPlan(x.conn, f)
}
