package http1

import (
	"net/http"
	"syscall"
	"time"
	"unsafe"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/resolve"
	"github.com/fserve/fserve/server/wire"
)

// drive takes the answer at hand from a step to its end, or to where it has to wait.
func (s *Session) drive(c *loop.Conn, step resolve.Step) {
	for {
		if a := &s.answer; a.Cause != 0 {
			s.cfg.Faults.Note(time.Now(), a.Request.Path, s.clientOf(c), a.Plan.Status, a.Cause)
			a.Cause = 0
		}
		if u := &s.answer.Unused; u.Cause != 0 {
			s.cfg.Faults.Unused(time.Now(), u.Path, s.clientOf(c), u.Cause)
			*u = resolve.Unused{}
		}
		if a := &s.answer; a.Refused != admit.Passed {
			s.rec.Stats.Denied[a.Refused]++
			s.cfg.Faults.Refused(time.Now(), a.Request.Path, s.clientOf(c), a.Plan.Status, a.Refused)
			a.Refused = admit.Passed
		}
		switch step {
		case resolve.Open:
			f, e := s.open(&s.answer.Want)
			if e == syscall.EAGAIN && !s.refusing { // else there would be nothing to go on with
				s.openLater(c)
				return
			}
			if e == syscall.ETXTBSY && !s.refusing && s.answer.Want.WritePolicy().Wait > 0 {
				s.sendAway(c, s.answer.Place.Set(), &waiting{s.answer.Save()})
				return
			}
			if openfile.OutOfDescriptors(e) {
				c.CloseAfter(true) // which gives one back
			}
			step = s.opened(f, e)
		case resolve.List:
			s.listLater(c)
			return
		case resolve.Identify: // for another path than that of the request, which no route takes
			step = (*entry)(s).judge(c)
		case resolve.Prove:
			(*entry)(s).proveLater(c)
			return
		case resolve.Route:
			step = s.answer.File()
		case resolve.Chooses:
			step = (*entry)(s).choose(c)
		case resolve.Compress:
			var here bool
			if step, here = (*coder)(s).compress(c); !here {
				return
			}
		case resolve.Send:
			(*coder)(s).hold(c)
			if s.sendHot(c) {
				return
			}
			step = s.answer.Decide(s.clock.unix(s.loop.Now()), s.entropy())
		default:
			s.sendPlan(c)
			return
		}
	}
}

// open finds a file in the cache or the file system; EAGAIN: the disk would have to be
// waited for.
func (s *Session) open(w *resolve.Want) (*openfile.File, syscall.Errno) {
	for i := range s.known {
		if o := &s.known[i]; o.key == string(w.Key) {
			return o.file, o.err
		}
	}
	if f := s.loop.Files.Get(w.Key); f != nil {
		return f, 0
	}
	key := unsafe.String(unsafe.SliceData(w.Key), len(w.Key)) // of which nothing is kept
	return s.loop.Files.Open(w.Place.Root, key, w.Name(key), w.WritePolicy())
}

// opened tells the answer what opening the file gave that it wants. What is kept with
// the file and was made for another place (of an earlier configuration) is made anew.
func (s *Session) opened(f *openfile.File, e syscall.Errno) resolve.Step {
	w := &s.answer.Want
	if e != 0 {
		return s.answer.Opened(nil, e)
	}
	v, ok := f.Data.(*version)
	if !ok || v.Place != w.Place {
		v = newVersion(w, f)
	}
	s.files[w.Kind] = f
	return s.answer.Opened(&v.Version, 0)
}

// refuse answers a request that cannot be understood, and closes: where the
// next one would begin is not known.
func (s *Session) refuse(c *loop.Conn, r wire.Reason) {
	s.rec.Stats.Refused[r]++
	s.answer.Place = s.set.Default(s.cfg.listener(s.set, c)) // whose it is may not have been read
	s.fail(c, r.Status())
}

// fail answers the request in s.head, as far as it was read, with a status and
// closes.
func (s *Session) fail(c *loop.Conn, status int) {
	method := httpfile.MethodGet
	if string(s.head.Method()) == http.MethodHead {
		method = httpfile.MethodHead
	}
	c.CloseAfter(true)
	s.answer.Encrypted = c.Adopted() != nil
	s.refusing = true
	s.drive(c, s.answer.Refuse(status, method))
	s.refusing = false
}
