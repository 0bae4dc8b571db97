package adapt

import "math"

// congestion is a sender's congestion control.
type congestion interface {
	// acked: n bytes were acknowledged.
	acked(s *simSender, n float64)
	// lost: n bytes were found lost; first once in a round-trip.
	lost(s *simSender, n float64, first bool)
	window() float64 // bytes
	pace() float64   // bytes/s
}

// cubic is RFC 9438 without its finer points.
type cubic struct{ cwnd, ssthresh, wMax, epoch float64 }

func newCubic() *cubic { return &cubic{cwnd: 10 * simMSS, ssthresh: math.Inf(1)} }

func (c *cubic) acked(s *simSender, n float64) {
	if s.limited() {
		return // RFC 7661: what is not used does not grow
	}
	if c.cwnd < c.ssthresh {
		c.cwnd += n
		return
	}
	t := s.world.now - c.epoch + s.srtt
	k := math.Cbrt(c.wMax / simMSS * 0.3 / 0.4)
	want := (0.4*(t-k)*(t-k)*(t-k) + c.wMax/simMSS) * simMSS
	reno := (c.wMax*0.7/simMSS + 0.53*t/max(s.srtt, 1e-3)) * simMSS
	want = min(max(want, reno), 1.5*c.cwnd)
	if want > c.cwnd {
		c.cwnd += (want - c.cwnd) * min(n/c.cwnd, 1)
	}
}

func (c *cubic) lost(s *simSender, _ float64, first bool) {
	if !first {
		return
	}
	c.wMax, c.epoch = c.cwnd, s.world.now
	c.cwnd = max(c.cwnd*0.7, 2*simMSS)
	c.ssthresh = c.cwnd
}

func (c *cubic) window() float64 { return c.cwnd }
func (c *cubic) pace() float64   { return math.Inf(1) }

// bbr is the first version's idea: the greatest rate of ten round-trips,
// probed by a quarter more once in eight, whatever is lost.
type bbr struct {
	bw, full      float64
	path          float64 // least round-trip time, s
	fullRounds    int
	started       bool
	phase         int
	phaseAt, bwAt float64
}

func (b *bbr) acked(s *simSender, _ float64) {
	now, rate := s.world.now, s.deliveryRate
	b.path = s.minRTT
	if rate >= b.bw && (!s.rateLimited || rate > b.bw) || now-b.bwAt > 10*s.srtt && !s.rateLimited {
		b.bw, b.bwAt = rate, now
	}
	if now-b.phaseAt < s.minRTT {
		return
	}
	b.phaseAt = now
	b.phase = (b.phase + 1) % 8
	if !b.started && !s.rateLimited {
		if b.fullRounds++; b.bw > b.full*1.25 {
			b.full, b.fullRounds = b.bw, 0
		}
		b.started = b.fullRounds >= 3
	}
}

func (b *bbr) lost(*simSender, float64, bool) {}

func (b *bbr) gain() float64 {
	switch {
	case !b.started:
		return 2.89
	case b.phase == 0:
		return 1.25
	case b.phase == 1:
		return 0.75
	}
	return 1
}

func (b *bbr) pace() float64   { return max(b.bw, 10*simMSS/0.1) * b.gain() }
func (b *bbr) window() float64 { return max(2*b.bw*b.path, 10*simMSS) }

const history = 1 << 11 // steps: two seconds

// simSender is one TCP connection from the origin, up to the reader's buffer.
type simSender struct {
	world *simWorld
	cc    congestion
	bkt   *simBucket // nil: not limited

	unsent   float64 // in the socket, bytes
	repeat   float64 // to be sent again
	inflight float64
	share    float64 // of the line's queue

	acks, losses [history]float64 // by the step in which they reach the sender
	total        [history]float64 // acknowledged until that step
	srtt, minRTT float64
	lossAt       float64

	reader  float64 // rate of the reader, bytes/s; 0: any
	atPeer  float64 // in the reader's buffer
	idleAt  float64 // when there was last too little to send
	stopped bool

	deliveryRate float64
	rateLimited  bool

	ackedTotal, sentTotal, repeatTotal, markTotal float64
	busy, rwnd                                    float64 // s
	base                                          uint64  // counters begin there
}

const (
	lowat      = 128 << 10 // TCP_NOTSENT_LOWAT, bytes
	peerBuffer = 4 << 20   // bytes
)

