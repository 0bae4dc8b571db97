package loop

import (
	"testing"
	"time"

	"github.com/fserve/fserve/internal/aio/aiosim"
)

// pipelined are n requests for a few bytes each in one piece.
func (m *simulation) pipelined(n int) (wire []byte, requests []*simRequest) {
	for range n {
		r := &simRequest{kind: kindMemory, n: 10}
		wire = append(wire, m.wire(r, 60)...)
		requests = append(requests, r)
	}
	return wire, requests
}

// TestPipeliningTakesTurns: of one who sends many requests at once only some are answered
// before others have their turn, and in the end all, also after its FIN.
func TestPipeliningTakesTurns(t *testing.T) {
	const many = 20 * maxRequests
	m := calmCase(aiosim.Config{})
	wire, requests := m.pipelined(many)
	m.dial(aiosim.ClientConfig{Script: []aiosim.Step{aiosim.Write(wire), aiosim.CloseWrite(), aiosim.AwaitResponses(many), aiosim.Close()}}, requests...).patient = true
	r := wholeFile()
	m.dial(aiosim.ClientConfig{Start: time.Millisecond, Script: []aiosim.Step{aiosim.Write(m.wire(r, 0)), aiosim.AwaitResponses(1), aiosim.Close()}}, r).patient = true
	m.w.WhenDone(m.drain)
	m.mustRun(t) // it counts the requests of each turn
	if st := &m.loop.stats; st.Responses != many+1 {
		t.Errorf("%d responses, want %d", st.Responses, many+1)
	}
}

// TestUnreadStaysWithTheKernel: who does not read what is sent to it fills the server's memory with
// requests no more than by what was received before the first of them was answered.
func TestUnreadStaysWithTheKernel(t *testing.T) {
	m := calmCase(aiosim.Config{})
	r := wholeFile()
	wire, requests := m.pipelined(3000)
	wire = append(m.wire(r, 0), wire...)
	m.dial(aiosim.ClientConfig{
		Window: 4 << 10, Script: []aiosim.Step{aiosim.StopReading(), aiosim.Write(wire), aiosim.Sleep(time.Minute), aiosim.Reset()},
	}, append([]*simRequest{r}, requests...)...)
	var most int
	for i := range 20 {
		m.w.At(time.Duration(i)*time.Second, func() {
			m.loop.each(func(c *Conn) { most = max(most, len(c.in.buf)) })
		})
	}
	m.w.WhenDone(m.drain)
	m.mustRun(t)
	if most == 0 || most > maxWaiting || len(wire) < 4*maxWaiting {
		t.Errorf("%d bytes were kept of %d, want some and %d at most", most, len(wire), maxWaiting)
	}
}
