package load

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/bench/proc"
	"github.com/fserve/fserve/internal/sys"
)

var errNothing = errors.New("no response within the measurement")

// meter counts responses and their latencies between start and stop.
type meter struct {
	pids     []int
	core     int
	spin     bool
	hist     *hdrhistogram.Histogram
	requests int64
	base     int64 // bytes at start
	began    int64 // ns
	clocks   clocks
	idle     int64 // ns spent in polls that brought nothing

	slot     *hdrhistogram.Histogram // of the slot under way
	slotTime int64                   // how long a slot is, in ns
	slotEnd  int64                   // ns
	slots    []int64                 // p99 of those that have ended, in ns
}

// clocks are CPU times in seconds.
type clocks struct {
	server float64 // of the server's processes
	core   float64 // of the server's core
	self   float64 // of this process
}

func newMeter(c *Config) *meter {
	histogram := func() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(time.Minute), 3) }
	return &meter{
		pids: c.Pids, core: c.Core, spin: c.Spin,
		hist: histogram(), slot: histogram(), slotTime: int64(min(c.Measure/8, 500*time.Millisecond)),
	}
}

// record notes one response. Latencies beyond the histogram's minute cannot
// occur: no run lasts that long.
func (m *meter) record(latency int64) {
	m.requests++
	_ = m.hist.RecordValue(latency)
}

// recordAt is record, and counts the response in its slot as well.
func (m *meter) recordAt(now, latency int64) {
	m.record(latency)
	if now >= m.slotEnd {
		if m.slotEnd > m.began {
			m.slots = append(m.slots, m.slot.ValueAtQuantile(99))
		}
		m.slot.Reset()
		m.slotEnd = now + m.slotTime
	}
	_ = m.slot.RecordValue(latency)
}

// slotP99 returns the median of the slots, of the one under way if none has ended.
func (m *meter) slotP99() time.Duration {
	if len(m.slots) == 0 {
		return time.Duration(m.slot.ValueAtQuantile(99))
	}
	slices.Sort(m.slots)
	return time.Duration(m.slots[len(m.slots)/2])
}

// turn notes the end of a turn that began at then and brought n events. It
// returns the time.
func (m *meter) turn(then int64, n int) int64 {
	now := sys.Nanotime()
	if n == 0 {
		m.idle += now - then
	}
	return now
}

// start begins the measurement: what was recorded before is forgotten.
func (m *meter) start(now, bytes int64) (err error) {
	m.hist.Reset()
	m.requests, m.base, m.began, m.idle = 0, bytes, now, 0
	m.slotEnd, m.slots = 0, m.slots[:0]
	m.clocks, err = m.read()
	return err
}

// stop ends the measurement.
func (m *meter) stop(now, bytes int64) (Result, error) {
	end, err := m.read()
	if err != nil {
		return Result{}, err
	}
	if m.requests == 0 && bytes == m.base {
		return Result{}, errNothing
	}
	elapsed, busy := time.Duration(now-m.began).Seconds(), end.self-m.clocks.self
	if m.spin {
		busy = elapsed - time.Duration(m.idle).Seconds()
	}
	return Result{
		Requests:  m.requests,
		Bytes:     bytes - m.base,
		Seconds:   elapsed,
		ServerCPU: end.server - m.clocks.server,
		CoreBusy:  end.core - m.clocks.core,
		LoadBusy:  busy,
		Mean:      time.Duration(m.hist.Mean()),
		P50:       time.Duration(m.hist.ValueAtQuantile(50)),
		P99:       time.Duration(m.hist.ValueAtQuantile(99)),
		Max:       time.Duration(m.hist.Max()),
		SlotP99:   m.slotP99(),
	}, nil
}

// read reads the clocks.
func (m *meter) read() (c clocks, err error) {
	if c.server, err = proc.CPUSeconds(m.pids); err != nil {
		return c, fmt.Errorf("CPU time of the server: %w", err)
	}
	if c.core, err = proc.CoreSeconds(m.core); err != nil {
		return c, fmt.Errorf("CPU time of the server's core: %w", err)
	}
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		return c, fmt.Errorf("getrusage: %w", err)
	}
	c.self = time.Duration(ru.Utime.Nano() + ru.Stime.Nano()).Seconds()
	return c, nil
}
