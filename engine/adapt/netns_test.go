package adapt_test

import (
	"fmt"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/adapt"
	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/internal/testenv"
)

// The same controller on real TCP: a loop like the engine's in small (buckets,
// non-blocking writes, TCP_INFO ten times a second) sends through network
// namespaces.

const mbit = 1e6 / 8

// origin is a sending loop.
type origin struct {
	clients []*originClient
	trace   [][]point
}

// originClient is a client with its connections; ctl nil: unlimited.
type originClient struct {
	ctl    *adapt.Controller
	conns  []*originConn
	tokens float64
	held   int64

	delayed int64
}

type originConn struct {
	fd       int32
	file     *os.File
	meter    adapt.Meter
	info     sys.TCPInfo
	received *atomic.Int64 // by the reader at the other end
	pace     int64
}

// point is what a client got in 100 ms.
type point struct {
	at                     float64 // s
	target, estimate, rate float64 // bytes/s
	repeated               uint64  // bytes, so far
	state                  adapt.State
}

// add connects a client with n connections under a congestion control.
func (o *origin) add(t *testing.T, l *testenv.Line, p *adapt.Policy, n int, congestion string) *originClient {
	t.Helper()
	c := &originClient{}
	if p != nil {
		c.ctl = adapt.New(p)
	}
	for range n {
		c.conns = append(c.conns, connect(t, l, congestion))
	}
	o.clients = append(o.clients, c)
	o.trace = append(o.trace, nil)
	return c
}

