package load

import (
	"time"

	"github.com/fserve/fserve/bench/report"
)

const (
	// Slot is the width of the slots that the variation is measured with.
	Slot = 100 * time.Millisecond

	// Fine is the width of the slots of Result.Total.
	Fine = 10 * time.Millisecond
)

// slots returns the number of whole slots in the measurement.
func (c *Config) slots() int { return int(c.Measure / Slot) }

// slots counts the bytes of connections in slots of time.
type slots struct {
	begin, end int64 // of the measurement, in ns
	total      []int64
	flows      []flow
}

// flow is what one connection receives.
type flow struct {
	group, client int

	asked int64 // instant of the first request, in ns
	total int64 // bytes so far
	tried int64 // instant at which a paced one last looked
	first int64 // bytes in the first second
	last  int64 // instant of the last bytes
	quiet int64 // longest time without any, in ns
	slots []uint32
}

// newSlots makes room for the connections of mode Closed.
func newSlots(c *Config) *slots {
	return &slots{
		begin: never, end: never,
		total: make([]int64, c.slots()*int(Slot/Fine)), flows: make([]flow, 0, c.count(Closed)),
	}
}

// flow returns what counts a further connection.
func (s *slots) flow(group, client int) *flow {
	s.flows = append(s.flows, flow{group: group, client: client, slots: make([]uint32, len(s.total)/int(Slot/Fine))})
	return &s.flows[len(s.flows)-1] // it stays where it is: there is room for all
}

// start begins the measurement.
func (s *slots) start(now int64) {
	s.begin, s.end = now, now+int64(len(s.total))*int64(Fine)
}

// count books n bytes that have come at the instant now.
func (s *slots) count(f *flow, n, now int64) {
	if n == 0 {
		return
	}
	f.total += n
	if now-f.asked < int64(time.Second) {
		f.first += n
	}
	if at := now - s.begin; at >= 0 && now < s.end {
		f.slots[at/int64(Slot)] += uint32(n)
		s.total[at/int64(Fine)] += n
		f.quiet = max(f.quiet, now-max(f.last, s.begin))
	}
	f.last = now
}

// collect returns what was counted of each connection.
func (s *slots) collect() []Conn {
	conns := make([]Conn, len(s.flows))
	for i := range s.flows {
		f := &s.flows[i]
		conns[i] = Conn{
			Group: f.group, Client: f.client, First: f.first,
			CoV: report.CoV(f.slots), CoVSec: report.CoV(sums(f.slots, int(time.Second/Slot))),
			Silence: time.Duration(max(f.quiet, s.end-max(f.last, s.begin))),
		}
		for _, n := range f.slots {
			conns[i].Bytes += int64(n)
		}
	}
	return conns
}

// trace returns the bytes of the first connection.
func (s *slots) trace() (bytes []int64) {
	for _, n := range s.flows[0].slots {
		bytes = append(bytes, int64(n))
	}
	return bytes
}

// sums adds up every n values; those that are left over count for nothing.
func sums(values []uint32, n int) (s []int64) {
	for ; len(values) >= n; values = values[n:] {
		var sum int64
		for _, v := range values[:n] {
			sum += int64(v)
		}
		s = append(s, sum)
	}
	return s
}

// takePaced takes what the pace of a connection allows for by now.
func (l *loop) takePaced(c *conn) error {
	f := c.flow
	if c.state == idle || l.now-f.tried < paceEvery {
		return nil
	}
	f.tried = l.now
	credit := (l.now-f.asked)/int64(time.Microsecond)*c.group.Pace/1e6 - f.total
	if credit < min(paceStep, c.left) {
		return nil
	}
	return l.receive(c, credit)
}
