package loop

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/aio/aiosim"
)

// farThreads is how many calls of a simFar run at a time.
const farThreads = 2

// simFar is a network file system: an openfile.Far on no goroutine of its own. What it is asked for is
// done some virtual time later, by a bounded number at a time, and after the loop has ended at once.
type simFar struct {
	m       *simulation
	takes   func() time.Duration // how long a call does
	calls   []*simCall
	running int
	ended   bool
	fds     map[int]bool

	reads, opens int
	late         int // calls that nobody waited for any more, as the loop had ended
}

type simCall struct {
	f           func()
	begun, done bool
}

// remote makes some of the files those of a network file system.
func (m *simulation) remote() {
	slow := []int64{1e6, 50e6, 2e9}[m.rnd.IntN(3)]
	m.mount(func() time.Duration { return time.Duration(1 + m.rnd.Int64N(slow)) })
	for _, name := range m.names {
		m.files[name].remote = m.rnd.IntN(2) == 0
	}
}

// mount makes a network file system, and names files of it.
func (m *simulation) mount(takes func() time.Duration, names ...string) {
	m.far = &simFar{m: m, takes: takes, fds: make(map[int]bool)}
	for _, name := range names {
		m.files[name].remote = true
	}
}

// Later implements openfile.Far.
func (f *simFar) Later(call func()) {
	if f.ended {
		f.late++
		call()
		return
	}
	f.calls = append(f.calls, &simCall{f: call})
	f.next()
}

// next begins the oldest call that waits, if there is a thread for it.
func (f *simFar) next() {
	for _, c := range f.calls {
		if f.running == farThreads {
			return
		}
		if !c.begun {
			c.begun = true
			f.running++
			f.m.w.At(f.takes(), func() {
				if !c.done {
					f.end(c)
					f.next()
				}
			})
		}
	}
}

func (f *simFar) end(c *simCall) {
	c.done = true
	f.running--
	for i := range f.calls {
		if f.calls[i] == c {
			f.calls = append(f.calls[:i], f.calls[i+1:]...)
			break
		}
	}
	c.f()
}

// finish does what is left: the loop waits for it before it ends.
func (f *simFar) finish() {
	if f == nil {
		return
	}
	f.ended = true
	for len(f.calls) > 0 {
		c := f.calls[0]
		f.running = 1
		f.end(c)
	}
}

// Pread implements openfile.Far.
func (f *simFar) Pread(fd int, p []byte, off int64) (int, error) {
	f.reads++
	n, e := f.m.w.Pread(int32(fd), p, off)
	if e != 0 {
		return n, e
	}
	return n, nil
}

// Fstat implements openfile.Far.
func (f *simFar) Fstat(fd int, st *unix.Stat_t) error {
	s, e := f.m.w.Fstat(int32(fd))
	if e != 0 {
		return e
	}
	st.Size, st.Mtim = s.Size, unix.NsecToTimespec(s.MtimeNs)
	return nil
}

// CloseLater implements openfile.Far.
func (f *simFar) CloseLater(fd int) {
	f.Later(func() {
		delete(f.fds, fd)
		f.m.w.CloseFD(int32(fd))
	})
}

// opened makes a file that was opened one of this file system.
func (f *simFar) opened(o *openfile.Opened) {
	f.opens++
	f.fds[int(o.FD)] = true
	o.From = f
	if most := f.m.loop.Files.MaxContent(); o.Stat.Size > 0 && o.Stat.Size <= most && f.m.rnd.IntN(2) == 0 {
		body := make([]byte, o.Stat.Size)
		if n, e := f.m.w.Pread(o.FD, body, 0); e == 0 && n == len(body) {
			o.Body = body
		}
	}
}

// isFar reports whether a driver must not be asked for a file.
func (f *simFar) isFar(file *aio.File) bool { return f != nil && f.fds[int(file.FD)] }

// openLater leaves a request until its files are open, of which some are remote.
func (s *simSession) openLater(c *Conn, sc *simConn, r *simRequest) {
	c.Suspend(0)
	sc.tasks++
	var got []openfile.Opened
	ran := s.loop.Await(func(*Loop) {
		sc.tasks--
		s.opened(c, sc, r, got)
	})
	s.m.far.Later(func() {
		for _, name := range r.names {
			got = append(got, s.m.open(name))
		}
		ran()
	})
}

// opened goes on when the files of a request are open.
func (s *simSession) opened(c *Conn, sc *simConn, r *simRequest, got []openfile.Opened) {
	var fs []*openfile.File
	var failed error
	again := false
	for i, name := range r.names { // the descriptors are the cache's, whatever became of the connection
		f, e := s.loop.Files.Add(name, got[i], s.m.policy)
		switch {
		case e == unix.EAGAIN:
			again = true
		case e != 0 && failed == nil:
			failed = e
		}
		fs = append(fs, f)
	}
	switch {
	case sc.closed:
	case again:
		s.answer(c, sc, r)
	case failed != nil:
		s.finish(c, sc, r, nil, failed.(unix.Errno))
	default:
		s.finish(c, sc, r, fs, 0)
	}
}

// TestRemoteReset: a client resets while a remote file is read for it. What was to be read into stays
// away from others until the file system has answered, if that takes longer than all that they get.
func TestRemoteReset(t *testing.T) {
	m := emptySimulation(aiosim.Config{})
	m.add("f", 300_000)
	m.add("g", 300_000)
	calls := 0
	m.mount(func() time.Duration {
		if calls++; calls == 2 { // the first is the open of f, the second reads of it
			return 2 * time.Second
		}
		return time.Millisecond
	}, "f", "g")
	f, g := wholeFile(), wholeFile()
	g.names = []string{"g"}
	m.dial(aiosim.ClientConfig{Script: []aiosim.Step{aiosim.Write(m.wire(f, 0)), aiosim.Sleep(100 * time.Millisecond), aiosim.Reset()}}, f)
	m.dial(aiosim.ClientConfig{
		Start: 200 * time.Millisecond, Window: 10_000, ReadRate: 100_000,
		Script: []aiosim.Step{aiosim.Write(m.wire(g, 0)), aiosim.AwaitResponses(1), aiosim.Close()},
	}, g)
	reads := 0
	m.w.At(time.Second, func() { reads = m.loop.reads })
	m.w.WhenDone(m.drain)
	m.mustRun(t)
	if ends := m.session.ends; ends[outcome.PeerGone] != 1 || ends[outcome.Complete] != 1 || reads != 2 {
		t.Errorf("ends %v, %d buffers while the file system is waited for", ends, reads)
	}
}

// TestRemoteStop: the loop is closed while remote files are opened and read. It ends when the file
// system has answered, and holds nothing then.
func TestRemoteStop(t *testing.T) {
	for _, takes := range []time.Duration{time.Millisecond, 80 * time.Millisecond, time.Second} { // more is under way, reads, opens
		m := emptySimulation(aiosim.Config{})
		m.add("f", 300_000)
		m.mount(func() time.Duration { return takes }, "f")
		for range 2 * farThreads {
			r := wholeFile()
			m.dial(aiosim.ClientConfig{Window: 1000, ReadRate: 10_000, Script: []aiosim.Step{aiosim.Write(m.wire(r, 0))}}, r)
		}
		m.w.At(100*time.Millisecond, m.stop)
		m.mustRun(t)
		if m.session.closed != 2*farThreads || m.session.ends[outcome.Complete] != 0 {
			t.Errorf("%v: %d closed, ends %v", takes, m.session.closed, m.session.ends)
		}
	}
}
