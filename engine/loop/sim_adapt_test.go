package loop

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/adapt"
	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/sys"
)

// simAdapt is a kernel that tells nonsense of connections: counters that go back, wrap
// and jump, structures that are too short, errors. Whatever it says, rates stay
// within their bounds, and responses are what they are without.
type simAdapt struct {
	m         *simulation
	a         *measure.Adaptation
	low, high int64 // of the bounds that were ever set
	asked     uint64
	info      map[*Conn]*sys.TCPInfo
}

// adaptRates draws adaptation for a world that has limits.
func (m *simulation) adaptRates() {
	s := &simAdapt{m: m, info: make(map[*Conn]*sys.TCPInfo), low: 1e12}
	draw := func() *adapt.Policy {
		low := 2000 + m.rnd.Int64N(50_000)
		p, err := adapt.NewPolicy(adapt.Config{Min: low, Max: low + m.rnd.Int64N(1e7), SampleEvery: measure.SampleEvery})
		if err != nil {
			m.bad("policy: %v", err)
			return nil
		}
		c := p.Config()
		s.low, s.high = min(s.low, c.Min), max(s.high, c.Max)
		return p
	}
	cfg := func() (c measure.Config) {
		if m.rnd.IntN(4) > 0 {
			c.Client = draw()
		}
		if m.rnd.IntN(2) == 0 {
			c.Paths = map[string]*adapt.Policy{simPrefixes[0]: draw()}
		}
		return c
	}
	s.a = measure.New(cfg(), func(e measure.Event) {
		if e.Kind == adapt.None || e.Level != shape.LevelClient && e.Level != shape.LevelPath {
			m.bad("event %+v", e)
		}
	})
	m.adapt = s
	for range m.rnd.IntN(3) {
		m.w.At(m.soon(), func() { s.a.Configure(cfg()) })
	}
	m.w.At(m.soon(), func() {
		_, _, _ = s.a.SteerClient(shape.ClientID(simNames[0]), measure.Steer{Target: 1 + m.rnd.Int64N(1e9)})
	})
}

// ask stands in for Loop.askTCP.
func (s *simAdapt) ask(c *Conn, info *sys.TCPInfo) syscall.Errno {
	s.asked++
	if c.state == connClosing || c.state == connFree {
		s.m.bad("asked about a connection that is being closed")
	}
	r := s.m.rnd
	switch r.IntN(40) {
	case 0:
		return unix.EOPNOTSUPP
	case 1:
		return unix.EBADF
	}
	i := s.info[c]
	if i == nil || r.IntN(20) == 0 { // or another connection's
		i = &sys.TCPInfo{BytesAcked: r.Uint64N(1 << 30), TotalRetrans: r.Uint32(), Delivered: r.Uint32(), DSACKDups: r.Uint32()}
		s.info[c] = i
	}
	n := r.Uint64N(1 << 16)
	i.BytesAcked += n
	i.BytesSent += n + n/8
	i.BytesRetrans += n / 8
	i.TotalRetrans += uint32(n / 12000)
	i.Delivered += uint32(n / 1448)
	i.RTT, i.MinRTT, i.MSS = uint32(r.IntN(100_000)), uint32(r.IntN(1000)), 1448
	i.DeliveryRate = r.Uint64() >> r.IntN(64)
	i.Known = ^sys.TCPField(0)
	if r.IntN(10) == 0 {
		i.Known = sys.TCPField(r.IntN(256))
	}
	*info = *i
	return 0
}

// turn checks the rates after a turn of the loop.
func (s *simAdapt) turn() {
	r := s.a.Report(100)
	for _, list := range [][]measure.State{r.Clients, r.Paths} {
		for i := range list {
			if t := list[i].Target; t < s.low || t > s.high {
				s.m.bad("target %d of %s is not from %d to %d", t, list[i].Name, s.low, s.high)
			}
		}
	}
	taps := 0
	for _, slab := range s.m.loop.conns.slabs {
		for i := range slab {
			if c := &slab[i]; c.tap.On() {
				taps++
				if c.state == connClosing || c.state == connFree {
					s.m.bad("a connection that ends is measured")
				}
			}
		}
	}
	if taps != r.Taps {
		s.m.bad("%d connections are measured, %d are counted", taps, r.Taps)
	}
	if next := s.m.loop.sampler.Due(); taps > 0 && next > s.m.loop.now+int64(time.Second) {
		s.m.bad("connections are measured, and nothing is due before %d", next)
	}
}
