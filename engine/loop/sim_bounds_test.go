package loop

import (
	"testing"
	"time"

	"github.com/fserve/fserve/internal/aio/aiosim"
)

// shortages makes the loop note them.
func (m *simulation) shortages(b *Bounds) *[NumShortages]int {
	var n [NumShortages]int
	b.OnShortage = func(s Shortage) { n[s]++ }
	m.cfg.Bounds = b
	return &n
}

// asker adds a client that asks for 10 bytes and stays for a while.
func (m *simulation) asker(start, stay time.Duration) *simClient {
	r := &simRequest{kind: kindMemory, n: 10}
	c := m.dial(aiosim.ClientConfig{
		Start: start, Script: []aiosim.Step{aiosim.Write(m.wire(r, 0)), aiosim.AwaitResponses(1), aiosim.Sleep(stay), aiosim.Close()},
	}, r)
	c.patient = true
	return c
}

// TestLongestIdleMakesRoom: in a full house the connection that rests the longest ends, and
// a new one is served; where none rests the new one ends, with a word about it.
func TestLongestIdleMakesRoom(t *testing.T) {
	const sorry = "sorry\n"
	m := calmCase(aiosim.Config{})
	noted := m.shortages(&Bounds{Conns: 3, Refusal: []byte(sorry)})
	m.dial(aiosim.ClientConfig{Script: []aiosim.Step{aiosim.Sleep(5 * time.Second)}}) // the first to go
	m.asker(time.Millisecond, 20*time.Second)
	m.busy(2*time.Millisecond, 5*time.Second)
	for i := range 2 {
		m.busy(time.Duration(i+1)*time.Second, 5*time.Second)
	}
	refused := m.dial(aiosim.ClientConfig{Start: 3 * time.Second, Script: []aiosim.Step{aiosim.Sleep(time.Second), aiosim.Close()}})
	var closed []time.Duration
	began := m.w.Now()
	m.session.onClosed = func() { closed = append(closed, time.Duration(m.w.Now()-began)) }
	m.w.WhenDone(m.drain)
	m.mustRun(t)
	if st := &m.loop.stats; st.Accepted != 6 || st.Refused != 1 || st.Reclaimed != 2 || noted[NoConns] != 1 {
		t.Errorf("%d accepted, %d refused, %d ended for others, %d shortages, want 6, 1, 2 and 1", st.Accepted, st.Refused, st.Reclaimed, noted[NoConns])
	}
	if got := refused.peer.Result().Received; got != int64(len(sorry)) {
		t.Errorf("the client that was refused saw %d bytes", got)
	}
	if closed[0] > 1100*time.Millisecond || closed[1] > 2100*time.Millisecond {
		t.Errorf("connections ended at %v", closed[:2])
	}
}

// TestClientConns: a client that has all of its connections gets one more for the one that rests the longest, if any rests.
// Others are not concerned.
func TestClientConns(t *testing.T) {
	m := calmCase(aiosim.Config{})
	noted := m.shortages(&Bounds{ClientConns: 2})
	m.busy(0, time.Minute)
	var client []*simClient
	for i, late := range []time.Duration{0, 5 * time.Second, 5 * time.Second, 5 * time.Second} {
		r := &simRequest{kind: kindMemory, n: 10, late: late}
		c := m.adopt(aiosim.ClientConfig{
			Start:  time.Duration(i) * time.Second,
			Script: []aiosim.Step{aiosim.Write(m.wire(r, 0)), aiosim.AwaitResponses(1), aiosim.Sleep(8 * time.Second), aiosim.Close()},
		}, r)
		client = append(client, c)
		c.adopted.addr = client[0].adopted.addr
	}
	m.w.WhenDone(m.drain)
	m.calm = false // the last one is not answered
	m.mustRun(t)
	if st := &m.loop.stats; st.Refused != 1 || st.Reclaimed != 1 || noted[NoClientConns] != 1 || noted[NoConns] != 0 {
		t.Errorf("%d refused, %d ended for others, shortages %v", st.Refused, st.Reclaimed, noted)
	}
	for i, want := range []int{1, 1, 1, 0} {
		if got := client[i].peer.Result().Responses; got != want {
			t.Errorf("connection %d of the client had %d answers, want %d", i, got, want)
		}
	}
}

// TestInputIsBounded: of clients that send a part of a request each, those that began first end where the
// bound of memory for it is met; others are served.
func TestInputIsBounded(t *testing.T) {
	const part, fit, many = 1000, 8, 30
	m := calmCase(aiosim.Config{})
	noted := m.shortages(&Bounds{Buffered: fit * 1024})
	var slow []*simClient
	for i := range many {
		slow = append(slow, m.dial(aiosim.ClientConfig{
			Start:  time.Duration(i) * time.Millisecond,
			Script: []aiosim.Step{aiosim.Write(flood[:part]), aiosim.Sleep(time.Second)},
		}))
	}
	other := m.asker(time.Second/2, 0)
	var most int64
	for i := range many + 1 {
		m.w.At(time.Duration(i)*time.Millisecond, func() { most = max(most, m.loop.cfg.Bounds.buffered.Load()) })
	}
	var ended [many]bool
	m.w.At(time.Second/4, func() {
		for i, c := range slow {
			ended[i] = c.peer.Result().End == aiosim.SawFIN
		}
	})
	m.w.WhenDone(m.drain)
	m.mustRun(t)
	if most != fit*1024 || noted[NoBuffers] != 1 {
		t.Errorf("%d bytes were kept at most, %d shortages, want %d and 1", most, noted[NoBuffers], fit*1024)
	}
	for i, e := range ended {
		if e != (i < many-fit) {
			t.Errorf("connection %d: ended %v", i, e)
		}
	}
	if other.peer.Result().Responses != 1 {
		t.Error("another client was not served")
	}
}
