package loop

import (
	"testing"
	"time"

	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/internal/aio/aiosim"
)

// calmCase is a world in order, with a file of 300,000 bytes of the name "f".
func calmCase(cfg aiosim.Config) *simulation {
	m := emptySimulation(cfg)
	m.calm = true
	m.add("f", 300_000)
	return m
}

func (m *simulation) mustRun(t *testing.T) {
	t.Helper()
	if err := m.run(); err != nil {
		t.Fatal(err)
	}
}

func wholeFile() *simRequest {
	return &simRequest{kind: kindRange, names: []string{"f"}, ranges: [][2]int64{{0, 300_000}}}
}

// TestAcceptRests: without descriptors the loop asks for connections every 10 ms,
// and takes those that wait as soon as there are any.
func TestAcceptRests(t *testing.T) {
	const lifetime = time.Second
	m := calmCase(aiosim.Config{MaxFDs: 3}) // the listener and two connections
	for i := range 3 {
		m.busy(time.Duration(i)*time.Millisecond, lifetime)
	}
	m.w.WhenDone(m.drain)
	m.mustRun(t)
	most := uint64(lifetime/acceptPause) + 1
	if st := &m.loop.stats; st.Accepted != 3 || st.AcceptErrors > most || st.AcceptErrors < most*9/10 {
		t.Errorf("%d connections accepted, %d failures, want 3 and about %d", st.Accepted, st.AcceptErrors, most)
	}
}

// busy adds a client whose request takes so long.
func (m *simulation) busy(start, d time.Duration) {
	r := &simRequest{kind: kindMemory, n: 10, late: d}
	m.dial(aiosim.ClientConfig{
		Start: start, Script: []aiosim.Step{aiosim.Write(m.wire(r, 0)), aiosim.AwaitResponses(1), aiosim.Close()},
	}, r).patient = true
}

// TestAcceptClosesFiles: a file that is only cached gives its descriptor to a client.
func TestAcceptClosesFiles(t *testing.T) {
	m := calmCase(aiosim.Config{MaxFDs: 3})
	r, late := wholeFile(), &simRequest{kind: kindMemory, n: 10, late: 2 * time.Second}
	m.dial(aiosim.ClientConfig{
		Script: []aiosim.Step{aiosim.Write(m.wire(r, 0)), aiosim.Write(m.wire(late, 0)), aiosim.AwaitResponses(2), aiosim.Close()},
	}, r, late).patient = true
	m.dial(aiosim.ClientConfig{Start: time.Second, Script: []aiosim.Step{aiosim.Close()}}) // there is no descriptor for a file
	m.w.WhenDone(m.drain)
	m.mustRun(t)
	if st := &m.loop.stats; st.Accepted != 2 || st.AcceptErrors != 1 || st.Files.Evicted != 1 {
		t.Errorf("%d accepted, %d failures, %d files evicted, want 2, 1 and 1", st.Accepted, st.AcceptErrors, st.Files.Evicted)
	}
}

// TestTurnBudget: however fast a client reads, it gets no more than the budget
// before others have their turn, blocked or not. The tail of a file goes at once.
func TestTurnBudget(t *testing.T) {
	const budget = 50_000
	for _, window := range []int64{1 << 20, 70_000, 30_000} {
		m := calmCase(aiosim.Config{})
		m.cfg.TurnBudget = budget
		for range 3 {
			r := wholeFile()
			script := []aiosim.Step{aiosim.Write(m.wire(r, 0)), aiosim.AwaitResponses(1), aiosim.Close()}
			m.dial(aiosim.ClientConfig{Window: window, Script: script}, r).patient = true
		}
		m.w.WhenDone(m.drain)
		m.mustRun(t)
		if n := m.w.MaxTurn(); n > budget+tailBytes {
			t.Errorf("window %d: a connection was sent %d bytes in one turn of the loop, budget %d", window, n, budget)
		}
	}
}

