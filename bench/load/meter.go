package load

import (
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/bench/proc"
)

// meter counts the responses of a group and their latencies.
type meter struct {
	hist     *hdrhistogram.Histogram
	requests int64
	bytes    int64

	slot     *hdrhistogram.Histogram // of the slot under way; nil: no slots
	slotTime int64                   // how long a slot is, in ns
	slotEnd  int64                   // ns
	slots    []int64                 // p99 of those that have ended, in ns
}

// newMeter returns a meter; with slots of so many ns unless that is 0.
func newMeter(slotTime int64) meter {
	histogram := func() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(time.Minute), 3) }
	m := meter{hist: histogram(), slotTime: slotTime}
	if slotTime > 0 {
		m.slot = histogram()
	}
	return m
}

// reset forgets what was recorded.
func (m *meter) reset() {
	m.hist.Reset()
	m.requests, m.bytes, m.slotEnd, m.slots = 0, 0, 0, m.slots[:0]
}

// record notes a response that is complete at the instant now. Latencies beyond
// the histogram's minute are left out: only downloads take so long, and theirs are not
// looked at.
func (m *meter) record(now, latency int64) {
	m.requests++
	_ = m.hist.RecordValue(latency)
	if m.slot == nil {
		return
	}
	if now >= m.slotEnd {
		if m.slotEnd > 0 {
			m.slots = append(m.slots, m.slot.ValueAtQuantile(99))
		}
		m.slot.Reset()
		m.slotEnd = now + m.slotTime
	}
	_ = m.slot.RecordValue(latency)
}

// slotP99 returns the median of the slots, of the one under way if none has ended.
func (m *meter) slotP99() time.Duration {
	switch {
	case m.slot == nil:
		return 0
	case len(m.slots) == 0:
		return time.Duration(m.slot.ValueAtQuantile(99))
	}
	slices.Sort(m.slots)
	return time.Duration(m.slots[len(m.slots)/2])
}

// seen returns what was recorded.
func (m *meter) seen() Seen {
	at := func(q float64) time.Duration { return time.Duration(m.hist.ValueAtQuantile(q)) }
	return Seen{
		Requests: m.requests, Bytes: m.bytes,
		P50: at(50), P99: at(99), P999: at(99.9), Max: time.Duration(m.hist.Max()), SlotP99: m.slotP99(),
	}
}

// clocks are CPU times in seconds.
type clocks struct {
	server float64 // of the server's processes
	core   float64 // of the server's core
	self   float64 // of this process
}

// readClocks reads the clocks.
func (c *Config) readClocks() (t clocks, err error) {
	if t.server, err = proc.CPUSeconds(c.Pids); err != nil {
		return t, fmt.Errorf("CPU time of the server: %w", err)
	}
	if t.core, err = proc.CoreSeconds(c.Core); err != nil {
		return t, fmt.Errorf("CPU time of the server's core: %w", err)
	}
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		return t, fmt.Errorf("getrusage: %w", err)
	}
	t.self = time.Duration(ru.Utime.Nano() + ru.Stime.Nano()).Seconds()
	return t, nil
}

// memory is the resident memory of the server, the most that was seen.
type memory struct {
	rss  int64
	next int64 // when it is looked at next, in ns
}

// lookEvery is how often the server's memory is looked at, in ns.
const lookEvery = int64(500 * time.Millisecond)

func (m *memory) look(now int64, pids []int) error {
	if now < m.next {
		return nil
	}
	m.next = now + lookEvery
	rss, err := proc.RSS(pids)
	if err != nil {
		return fmt.Errorf("memory of the server: %w", err)
	}
	m.rss = max(m.rss, rss)
	return nil
}
