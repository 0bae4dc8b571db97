package loop

import (
	"testing"
	"time"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/aio/aiosim"
)

// pausedUntil is a world with leases in which all responses wait for tokens until then.
func pausedUntil(t *testing.T, end time.Duration) *simulation {
	t.Helper()
	m := emptySimulation(aiosim.Config{})
	m.lease()
	m.policy.Wait = 0
	m.add("f", 300_000)
	shaper, err := shape.New(shape.Config{
		Global:  shape.Limit{Rate: shape.Paused, Burst: 64 << 10},
		Changed: (&simLimits{m: m}).wake,
	})
	if err != nil {
		t.Fatal(err)
	}
	m.cfg.Shaper = shaper
	m.w.At(end, func() {
		if _, err := shaper.SetGlobal(shape.Limit{Rate: 100 << 20, Burst: 64 << 10}); err != nil {
			t.Error(err)
		}
	})
	return m
}

// asks adds a client that asks for one thing and waits for it.
func (m *simulation) asks(r *simRequest) *aiosim.Client {
	return m.dial(aiosim.ClientConfig{Script: []aiosim.Step{aiosim.Write(m.wire(r, 0)), aiosim.AwaitResponses(1), aiosim.Close()}}, r).peer
}

// TestReplanned: a file is overwritten while a response of it waits for tokens. The client gets the new
// version, and the writer does not wait.
func TestReplanned(t *testing.T) {
	for _, late := range []time.Duration{0, 20 * time.Millisecond} {
		for _, consistency := range []openfile.Consistency{openfile.ConsistencyLease, openfile.ConsistencyCheck} {
			m := pausedUntil(t, 3*time.Second)
			m.policy.Consistency = consistency
			r := wholeFile()
			r.late = late
			peer := m.asks(r)
			f := m.files["f"].current()
			m.w.At(time.Second, func() { f.OpenForWriting(f.Modify) })
			m.w.WhenDone(m.drain)
			m.mustRun(t)
			st := &m.loop.stats
			if got := peer.Result(); got.Responses != 1 || m.session.ends[outcome.Complete] != 1 || st.Recalled != 0 || st.Replanned != 1 || st.Responses != 1 || st.Reused != 0 {
				t.Errorf("late %v, consistency %d: ends %v, %d recalled, %d planned anew, the client saw %+v", late, consistency, m.session.ends, st.Recalled, st.Replanned, got)
			}
			if held := time.Duration(m.w.LongestHeld()); held > recallMoment {
				t.Errorf("late %v, consistency %d: the writer was held for %v", late, consistency, held)
			}
		}
	}
}

// recallMoment is what a recall takes that nobody has to be waited for, and the loop's waking up.
const recallMoment = 2 * time.Duration(recallEvery)

// TestReplannedTooOften: a response that waits is not planned anew without end.
func TestReplannedTooOften(t *testing.T) {
	m := pausedUntil(t, 10*time.Second)
	r := wholeFile()
	r.late = 150 * time.Millisecond // the writer is done, and the file leased again
	peer := m.asks(r)
	f := m.files["f"].current()
	for i := range 2 * maxReplans {
		m.w.At(time.Duration(1+i)*300*time.Millisecond, func() { f.OpenForWriting(f.Overwrite) })
	}
	m.w.WhenDone(m.drain)
	m.mustRun(t)
	if st := &m.loop.stats; st.Replanned != maxReplans || st.Recalled != 1 || m.session.ends[outcome.FileChanged] != 1 {
		t.Errorf("%d planned anew, %d recalled, ends %v", st.Replanned, st.Recalled, m.session.ends)
	}
	if got := peer.Result(); got.End != aiosim.SawRST || got.Responses != 0 {
		t.Errorf("the client saw %+v", got)
	}
}

// TestReplannedBehind: the socket is full of the response before when a file is overwritten. What
// waits behind it is planned anew when there is room.
func TestReplannedBehind(t *testing.T) {
	m := emptySimulation(aiosim.Config{})
	m.lease()
	m.policy.Wait = 0
	m.add("f", 300_000)
	first := &simRequest{kind: kindMemory, n: 1000}
	r := wholeFile()
	wire := append(m.wire(first, 0), m.wire(r, 0)...)
	window := int64(len(first.layout(m, nil)[0].text) + first.n)
	peer := m.dial(aiosim.ClientConfig{
		Window: window, Script: []aiosim.Step{aiosim.StopReading(), aiosim.Write(wire), aiosim.Sleep(2 * time.Second), aiosim.StartReading(), aiosim.AwaitResponses(2), aiosim.Close()},
	}, first, r).peer
	f := m.files["f"].current()
	m.w.At(time.Second, func() { f.OpenForWriting(f.Modify) })
	m.w.WhenDone(m.drain)
	m.mustRun(t)
	if st := &m.loop.stats; st.Replanned != 1 || st.Recalled != 0 || m.session.ends[outcome.Complete] != 2 {
		t.Errorf("%d planned anew, %d recalled, ends %v, the client saw %+v", st.Replanned, st.Recalled, m.session.ends, peer.Result())
	}
}