// TestLinger: a kernel that resets a connection which is closed while input
// comes in destroys an answer, unless the connection lingers.
func TestLinger(t *testing.T) {
	for _, linger := range []bool{false, true} {
		m := calmCase(aiosim.Config{Faults: aiosim.Faults{UnreadReset: 1}})
		r := &simRequest{kind: kindMemory, n: 30_000, last: true, linger: linger}
		c := m.dial(aiosim.ClientConfig{
			ReadRate: 100_000, Window: 8 << 10,
			Script: []aiosim.Step{aiosim.Write(m.wire(r, 0)), aiosim.Write(flood), aiosim.AwaitResponses(1), aiosim.Close()},
		}, r)
		c.patient = linger
		var closed int64
		m.session.onClosed = func() { closed = m.w.Now() }
		m.w.WhenDone(m.drain)
		m.mustRun(t)
		if took := time.Duration(closed - c.start); took > time.Second {
			t.Errorf("linger %v: the connection ended after %v, not when the client left", linger, took)
		}
		if res := c.peer.Result(); (res.Responses == 1) != linger {
			t.Errorf("linger %v: the client saw %+v", linger, res)
		}
	}
}

// TestTimeouts: connections that do nothing end when their time is over, and
// not much later.
func TestTimeouts(t *testing.T) {
	for _, c := range []struct {
		name string
		want func(Config) time.Duration // after the client has connected
		read bool
		ask  []*simRequest
		tail string
	}{
		{"nothing is sent", func(c Config) time.Duration { return c.HeaderTimeout }, true, nil, ""},
		{"half a request", func(c Config) time.Duration { return c.HeaderTimeout }, true, nil, "12"},
		{"idle", func(c Config) time.Duration { return c.IdleTimeout }, true, []*simRequest{wholeFile()}, ""},
		{"half a second request", func(c Config) time.Duration { return c.HeaderTimeout }, true, []*simRequest{wholeFile()}, "12"},
		{"nothing is read", func(c Config) time.Duration { return c.SendTimeout }, false, []*simRequest{wholeFile()}, ""},
		{"lingering", func(c Config) time.Duration { return c.LingerTimeout }, false,
			[]*simRequest{{kind: kindMemory, n: 10, last: true, linger: true}}, ""},
	} {
		m := calmCase(aiosim.Config{})
		var script []aiosim.Step
		if !c.read {
			script = append(script, aiosim.StopReading())
		}
		for _, r := range c.ask {
			script = append(script, aiosim.Write(m.wire(r, 0)))
		}
		script = append(script, aiosim.Write([]byte(c.tail)))
		m.dial(aiosim.ClientConfig{Script: script}, c.ask...).silent = true
		var closed int64
		m.session.onClosed = func() { closed = m.w.Now(); m.drain() }
		m.mustRun(t)
		want := c.want(m.cfg.withDefaults())
		if got := time.Duration(closed - m.clients[0].start); got < want || got > want+1100*time.Millisecond {
			t.Errorf("%s: the connection ended after %v, want %v", c.name, got, want)
		}
	}
}

// TestLingerWhileInputComes: a peer that goes on sending after a refusal has time to
// see it, though not for ever.
func TestLingerWhileInputComes(t *testing.T) {
	for _, c := range []struct{ pieces, want int }{{4, 5}, {100, lingerTimes}} { // in pauses of the time-out, less a bit
		m := calmCase(aiosim.Config{})
		timeout := m.cfg.withDefaults().LingerTimeout
		r := &simRequest{kind: kindMemory, n: 10, last: true, linger: true}
		script := []aiosim.Step{aiosim.Write(m.wire(r, 0))}
		for range c.pieces {
			script = append(script, aiosim.Sleep(timeout-timeout/100), aiosim.Write([]byte("more")))
		}
		script = append(script, aiosim.Sleep(2*lingerTimes*timeout)) // it never closes
		m.dial(aiosim.ClientConfig{Script: script}, r).silent = true
		var closed int64
		m.session.onClosed = func() { closed = m.w.Now(); m.drain() }
		m.mustRun(t)
		want := time.Duration(c.want) * timeout
		if got := time.Duration(closed - m.clients[0].start); got < want-timeout/20 || got > want+1100*time.Millisecond {
			t.Errorf("%d pieces: the connection ended after %v, want %v", c.pieces, got, want)
		}
	}
}

