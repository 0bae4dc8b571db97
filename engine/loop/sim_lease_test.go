package loop

import (
	"testing"
	"time"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/internal/aio/aiosim"
)

// lease makes it a world in which what is sent without copying are the pages of files,
// which change with them, and in which a lease keeps that from happening.
func (m *simulation) lease() {
	m.policy = openfile.Policy{Consistency: openfile.ConsistencyLease, Wait: -1}
	m.leases = m.w.LendPages()
	m.leases.Refuse = []float64{0, 0, 0.3}[m.w.Seed()/4%3]
	m.leases.Tell = func(fd int32) {
		m.loop.post(func(l *Loop) { l.Files.Broken(fd, l.recall) })
	}
}

// write lets somebody write to a file, who is held where there are leases.
func (m *simulation) write(f *aiosim.File, how func()) {
	if m.leases == nil {
		how()
		return
	}
	f.OpenForWriting(how)
}

// allLeased reports whether whatever is sent of a file is leased, so that no change goes
// by unseen, whatever its mtime. Of a remote file ranges may be under way that were planned before
// its content came into memory.
func (m *simulation) allLeased(name string) bool {
	if m.leases == nil || m.loop == nil || m.files[name].current().Writers() > 0 {
		return false
	}
	for f := range m.session.all {
		if f.Key() == name && f.InUse() && !f.Leased() && (f.Body == nil || f.Remote()) {
			return false
		}
	}
	return true
}

// TestRecall: somebody overwrites a file, and puts its mtime back, while all of a response
// lies in the socket of a client that does not read.
func TestRecall(t *testing.T) {
	for _, c := range []struct {
		name   string
		size   int64
		window int64 // what the sockets take
		last   bool
		grace  int64
		end    outcome.End
	}{
		{"under way", 300_000, 100_000, false, recallGrace, outcome.FileChanged},
		{"complete", 300_000, 1 << 20, false, recallGrace, outcome.Complete},
		{"closing", 300_000, 1 << 20, true, recallGrace, outcome.Complete},
		{"much left", graceBytes + 200_000, 100_000, false, 0, outcome.FileChanged},
	} {
		m := emptySimulation(aiosim.Config{})
		m.lease()
		m.add("f", c.size)
		r := wholeFile()
		r.last = c.last
		script := []aiosim.Step{aiosim.Write(m.wire(r, 0)), aiosim.Await(100), aiosim.StopReading(), aiosim.Sleep(2 * time.Second), aiosim.StartReading()}
		peer := m.dial(aiosim.ClientConfig{Window: c.window, Script: script}, r).peer
		f := m.files["f"].current()
		m.w.At(time.Second, func() { f.OpenForWriting(f.Overwrite) })
		m.w.WhenDone(m.drain)
		m.mustRun(t)
		if m.session.ends[c.end] != 1 || m.loop.stats.Recalled != 1 || m.loop.stats.Files.LeasesBroken != 1 {
			t.Errorf("%s: ends %v, %d recalled, %d leases broken", c.name, m.session.ends, m.loop.stats.Recalled, m.loop.stats.Files.LeasesBroken)
		}
		if res := peer.Result(); res.Responses != 0 || res.End != aiosim.SawRST {
			t.Errorf("%s: the client saw %+v", c.name, res)
		}
		if held := time.Duration(m.w.LongestHeld()); held < time.Duration(c.grace) || held > 2*time.Duration(recallGrace) {
			t.Errorf("%s: the writer was held for %v", c.name, held)
		}
	}
}

// TestRecallTakes: what is sent by copying goes on from memory while its writer is held, unless it
// is too much: the client, who reads later, gets the old version whole.
func TestRecallTakes(t *testing.T) {
	for _, c := range []struct {
		size int64
		end  outcome.End
	}{{maxTaken, outcome.Complete}, {maxTaken + 100_000, outcome.FileChanged}} {
		m := emptySimulation(aiosim.Config{})
		m.lease()
		m.policy.Consistency = openfile.ConsistencyCopy
		m.add("f", c.size)
		r := wholeFile()
		script := []aiosim.Step{aiosim.Write(m.wire(r, 0)), aiosim.Await(100), aiosim.StopReading(), aiosim.Sleep(2 * time.Second), aiosim.StartReading(), aiosim.AwaitResponses(1), aiosim.Close()}
		peer := m.dial(aiosim.ClientConfig{Window: 30_000, Script: script}, r).peer
		f := m.files["f"].current()
		m.w.At(time.Second, func() { f.OpenForWriting(f.Overwrite) })
		m.w.WhenDone(m.drain)
		m.mustRun(t)
		wanted := 0
		if c.end == outcome.Complete {
			wanted = 1
		}
		st := &m.loop.stats
		if got := peer.Result(); got.Responses != wanted || m.session.ends[c.end] != 1 || int(st.Recalled) != 1-wanted || st.Files.LeasesBroken != 1 {
			t.Errorf("size %d: ends %v, %d recalled, %d leases broken, the client saw %+v", c.size, m.session.ends, st.Recalled, st.Files.LeasesBroken, got)
		}
		if held := time.Duration(m.w.LongestHeld()); held > 2*time.Duration(recallGrace) {
			t.Errorf("size %d: the writer was held for %v", c.size, held)
		}
	}
}