// limited reports whether the sender had too little to send within the last round-trip.
func (s *simSender) limited() bool { return s.world.now-s.idleAt < s.srtt }

// write fills the socket as far as the bucket allows.
func (s *simSender) write() {
	room := lowat - s.unsent
	if room <= 0 || s.stopped {
		return
	}
	if s.bkt == nil {
		s.unsent += room
		return
	}
	s.unsent += s.bkt.take(room)
}

// offer returns what the sender puts on the line in this step.
func (s *simSender) offer() float64 {
	cwnd := s.cc.window() - s.inflight
	rwnd := peerBuffer - s.atPeer - s.inflight
	want := min(cwnd, s.cc.pace()*simStep)
	if s.bkt != nil && s.world.paced {
		want = min(want, min(s.bkt.rate*1.25, s.bkt.rate*1.5/s.bkt.flows)*simStep)
	}
	if s.reader > 0 && rwnd < want && s.unsent > 0 {
		want = rwnd
		s.rwnd += simStep
	}
	if s.unsent+s.inflight+s.repeat > 0 {
		s.busy += simStep
	}
	want = max(want, 0)
	again := min(want, s.repeat)
	fresh := min(want-again, s.unsent)
	if want-again > s.unsent {
		s.idleAt = s.world.now
	}
	s.repeat -= again
	s.unsent -= fresh
	s.repeatTotal += again
	s.sentTotal += again + fresh
	s.inflight += again + fresh
	return again + fresh
}

// receive takes what arrives at the sender in this step.
func (s *simSender) receive(step int) {
	i := step % history
	acked, lost := s.acks[i], s.losses[i]
	s.acks[i], s.losses[i] = 0, 0
	rtt := s.world.line.delay + s.world.line.queued/s.world.capacity
	if acked > 0 {
		s.srtt += (rtt - s.srtt) * min(acked/simMSS/8, 1) * 0.5
		s.minRTT = min(s.minRTT, rtt)
		s.inflight = max(s.inflight-acked, 0)
		s.ackedTotal += acked
	}
	s.total[i] = s.ackedTotal
	s.rate(step)
	if lost > 0 {
		s.inflight = max(s.inflight-lost, 0)
		s.repeat += lost
		first := s.world.now-s.lossAt > s.srtt
		if first {
			s.lossAt = s.world.now
		}
		s.cc.lost(s, lost, first)
	}
	if acked > 0 {
		s.cc.acked(s, acked)
	}
	s.read(acked)
}

func (s *simSender) read(arrived float64) {
	if s.reader > 0 {
		s.atPeer = max(s.atPeer+arrived-s.reader*simStep, 0)
	}
}

// rate updates the delivery rate as tcp_rate_gen does: over a round-trip, and
// one that was limited by the sender only if it is greater.
func (s *simSender) rate(step int) {
	n := min(max(int(s.srtt/simStep), 5), history-1, step)
	if n == 0 {
		return
	}
	rate := (s.ackedTotal - s.total[(step-n)%history]) / (float64(n) * simStep)
	if limited := s.limited(); !limited || rate > s.deliveryRate {
		s.deliveryRate, s.rateLimited = rate, limited
	}
}

// sample is what TCP_INFO would say, in its units and widths.
func (s *simSender) sample() Sample {
	count := func(v float64) uint64 { return s.base + uint64(v) }
	segments := func(v float64) uint32 { return uint32(s.base) + uint32(uint64(v/simMSS)) }
	return Sample{
		BytesAcked: count(s.ackedTotal), BytesSent: count(s.sentTotal), BytesRetrans: count(s.repeatTotal),
		TotalRetrans: segments(s.repeatTotal), Delivered: segments(s.ackedTotal), DeliveredCE: segments(s.markTotal),
		DSACKDups: uint32(s.base), RTT: uint32(s.srtt * 1e6), MinRTT: uint32(s.minRTT * 1e6),
		DeliveryRate: uint64(s.deliveryRate), AppLimited: s.rateLimited,
		NotSent: uint32(s.unsent), MSS: simMSS,
		BusyTime: count(s.busy * 1e6), RwndLimited: count(s.rwnd * 1e6), SndbufLimited: s.base,
		Known: 1<<7 - 1,
	}
}