// connect makes one connection whose other end reads all it gets.
func connect(t *testing.T, l *testenv.Line, congestion string) *originConn {
	t.Helper()
	ln := l.Listen()
	defer ln.Close()
	peer, err := l.Dial(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	f, err := accepted.(*net.TCPConn).File()
	accepted.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	c := &originConn{fd: int32(f.Fd()), file: f, received: new(atomic.Int64)}
	must(t, unix.SetNonblock(int(c.fd), true))
	must(t, unix.SetsockoptString(int(c.fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, congestion))
	must(t, unix.SetsockoptInt(int(c.fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 128<<10))
	go func() {
		b := make([]byte, 256<<10)
		for {
			n, err := peer.Read(b)
			c.received.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var chunk = make([]byte, 64<<10)

// nap is how long the loop waits in a turn.
const nap = 2 * time.Millisecond

// run sends for so long; at is called at the given seconds.
func (o *origin) run(length time.Duration, at map[int]func()) {
	begin := sys.Nanotime()
	last, sampled, got := begin, begin, make([]int64, len(o.clients))
	for i, c := range o.clients {
		got[i] = c.total()
	}
	for second := -1; ; {
		now := sys.Nanotime()
		if s := int((now - begin) / 1e9); s != second {
			second = s
			if f := at[s]; f != nil {
				f()
			}
		}
		for _, c := range o.clients {
			if late := now - last - int64(nap); late > 10e6 {
				c.delayed += late
			}
			c.send(now - last)
		}
		last = now
		if now-sampled >= 100e6 {
			for i, c := range o.clients {
				p := c.sample(now)
				sum := c.total()
				p.at, p.rate = float64(now-begin)/1e9, float64(sum-got[i])/float64(now-sampled)*1e9
				got[i] = sum
				o.trace[i] = append(o.trace[i], p)
			}
			sampled = now
		}
		if now-begin >= int64(length) {
			return
		}
		time.Sleep(nap)
	}
}

func (c *originClient) total() (n int64) {
	for _, conn := range c.conns {
		n += conn.received.Load()
	}
	return n
}

// send gives each connection grants of 20 ms of its share while there are tokens.
func (c *originClient) send(elapsed int64) {
	grant := len(chunk)
	if c.ctl != nil {
		rate := float64(c.ctl.Target())
		c.tokens = min(c.tokens+rate*float64(elapsed)/1e9, max(rate*0.02, 16<<10))
		grant = min(int(max(rate*0.02/float64(len(c.conns)), 4<<10)), len(chunk))
	}
	starved := false
	for again := true; again; {
		again = false
		for _, conn := range c.conns {
			if c.ctl != nil && c.tokens < float64(grant) {
				starved = starved || conn.writable()
				continue
			}
			n, e := sys.Send(conn.fd, chunk[:grant], false)
			if e == 0 {
				c.tokens -= float64(n)
				again = true
			}
		}
	}
	if starved {
		c.held += elapsed
	}
}

func (c *originConn) writable() bool {
	p := []unix.PollFd{{Fd: c.fd, Events: unix.POLLOUT}}
	n, _ := unix.Poll(p, 0)
	return n == 1
}

// sample reads TCP_INFO and turns the controller.
func (c *originClient) sample(now int64) point {
	var p point
	for _, conn := range c.conns {
		if sys.GetTCPInfo(conn.fd, &conn.info) != 0 {
			continue
		}
		p.repeated += conn.info.BytesRetrans
		if c.ctl == nil {
			continue
		}
		s := adapt.Sample(conn.info)
		if d, ok := conn.meter.Update(&s, now); ok && (d.Acked > 0 || d.Sent > 0) {
			c.ctl.Observe(d)
		}
	}
	if c.ctl == nil {
		return p
	}
	c.ctl.Tick(adapt.Usage{Held: c.held, Delayed: c.delayed}, now)
	c.held, c.delayed = 0, 0
	pace := c.ctl.PacingRate(len(c.conns))
	for _, conn := range c.conns {
		if conn.pace != pace {
			conn.pace = pace
			unix.SetsockoptUint64(int(conn.fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, uint64(pace))
		}
	}
	p.state = c.ctl.State()
	p.target, p.estimate = float64(p.state.Target), float64(p.state.Estimate)
	return p
}

func pick(ps []point, from, to float64, of func(point) float64) (values []float64) {
	for _, p := range ps {
		if p.at > from && p.at <= to {
			values = append(values, of(p))
		}
	}
	return values
}

func meanOf(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

func rate(p point) float64     { return p.rate }
func target(p point) float64   { return p.target }
func estimate(p point) float64 { return p.estimate }

func show(t *testing.T, ps []point, every int) {
	t.Helper()
	var out strings.Builder
	for i, p := range ps {
		if i%every == 0 {
			fmt.Fprintf(&out, "%5.1f s target %6.2f est %6.2f rate %6.2f Mbit/s queue %5.1f ms repeated %d %v %v cuts %v\n", p.at, p.target/mbit,
				p.estimate/mbit, p.rate/mbit, float64(p.state.Queue)/1e6, p.repeated, p.state.Phase, p.state.Verdict, p.state.Cuts)
		}
	}
	t.Log(out.String())
}

// congestions are those that the kernel has and lets a socket use.
func congestions() (names []string) {
	b, _ := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	for _, name := range []string{"cubic", "bbr"} {
		if slices.Contains(strings.Fields(string(b)), name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		names = []string{"reno"} // which every kernel has
	}
	return names
}

// wire is the part of a packet of a full segment that is payload: 1448 of 1514
// bytes, which is what tbf counts.
const wire = 1448.0 / 1514

func policy(t *testing.T) *adapt.Policy {
	t.Helper()
	p, err := adapt.NewPolicy(adapt.Config{Min: 128 << 10, Max: 50 << 20})
	must(t, err)
	return p
}

// measured says that the figures of the issue are to be measured, which takes
// minutes and a quiet machine.
func measured(t *testing.T) {
	t.Helper()
	if os.Getenv("FSERVE_ADAPT_FIGURES") != "1" {
		t.Skip("a measurement: make adapt")
	}
}

// TestOverNamespaces is the controller on real TCP for three seconds. What it
// finds depends on the machine; that it finds no more than there is does not.
func TestOverNamespaces(t *testing.T) {
	l := testenv.NewLine(t)
	l.SetRate(40e6, 64<<10)
	var o origin
	o.add(t, l, policy(t), 2, congestions()[0])
	o.run(3*time.Second, nil)
	last := o.trace[0][len(o.trace[0])-1]
	if s := last.state; s.Measured+s.Bounds == 0 || s.SRTT == 0 || s.Estimate == 0 {
		t.Errorf("nothing was learned: %+v", s)
	}
	// Ten per cent for what the buckets' bursts add in a tenth of a second.
	if got := last.estimate; got > 1.1*40*mbit {
		t.Errorf("estimate %.1f Mbit/s of a line of 40", got/mbit)
	}
	if t.Failed() {
		show(t, o.trace[0], 1)
	}
}

func TestFigureSteps(t *testing.T) {
	measured(t)
	for _, cc := range congestions() {
		for _, n := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s/%d", cc, n), func(t *testing.T) {
				const queue = 128 << 10
				l := testenv.NewLine(t)
				l.SetRate(100e6, queue)
				var o origin
				o.add(t, l, policy(t), n, cc)
				o.run(55*time.Second, map[int]func(){
					15: func() { l.SetRate(40e6, queue) },
					30: func() { l.SetRate(100e6, queue) },
				})
				checkSteps(t, o.trace[0])
			})
		}
	}
}

// checkSteps checks 55 seconds at 100, from 15 s on 40, and from 30 s on 100 Mbit/s.
func checkSteps(t *testing.T, ps []point) {
	t.Helper()
	for _, c := range []struct{ at, want float64 }{{4, 100}, {17, 40}} {
		got := meanOf(pick(ps, c.at-0.1, c.at+0.1, estimate)) / mbit
		t.Logf("estimate at %v s: %.1f Mbit/s, of %.1f", c.at, got, c.want*wire)
		if math.Abs(got-c.want*wire) > 0.1*c.want*wire {
			t.Errorf("estimate at %v s: %.1f Mbit/s, of %.1f", c.at, got, c.want*wire)
		}
	}
	over := 0.0
	for s := 18.0; s < 30; s++ {
		over = max(over, meanOf(pick(ps, s, s+1, target))/mbit)
	}
	back := math.Inf(1)
	for s := 54.0; s >= 30; s-- {
		if meanOf(pick(ps, s, s+1, rate)) < 90*wire*mbit {
			break
		}
		back = s - 30
	}
	var seconds []float64
	for s := 22.0; s < 30; s++ {
		seconds = append(seconds, meanOf(pick(ps, s, s+1, rate)))
	}
	dev := deviation(seconds) / meanOf(seconds)
	t.Logf("from 3 s after the step down: at most %.1f of 40 Mbit/s; back after %v s; oscillation %.1f %%", over, back, 100*dev)
	if over > 1.05*40 || back > 20 || dev > 0.08 {
		t.Error("missed")
	}
	if t.Failed() {
		show(t, ps, 2)
	}
}

func deviation(values []float64) float64 {
	avg, sum := meanOf(values), 0.0
	for _, v := range values {
		sum += (v - avg) * (v - avg)
	}
	return math.Sqrt(sum / float64(len(values)))
}

func TestFigureRetransmits(t *testing.T) {
	measured(t)
	for _, cc := range congestions() {
		for _, n := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s/%d", cc, n), func(t *testing.T) {
				var repeated, goodput [2]float64
				for i, p := range []*adapt.Policy{nil, policy(t)} {
					l := testenv.NewLine(t)
					l.SetRate(40e6, 48<<10)
					l.SetLoss(500)
					var o origin
					o.add(t, l, p, n, cc)
					o.run(20*time.Second, nil)
					ps := o.trace[0]
					again := pick(ps, 3, 20, func(p point) float64 { return float64(p.repeated) })
					repeated[i], goodput[i] = again[len(again)-1]-again[0], meanOf(pick(ps, 3, 20, rate))
				}
				t.Logf("sent again: %.0f -> %.0f KB (%.2f), goodput %.2f -> %.2f Mbit/s (%.3f)", repeated[0]/1e3, repeated[1]/1e3,
					repeated[1]/repeated[0], goodput[0]/mbit, goodput[1]/mbit, goodput[1]/goodput[0])
				if goodput[1] < 0.9*goodput[0] {
					t.Error("goodput: missed")
				}
				// What is lost by chance is lost at any rate: a congestion control
				// that loses nothing else leaves nothing to be saved.
				if chance := goodput[0] * 17 * 0.0005; repeated[0] > 2*chance && repeated[1] > 0.7*repeated[0] {
					t.Errorf("repetitions: missed (by chance: %.0f KB)", chance/1e3)
				}
			})
		}
	}
}

func TestFigureFairness(t *testing.T) {
	measured(t)
	for _, cc := range congestions() {
		l := testenv.NewLine(t)
		l.SetRate(100e6, 128<<10)
		var o origin
		for range 4 {
			o.add(t, l, policy(t), 1, cc)
		}
		o.run(20*time.Second, nil)
		sum, squares := 0.0, 0.0
		var rates []float64
		for _, ps := range o.trace {
			r := meanOf(pick(ps, 10, 20, rate)) / mbit
			rates = append(rates, math.Round(r*10)/10)
			sum += r
			squares += r * r
		}
		j := sum * sum / 4 / squares
		t.Logf("%s: Jain's index %.3f, Mbit/s %v", cc, j, rates)
		if j < 0.95 {
			t.Error("missed")
		}
	}
}