// TestRecallSpares: who has everything, or is sent another file, is left alone, and a
// connection that ends waits until its peer has everything.
func TestRecallSpares(t *testing.T) {
	m := calmCase(aiosim.Config{})
	m.lease()
	m.add("g", 300_000)
	read, other, closing := wholeFile(), wholeFile(), wholeFile()
	other.names = []string{"g"}
	closing.last = true
	for _, r := range []*simRequest{read, other, closing} {
		script := []aiosim.Step{aiosim.Write(m.wire(r, 0)), aiosim.AwaitResponses(1), aiosim.Sleep(2 * time.Second), aiosim.Close()}
		rate := int64(0)
		if r == other {
			rate = 200_000
		}
		m.dial(aiosim.ClientConfig{ReadRate: rate, Window: 1 << 20, Script: script}, r).patient = true
	}
	f := m.files["f"].current()
	m.w.At(time.Second, func() { f.OpenForWriting(f.Modify) })
	m.w.WhenDone(m.drain)
	m.mustRun(t)
	if st := &m.loop.stats; st.Recalled != 0 || st.Files.LeasesBroken != 1 || m.session.ends[outcome.Complete] != 3 {
		t.Errorf("%d recalled, %d broken, ends %v", st.Recalled, st.Files.LeasesBroken, m.session.ends)
	}
}

// TestRecallLate: a loop that was late gives a lease up in the turn in which it severs a
// connection. That is closed all the same.
func TestRecallLate(t *testing.T) {
	m := emptySimulation(aiosim.Config{})
	m.lease()
	m.add("f", 300_000)
	r := wholeFile()
	m.dial(aiosim.ClientConfig{Window: 100_000, Script: []aiosim.Step{aiosim.Write(m.wire(r, 0)), aiosim.Await(100), aiosim.StopReading()}}, r)
	f := m.files["f"].current()
	m.w.At(time.Second, func() { f.OpenForWriting(f.Overwrite) })
	late := false
	for d := time.Second; d < time.Second+10*time.Millisecond; d += 10 * time.Microsecond {
		m.w.At(d, func() {
			for i := range m.loop.recalls.files { // as if a turn had taken as long
				late = true
				m.loop.recalls.files[i].grace, m.loop.recalls.files[i].until = 0, 0
			}
		})
	}
	closed := time.Duration(0)
	m.session.onClosed = func() { closed = m.w.Elapsed(); m.drain() }
	m.mustRun(t)
	if !late || m.loop.stats.Recalled != 1 || closed > 2*time.Second {
		t.Errorf("late %v, %d recalled, closed after %v", late, m.loop.stats.Recalled, closed)
	}
}

// TestRecallMeetsDraining: a recall finds a connection that drains and whose peer has taken
// everything. It ends, and not when its time is over.
func TestRecallMeetsDraining(t *testing.T) {
	m := calmCase(aiosim.Config{})
	m.lease()
	m.add("g", 300_000)
	r, other := wholeFile(), wholeFile()
	r.last, other.names = true, []string{"g"}
	m.dial(aiosim.ClientConfig{ReadRate: 200_000, Window: 1 << 20, Script: []aiosim.Step{aiosim.Write(m.wire(r, 0)), aiosim.AwaitResponses(1), aiosim.Sleep(5 * time.Second), aiosim.Close()}}, r).patient = true
	m.dial(aiosim.ClientConfig{Script: []aiosim.Step{aiosim.Write(m.wire(other, 0)), aiosim.AwaitResponses(1), aiosim.Sleep(5 * time.Second), aiosim.Close()}}, other).patient = true
	met := false
	look := func() {
		m.loop.each(func(c *Conn) {
			if c.state == connDraining && c.lent != nil && m.loop.kernel.unsent(c) == 0 && !met {
				met = true
				g := m.files["g"].current()
				g.OpenForWriting(g.Modify)
			}
		})
	}
	for d := 100 * time.Millisecond; d < 3*time.Second; d += time.Millisecond {
		m.w.At(d, look)
	}
	closed := time.Duration(0)
	m.session.onClosed = func() {
		if closed == 0 {
			closed = m.w.Elapsed()
		}
	}
	m.w.WhenDone(m.drain)
	m.mustRun(t)
	if !met || closed > 4*time.Second {
		t.Errorf("met %v, closed after %v", met, closed)
	}
}
