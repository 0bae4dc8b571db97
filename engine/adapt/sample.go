package adapt

// Fields is a set of the members of a Sample that the kernel gave.
type Fields = uint8

const (
	HasAcked   Fields = 1 << iota // BytesAcked
	HasNotSent                    // NotSent, MinRTT
	HasRate                       // DeliveryRate, AppLimited
	HasBusy                       // BusyTime, RwndLimited, SndbufLimited
	HasCE                         // Delivered, DeliveredCE
	HasSent                       // BytesSent, BytesRetrans
	HasDSACK                      // DSACKDups
)

// Sample is what the kernel says of one connection (struct tcp_info), in the kernel's units:
// bytes, segments, microseconds. Counters begin at zero with the connection; those of
// 32 bits wrap. Members that are not in Known are not read. It is converted from what
// package sys reads.
type Sample struct {
	BytesAcked, BytesSent, BytesRetrans  uint64
	TotalRetrans                         uint32 // segments sent again: stands in for BytesRetrans
	DSACKDups, Delivered, DeliveredCE    uint32 // segments
	RTT, MinRTT                          uint32 // microseconds
	DeliveryRate                         uint64 // bytes/s
	AppLimited                           bool
	NotSent, MSS                         uint32 // bytes
	BusyTime, RwndLimited, SndbufLimited uint64 // microseconds
	Known                                Fields
}

// Delta is what happened on a connection between two samples. It is valid also when the
// connection is gone.
type Delta struct {
	Elapsed  int64 // ns between the samples
	Acked    int64 // bytes, in order
	Arrived  int64 // bytes, in any order: does not jump when a hole is filled
	Sent     int64 // bytes, retransmissions included
	Retrans  int64 // bytes sent again
	Spurious int64 // bytes sent again, then or earlier, that the peer turned out to have
	Segments int64 // sent, about
	CE       int64 // segments marked by the network
	RTT      int64 // ns; 0 if not measured
	MinRTT   int64 // ns; 0 if not measured
	MSS      int64 // bytes
	Rate     int64 // delivery rate, bytes/s; 0 if not known

	// AppLimited: Rate was measured while there was too little to send.
	AppLimited bool
	// Reader and Buffer: for most of the busy time the connection waited for the peer's
	// window, or for room in the local send buffer.
	Reader, Buffer bool
}

// Meter turns the counters of a connection into differences. The zero value is ready. It is
// for one goroutine at a time.
type Meter struct {
	last Sample
	at   int64
	on   bool
}

// Reset forgets what was sampled: the next sample is the first of a connection.
func (m *Meter) Reset() { *m = Meter{} }

// clockBack is by how much a clock may go back until the meter begins anew, in ns.
const clockBack = 500_000_000

// Update takes a sample of the instant now (monotonic, ns) and returns what has happened
// since the last one. ok is false if the two cannot be compared: the sample is the first,
// or not later than the last; the kernel counts no acknowledged bytes; or counters have
// gone back, as those of another connection do. The next sample is then compared with
// this one.
func (m *Meter) Update(s *Sample, now int64) (d Delta, ok bool) {
	if s.Known&HasAcked == 0 {
		return Delta{}, false
	}
	if !m.on {
		m.last, m.at, m.on = *s, now, true
		return Delta{}, false
	}
	if now <= m.at && m.at-now < clockBack {
		return Delta{}, false // a later sample is compared with the older one
	}
	if elapsed := now - m.at; elapsed > 0 {
		d, ok = difference(&m.last, s, elapsed)
	}
	m.last, m.at = *s, now
	return d, ok
}

// wentBack32 is a difference of two counters of 32 bits. A greater one means that the counter
// has gone back: none grows by so much within one interval.
const wentBack32 = 1 << 31

// difference compares two samples. It checks everything before it uses anything: counters of
// two connections show in some member.
func difference(a, b *Sample, elapsed int64) (Delta, bool) {
	known := a.Known & b.Known
	acked := b.BytesAcked - a.BytesAcked
	dups, delivered, ce := b.DSACKDups-a.DSACKDups, b.Delivered-a.Delivered, b.DeliveredCE-a.DeliveredCE
	repeated := b.TotalRetrans - a.TotalRetrans
	if known&HasDSACK == 0 {
		dups = 0
	}
	if known&HasCE == 0 {
		delivered, ce = 0, 0
	}
	// A counter that grew by more than any rate allows was changed, not counted on.
	most := uint64(float64(elapsed)/1e9*float64(MaxRate)) + 1<<20
	if b.BytesAcked < a.BytesAcked || acked > most ||
		max(dups, delivered, ce, repeated) >= wentBack32 {
		return Delta{}, false
	}
	d := Delta{
		Elapsed: elapsed, Acked: int64(acked), Sent: int64(acked),
		MSS: int64(b.MSS), RTT: int64(b.RTT) * 1000, CE: int64(ce),
	}
	if d.MSS == 0 {
		d.MSS = segment
	}
	d.Retrans = int64(repeated) * d.MSS
	if known&HasSent != 0 {
		sent, retrans := b.BytesSent-a.BytesSent, b.BytesRetrans-a.BytesRetrans
		if b.BytesSent < a.BytesSent || b.BytesRetrans < a.BytesRetrans || sent > most || retrans > sent {
			return Delta{}, false
		}
		d.Sent, d.Retrans = int64(sent), int64(retrans)
	} else {
		d.Sent += d.Retrans
	}
	d.Segments = (d.Sent + d.MSS - 1) / d.MSS
	d.Spurious = int64(dups) * d.MSS
	d.Arrived = d.Acked
	if known&HasCE != 0 {
		d.Arrived = int64(delivered) * d.MSS
	}
	if known&HasNotSent != 0 && b.MinRTT != ^uint32(0) {
		d.MinRTT = int64(b.MinRTT) * 1000
	}
	if known&HasRate != 0 {
		d.Rate, d.AppLimited = int64(min(b.DeliveryRate, uint64(MaxRate))), b.AppLimited
	}
	return d, known&HasBusy == 0 || d.limits(a, b)
}

// limits notes what the connection waited for, and reports whether the times make sense.
func (d *Delta) limits(a, b *Sample) bool {
	if b.BusyTime < a.BusyTime || b.RwndLimited < a.RwndLimited || b.SndbufLimited < a.SndbufLimited {
		return false
	}
	busy := b.BusyTime - a.BusyTime
	d.Reader = busy > 0 && (b.RwndLimited-a.RwndLimited)*2 > busy
	d.Buffer = busy > 0 && (b.SndbufLimited-a.SndbufLimited)*2 > busy
	return true
}