// TestDrain: who is idle is closed at once, who is served or waits for a task
// gets the answer first, and no one else is accepted.
func TestDrain(t *testing.T) {
	m := calmCase(aiosim.Config{})
	slow, late := wholeFile(), &simRequest{kind: kindMemory, n: 10, late: 2 * time.Second}
	idle := m.dial(aiosim.ClientConfig{Script: []aiosim.Step{aiosim.Sleep(10 * time.Second)}})
	sending := m.dial(aiosim.ClientConfig{Window: 4 << 10, ReadRate: 100_000, Script: []aiosim.Step{aiosim.Write(m.wire(slow, 0))}}, slow)
	waiting := m.dial(aiosim.ClientConfig{Script: []aiosim.Step{aiosim.Write(m.wire(late, 0))}}, late)
	refused := m.dial(aiosim.ClientConfig{Start: time.Second + time.Millisecond})
	sending.patient, waiting.patient = true, true
	var ends []int64
	m.session.onClosed = func() { ends = append(ends, m.w.Now()) }
	began := m.w.Now()
	m.w.At(time.Second, m.drain)
	m.mustRun(t)
	if got := refused.peer.Result().End; got != aiosim.Refused {
		t.Errorf("a client that came too late saw %v", got)
	}
	if got := idle.peer.Result().End; got != aiosim.SawFIN {
		t.Errorf("an idle client saw %v", got)
	}
	if len(ends) != 3 || time.Duration(ends[0]-began) > time.Second+10*time.Millisecond || time.Duration(ends[2]-began) > 4*time.Second {
		t.Errorf("connections ended at %v, from %d on", ends, began)
	}
}

// TestHeadroomInUse: the memory before a body belongs to the response that is
// being sent from there.
func TestHeadroomInUse(t *testing.T) {
	m := calmCase(aiosim.Config{})
	m.cfg.Files.Headroom = 1000
	m.add("small", 2000)
	for i := range 3 {
		r := &simRequest{kind: kindRange, names: []string{"small"}, ranges: [][2]int64{{0, 2000}}, padding: 500}
		m.dial(aiosim.ClientConfig{
			Start: time.Duration(i) * time.Millisecond, Window: 100, ReadRate: 10_000,
			Script: []aiosim.Step{aiosim.Write(m.wire(r, 0)), aiosim.AwaitResponses(1), aiosim.Close()},
		}, r).patient = true
	}
	m.w.WhenDone(m.drain)
	m.mustRun(t)
	if m.session.headed != 2 { // the first from memory of that request, the second from where the body is kept
		t.Errorf("%d responses were sent from the headroom, want the first two only", m.session.headed)
	}
}

// TestDrainWhileAcceptRests: accepting, which rests for lack of descriptors, is
// not resumed on a listener that is being closed.
func TestDrainWhileAcceptRests(t *testing.T) {
	m := calmCase(aiosim.Config{MaxFDs: 2, Faults: aiosim.Faults{LateClosed: 1}})
	m.busy(0, time.Second)
	m.dial(aiosim.ClientConfig{Start: time.Millisecond, Script: []aiosim.Step{aiosim.Sleep(time.Second), aiosim.Close()}})
	m.w.At(25*time.Millisecond, m.drain)
	m.mustRun(t)
	if st := &m.loop.stats; st.Accepted != 1 || st.AcceptErrors < 2 {
		t.Errorf("%d accepted, %d failures, want 1 and some", st.Accepted, st.AcceptErrors)
	}
}

// TestEveryFileIsChecked: a response of several files is cut when any of them
// changes on the way.
func TestEveryFileIsChecked(t *testing.T) {
	for _, name := range []string{"f", "g", "h"} {
		m := calmCase(aiosim.Config{})
		m.calm = false
		m.add("g", 300_000)
		m.add("h", 10)
		r := &simRequest{kind: kindPair, names: []string{"f", "g"}}
		c := m.dial(aiosim.ClientConfig{
			Window: 20_000, ReadRate: 1 << 20,
			Script: []aiosim.Step{aiosim.Write(m.wire(r, 0)), aiosim.AwaitResponses(1), aiosim.Close()},
		}, r)
		m.w.At(100*time.Millisecond, m.files[name].current().Modify)
		m.w.WhenDone(m.drain)
		m.mustRun(t)
		want, responses := outcome.Complete, 1
		if name != "h" {
			want, responses = outcome.FileChanged, 0
		}
		if res := c.peer.Result(); m.session.ends[want] != 1 || res.Responses != responses {
			t.Errorf("file %s changes: ends %v, the client saw %+v", name, m.session.ends, res)
		}
	}
}
