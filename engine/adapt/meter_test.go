package adapt

import (
	"testing"
	"time"
)

// base is a sample of a connection that has been going on for long: its counters
// of 32 bits are about to wrap.
func base() Sample {
	return Sample{
		BytesAcked: 1 << 40, BytesSent: 1<<40 + 5000, BytesRetrans: 5000,
		TotalRetrans: ^uint32(0) - 1, DSACKDups: ^uint32(0), Delivered: ^uint32(0) - 9, DeliveredCE: ^uint32(0),
		RTT: 20_000, MinRTT: 15_000, DeliveryRate: 1e6, AppLimited: true, MSS: 1000,
		BusyTime: 1e9, RwndLimited: 1e6, SndbufLimited: 1e6, Known: 1<<7 - 1,
	}
}

// later is base a tenth of a second on.
func later() Sample {
	s := base()
	s.BytesAcked += 100_000
	s.BytesSent += 103_000
	s.BytesRetrans += 3000
	s.TotalRetrans += 3
	s.DSACKDups += 2
	s.Delivered += 101
	s.DeliveredCE += 4
	s.BusyTime += 100_000
	s.RwndLimited += 10_000
	return s
}

const tenth = int64(100 * time.Millisecond)

func TestMeter(t *testing.T) {
	want := Delta{
		Elapsed: tenth, Acked: 100_000, Arrived: 101_000, Sent: 103_000, Retrans: 3000, Spurious: 2000, Segments: 103,
		CE: 4, RTT: 20e6, MinRTT: 15e6, MSS: 1000, Rate: 1e6, AppLimited: true,
	}
	for _, c := range []struct {
		name  string
		known Fields
		edit  func(s *Sample)
		want  func(d *Delta)
	}{
		{"all", 1<<7 - 1, nil, nil},
		{"the reader is slow", 1<<7 - 1, func(s *Sample) { s.RwndLimited += 60_000 }, func(d *Delta) { d.Reader = true }},
		{"the send buffer is small", 1<<7 - 1, func(s *Sample) { s.SndbufLimited += 60_000 }, func(d *Delta) { d.Buffer = true }},
		{"no segment size", 1<<7 - 1, func(s *Sample) { s.MSS = 0 }, func(d *Delta) {
			d.MSS, d.Segments, d.Spurious, d.Arrived = segment, 72, 2*segment, 101*segment
		}},
		{"not measured yet", 1<<7 - 1, func(s *Sample) { s.MinRTT = ^uint32(0) }, func(d *Delta) { d.MinRTT = 0 }},
		{"Linux 4.18: no bytes sent, no DSACK", HasAcked | HasNotSent | HasRate | HasBusy | HasCE, nil, func(d *Delta) { d.Spurious = 0 }},
		{"Linux 4.10: no ECN", HasAcked | HasNotSent | HasRate | HasBusy, nil, func(d *Delta) { d.Spurious, d.CE, d.Arrived = 0, 0, 100_000 }},
		{"Linux 4.1: bytes acknowledged only", HasAcked, nil, func(d *Delta) {
			d.Spurious, d.CE, d.Arrived, d.MinRTT, d.Rate, d.AppLimited = 0, 0, 100_000, 0, 0, false
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b, want := base(), later(), want
			a.Known, b.Known = c.known, c.known
			if c.edit != nil {
				c.edit(&b)
			}
			if c.want != nil {
				c.want(&want)
			}
			var m Meter
			if d, ok := m.Update(&a, 1000); ok {
				t.Errorf("of one sample: %+v", d)
			}
			if d, ok := m.Update(&b, 1000+tenth); !ok || d != want {
				t.Errorf("%t\n got %+v\nwant %+v", ok, d, want)
			}
		})
	}
}

// TestMeterDistrusts: what cannot have happened on one connection is nothing, and
// the sample after it is compared with it.
func TestMeterDistrusts(t *testing.T) {
	for name, edit := range map[string]func(*Sample){
		"acknowledged goes back":        func(s *Sample) { s.BytesAcked = base().BytesAcked - 1 },
		"sent goes back":                func(s *Sample) { s.BytesSent = base().BytesSent - 1 },
		"sent again goes back":          func(s *Sample) { s.BytesRetrans = 0 },
		"more sent again than sent":     func(s *Sample) { s.BytesRetrans += 200_000 },
		"delivered goes back":           func(s *Sample) { s.Delivered = base().Delivered - 1 },
		"marked goes back":              func(s *Sample) { s.DeliveredCE = base().DeliveredCE - 1 },
		"DSACKs go back":                func(s *Sample) { s.DSACKDups = base().DSACKDups - 1 },
		"repetitions go back":           func(s *Sample) { s.TotalRetrans = base().TotalRetrans - 1 },
		"busy time goes back":           func(s *Sample) { s.BusyTime = 0 },
		"window time goes back":         func(s *Sample) { s.RwndLimited = 0 },
		"buffer time goes back":         func(s *Sample) { s.SndbufLimited = 0 },
		"more than any line carries":    func(s *Sample) { s.BytesAcked += 1 << 42 },
		"another connection, all small": func(s *Sample) { *s = Sample{BytesAcked: 5000, BytesSent: 6000, Known: s.Known} },
	} {
		t.Run(name, func(t *testing.T) {
			var m Meter
			a, b := base(), later()
			m.Update(&a, 0)
			edit(&b)
			if d, ok := m.Update(&b, tenth); ok {
				t.Errorf("believed: %+v", d)
			}
			next := b
			next.BytesAcked += 100_000
			next.BytesSent += 100_000
			if d, ok := m.Update(&next, 2*tenth); !ok || d.Acked != 100_000 || d.Elapsed != tenth {
				t.Errorf("afterwards: %t, %+v", ok, d)
			}
		})
	}
}

func TestMeterAndClock(t *testing.T) {
	var m Meter
	a, b := base(), later()
	m.Update(&a, 10*tenth)
	for _, now := range []int64{10 * tenth, 9 * tenth} {
		if d, ok := m.Update(&b, now); ok {
			t.Errorf("at %d after %d: %+v", now, 10*tenth, d)
		}
	}
	if d, ok := m.Update(&b, 11*tenth); !ok || d.Elapsed != tenth || d.Acked != 100_000 {
		t.Errorf("when time went on: %t, %+v", ok, d)
	}
	// A clock that went back for good is not waited for.
	if d, ok := m.Update(&b, 0); ok {
		t.Errorf("back by a second: %+v", d)
	}
	c := b
	c.BytesAcked += 500
	c.BytesSent += 500
	if d, ok := m.Update(&c, tenth); !ok || d.Acked != 500 || d.Elapsed != tenth {
		t.Errorf("afterwards: %t, %+v", ok, d)
	}
	m.Reset()
	if d, ok := m.Update(&c, 2*tenth); ok {
		t.Errorf("after a reset: %+v", d)
	}
	old := base()
	old.Known = 0
	if d, ok := m.Update(&old, 3*tenth); ok {
		t.Errorf("a kernel that counts nothing: %+v", d)
	}
}
