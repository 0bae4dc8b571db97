package measure

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/adapt"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/internal/testenv"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

func adaptPolicy(t testing.TB, low, high int64) *adapt.Policy {
	t.Helper()
	p, err := adapt.NewPolicy(adapt.Config{Min: low, Max: high, SampleEvery: SampleEvery})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// kernel is what the loops are told of connections: each has a line of its own of
// so many bytes per second, and takes what it is allowed.
type kernel struct {
	rate int64 // of a connection
	lost int64 // one of so many segments; 0: none
	mark bool  // every segment (ECN)
	info map[*line]*sys.TCPInfo
	at   map[*line]int64
	max  int // asked in one turn
	now  int
	fail syscall.Errno
	less sys.TCPField // not known
}

func newKernel(rate int64) *kernel {
	return &kernel{rate: rate, info: make(map[*line]*sys.TCPInfo), at: make(map[*line]int64)}
}

func (k *kernel) ask(c *line, info *sys.TCPInfo) syscall.Errno {
	k.now++
	k.max = max(k.max, k.now)
	i := k.info[c]
	if i == nil {
		i = &sys.TCPInfo{RTT: 20_000, MinRTT: 20_000, MSS: 1448}
		k.info[c], k.at[c] = i, c.opened
	}
	dt := c.loop.s.now - k.at[c]
	k.at[c] = c.loop.s.now
	n := uint64(k.rate * dt / 1e9)
	i.BytesAcked += n
	i.BytesSent += n
	i.Delivered += uint32(n / 1448)
	if k.lost > 0 {
		again := n / uint64(k.lost)
		i.BytesSent += again
		i.BytesRetrans += again
		i.TotalRetrans += uint32(again / 1448)
	}
	if k.mark {
		i.DeliveredCE += uint32(n / 1448)
	}
	i.BusyTime += uint64(dt / 1000)
	i.DeliveryRate = uint64(k.rate)
	i.Known = ^sys.TCPField(0) &^ k.less
	*info = *i
	return k.fail
}

// line is a connection as one loop has it.
type line struct {
	loop    *loop
	tap     Tap
	flow    shape.Flow
	opened  int64
	sending bool
	fd      int32 // a real socket; 0: what the kernel of the test says
}

func (c *line) TCPInfo(info *sys.TCPInfo) syscall.Errno {
	if c.fd > 0 {
		return sys.GetTCPInfo(c.fd, info)
	}
	return c.loop.s.k.ask(c, info)
}
func (c *line) Pace(int64)    {}
func (c *line) Sending() bool { return c.sending }

// loop is what a loop has of the measurement.
type loop struct {
	Sampler
	s    *sampled
	tree *shape.Tree
}

// sampled is some loops on an injected clock, without sockets: their connections are
// what a kernel says.
type sampled struct {
	t      testing.TB
	a      *Adaptation
	shaper *shape.Shaper
	loops  []*loop
	k      *kernel
	now    int64
	lines  []*line
}

func newSampled(t testing.TB, loops int, cfg Config, k *kernel, event func(Event)) *sampled {
	t.Helper()
	shaper, err := shape.New(shape.Config{Loops: loops})
	if err != nil {
		t.Fatal(err)
	}
	s := &sampled{t: t, k: k, now: int64(time.Hour), a: New(cfg, event), shaper: shaper}
	for i := range loops {
		l := &loop{s: s, tree: shaper.Tree(i)}
		l.Init(s.a, l.tree)
		s.loops = append(s.loops, l)
	}
	return s
}

// begin begins a response for a client on a loop.
func (s *sampled) begin(i int, client string) *line {
	l := s.loops[i]
	c := &line{loop: l, sending: true, opened: s.now}
	class := s.shaper.Class([]byte("/a/f"))
	l.tree.Join(&c.flow, class, shape.ClientID(client), s.now)
	l.Measure(&c.tap, c, []byte(client), class, s.now)
	s.lines = append(s.lines, c)
	return c
}

// end ends a response and its connection.
func (s *sampled) end(c *line) {
	c.loop.tree.Rest(&c.flow, s.now)
	c.loop.End(&c.tap, false, s.now)
	c.sending = false
	c.loop.tree.Leave(&c.flow, s.now)
}

// run lets the loops turn every ms. Connections that are sending wait for tokens, or not.
func (s *sampled) run(d time.Duration, waiting bool) {
	for end := s.now + int64(d); s.now < end; {
		s.now += int64(time.Millisecond)
		for _, l := range s.loops {
			s.k.now = 0
			l.Run(s.now)
			if waiting {
				s.want(l)
			}
		}
	}
}

// want lets each connection of a loop ask for more at all times.
func (s *sampled) want(l *loop) {
	for f := l.tree.Next(s.now); f != nil; f = l.tree.Next(s.now) {
	}
	for _, c := range s.lines {
		if c.loop == l && c.sending && !c.flow.Waiting() {
			l.tree.Take(&c.flow, 1<<20, s.now)
		}
	}
}

func (s *sampled) client(name string) State {
	s.t.Helper()
	st, ok := s.a.Client(shape.ClientID(name))
	if !ok {
		s.t.Fatalf("%s is not known", name)
	}
	return st
}

// limit is the rate of a client in the tree of a loop.
func (s *sampled) limit(loop int, name string) shape.Rate {
	var r shape.Report
	s.loops[loop].tree.Report(s.now, 10, &r)
	for _, c := range r.Clients {
		if c.Name == name {
			return c.Limit
		}
	}
	return shape.Unlimited
}

// The target begins at the floor and is in force before the first byte. Where the
// bucket is the limit it rises; each change is in force on every loop.
func TestAdaptRaisesAndApplies(t *testing.T) {
	for _, loops := range []int{1, 2} {
		t.Run(fmt.Sprint(loops), func(t *testing.T) {
			s := newSampled(t, loops, Config{Client: adaptPolicy(t, mib, 50*mib)}, newKernel(mib), nil)
			for i := range loops {
				s.begin(i, "a")
				if got := s.limit(i, "a"); got != mib {
					t.Errorf("loop %d begins with %v", i, got)
				}
			}
			s.run(3*time.Second, true)
			st := s.client("a")
			if st.Target <= mib || st.Conns != loops || st.Measured+st.Bounds == 0 {
				t.Errorf("%+v", st)
			}
			for i := range loops {
				if got := s.limit(i, "a"); int64(got) != st.Target {
					t.Errorf("loop %d: %v, target %v", i, got, shape.Rate(st.Target))
				}
			}
		})
	}
}

// What arrives in rounds in which the loop itself was late is no news of the line; delays
// that buckets bear do not count.
func TestAdaptLateLoop(t *testing.T) {
	for pause, delayed := range map[time.Duration]bool{8 * time.Millisecond: false, 40 * time.Millisecond: true} {
		s := newSampled(t, 1, Config{Client: adaptPolicy(t, mib, 50*mib)}, newKernel(mib), nil)
		s.begin(0, "a")
		s.run(2*time.Second, true)
		before := s.client("a")
		for range 50 {
			s.now += int64(pause)
			s.run(100*time.Millisecond-pause, true)
		}
		st := s.client("a")
		news := st.Measured + st.Bounds + st.Rejected - before.Measured - before.Bounds - before.Rejected
		if late := st.Delayed - before.Delayed; late+news < 45 || delayed != (late > news) || !delayed && late > 0 {
			t.Errorf("%v in 100 ms: %d rounds are delayed, %d are news", pause, late, news)
		}
	}
}

// Loss cuts, and a loss that lasts trips the breaker, whose events are told; three trips
// freeze the client at the floor.
func TestAdaptTellsOfTheBreaker(t *testing.T) {
	var events []Event
	k := newKernel(4 * mib)
	s := newSampled(t, 1, Config{Client: adaptPolicy(t, 128*kib, 50*mib)}, k, func(e Event) { events = append(events, e) })
	c := s.begin(0, "a")
	s.run(3*time.Second, true)
	for range 400 { // it trips again where it has only just been tried again
		k.lost = 4
		if n := len(events); n > 0 && events[n-1].Kind == adapt.Froze {
			break
		} else if n > 0 && events[n-1].Kind == adapt.Tripped {
			k.lost = 0
		}
		s.run(time.Second, true)
	}
	n := len(events)
	if n < 3 || events[0].Kind != adapt.Tripped || events[n-1].Kind != adapt.Froze || events[0].Name != "a" || events[0].Level != shape.LevelClient {
		t.Fatalf("events %+v", events)
	}
	if st := s.client("a"); st.Target != 128*kib || s.limit(0, "a") != 128*kib || st.Cuts[adapt.CauseBreaker] == 0 {
		t.Errorf("frozen: %+v", st)
	}
	// Who leaves does not get away: time goes on, and the freeze ends by itself.
	s.end(c)
	s.run(10*time.Second, false)
	s.begin(0, "a")
	if got := s.limit(0, "a"); got != 128*kib {
		t.Errorf("after coming back: %v", got)
	}
	s.end(s.lines[1])
	s.run(6*time.Minute, false)
	if events[len(events)-1].Kind == adapt.Froze {
		t.Errorf("not thawed after six minutes: %+v", s.client("a"))
	}
}

// Three marked samples in a row cut to 0.3, and the very next grant is of the new rate: in
// the time after it no more passes than that rate and what is granted at once.
func TestAdaptCutsForMarksAtTheNextGrant(t *testing.T) {
	const rate = 20 * mib
	k := newKernel(rate)
	s := newSampled(t, 1, Config{Client: adaptPolicy(t, 64*kib, rate)}, k, nil)
	if _, _, err := s.a.SteerClient("a", Steer{Target: rate}); err != nil {
		t.Fatal(err)
	}
	c := s.begin(0, "a")
	s.run(2*time.Second, true)
	before := s.limit(0, "a")
	k.mark = true
	began := s.now
	for s.client("a").Cuts[adapt.CauseECN] == 0 {
		if s.run(time.Millisecond, true); s.now-began > int64(time.Second) {
			t.Fatalf("not cut: %+v", s.client("a"))
		}
	}
	if took := s.now - began; took < 2*fastPeriod || took > 4*fastPeriod {
		t.Errorf("cut after %v, want three samples", time.Duration(took))
	}
	after := s.limit(0, "a")
	if after != shape.Rate(s.client("a").Target) || after < before*28/100 || after > before*32/100 {
		t.Errorf("%v -> %v", before, after)
	}
	sent := s.clientSent(0, "a")
	s.run(90*time.Millisecond, true) // then comes the next sample
	if got, most := s.clientSent(0, "a")-sent, int64(after)*(90+40)/1000; got > most || got == 0 {
		t.Errorf("%d bytes within 90 ms, at most %d", got, most)
	}
	s.end(c)
}

// clientSent is what a client has been granted on a loop, in bytes.
func (s *sampled) clientSent(loop int, name string) int64 {
	var r shape.Report
	s.loops[loop].tree.Report(s.now, 10, &r)
	for _, c := range r.Clients {
		if c.Name == name {
			return c.Granted
		}
	}
	return 0
}

// Many short responses are measured too: what a connection did since the last sample
// counts when it ends.
func TestAdaptMeasuresShortResponses(t *testing.T) {
	s := newSampled(t, 1, Config{Client: adaptPolicy(t, 512*kib, 50*mib)}, newKernel(8*mib), nil)
	for range 100 {
		c := s.begin(0, "a")
		s.run(30*time.Millisecond, true)
		s.end(c)
	}
	if st := s.client("a"); st.Measured+st.Bounds == 0 || st.Used < 4*mib {
		t.Errorf("%+v", st)
	}
}

// A connection that cannot be asked about is not adapted and not asked again; nor is
// one of a kernel that tells too little.
func TestAdaptLeavesTheUnmeasuredAlone(t *testing.T) {
	for _, k := range []*kernel{{fail: syscall.EOPNOTSUPP}, {less: sys.TCPBytesAcked}, {fail: syscall.ENOSYS}} {
		k.rate, k.info, k.at = mib, make(map[*line]*sys.TCPInfo), make(map[*line]int64)
		s := newSampled(t, 1, Config{Client: adaptPolicy(t, mib, 50*mib)}, k, nil)
		c := s.begin(0, "a")
		s.run(time.Second, false)
		if st := s.loops[0].Counts(); c.tap.meter != unmeasurable || c.tap.On() || st.Sampled != 1 || st.Unsampled != 1 {
			t.Errorf("%v: asked %d times, %d in vain", k.fail, st.Sampled, st.Unsampled)
		}
		if got := s.limit(0, "a"); got != shape.Unlimited {
			t.Errorf("%v: held to %v", k.fail, got)
		}
	}
}

// A connection whose client changes when the kernel tells nothing of it any more is left
// alone, too.
func TestAdaptClientChangesUnmeasured(t *testing.T) {
	k := newKernel(mib)
	s := newSampled(t, 1, Config{Client: adaptPolicy(t, mib, 50*mib)}, k, nil)
	c := s.begin(0, "a")
	s.run(time.Second, false)
	k.fail = syscall.EBADF
	c.loop.Measure(&c.tap, c, []byte("b"), nil, s.now)
	if c.tap.On() || c.tap.meter != unmeasurable || unmeasurable.group != nil || unmeasurable.busy {
		t.Errorf("measured on: %v", c.tap.On())
	}
	s.end(c)
	s.run(10*time.Second, false)
	if n := s.a.taps.Load(); n != 0 {
		t.Errorf("%d connections are counted", n)
	}
}

// A path class is adapted as a whole.
func TestAdaptPath(t *testing.T) {
	cfg := Config{Paths: map[string]*adapt.Policy{"/a/": adaptPolicy(t, mib, 50*mib)}}
	s := newSampled(t, 2, cfg, newKernel(mib/2), nil)
	if _, _, err := s.shaper.SetPath("/a/", shape.Limit{}); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		s.begin(i%2, fmt.Sprint("c", i))
	}
	s.run(3*time.Second, true)
	r := s.a.Report(10)
	if len(r.Paths) != 1 || r.Paths[0].Name != "/a/" || r.Paths[0].Target <= mib || r.Paths[0].Conns != 4 || r.Known != 0 {
		t.Errorf("%+v", r)
	}
	for i := range 2 {
		var rep shape.Report
		s.loops[i].tree.Report(s.now, 0, &rep)
		for _, c := range rep.Classes {
			if c.Name == "/a/" && int64(c.Limit) != r.Paths[0].Target {
				t.Errorf("loop %d: %v", i, c.Limit)
			}
		}
	}
}

// What is switched off holds nobody, and what is switched on holds those who are there.
func TestAdaptConfigure(t *testing.T) {
	on := Config{Client: adaptPolicy(t, mib, 50*mib)}
	s := newSampled(t, 1, on, newKernel(8*mib), nil)
	s.begin(0, "a")
	s.run(time.Second, true)
	s.a.Configure(Config{})
	s.run(300*time.Millisecond, false)
	if got := s.limit(0, "a"); got != shape.Unlimited {
		t.Errorf("switched off: %v", got)
	}
	s.a.Configure(Config{Client: adaptPolicy(t, mib, 2*mib)})
	s.run(2*time.Second, true)
	if got := s.limit(0, "a"); got < mib || got > 2*mib {
		t.Errorf("switched on: %v", got)
	}
	for _, st := range []Steer{{Floor: 10 * mib}, {Ceiling: kib}, {Floor: 3, Ceiling: 2}, {Ceiling: 1 << 60}} {
		if _, _, err := s.a.SteerClient("a", st); err == nil {
			t.Errorf("%+v was taken", st)
		}
	}
	was, is, err := s.a.SteerClient("a", Steer{Floor: 100 * kib, Ceiling: 200 * kib})
	if err != nil || was.Max != 2*mib || is.Target != 200*kib {
		t.Errorf("%v: %+v, %+v", err, was, is)
	}
	s.run(300*time.Millisecond, false)
	if got := s.limit(0, "a"); got != 200*kib {
		t.Errorf("steered: %v", got)
	}
	s.a.Configure(on)
	if st := s.client("a"); st.Max != 200*kib {
		t.Errorf("its own bounds are lost: %+v", st)
	}
	if _, _, err := s.a.SteerPath("/none/", Steer{Target: mib}); err == nil {
		t.Error("a path class that is not adapted was steered")
	}
}

// The operator's limit of a client holds beside: the lower of both counts, and who waits
// for it is not taken to want a higher target.
func TestAdaptBesideALimit(t *testing.T) {
	s := newSampled(t, 1, Config{Client: adaptPolicy(t, mib, 50*mib)}, newKernel(256*kib), nil)
	if _, _, err := s.shaper.SetClient("a", shape.Limit{Rate: 256 * kib}, 0); err != nil {
		t.Fatal(err)
	}
	s.begin(0, "a")
	s.run(5*time.Second, true)
	if got := s.limit(0, "a"); got != 256*kib {
		t.Errorf("in force: %v", got)
	}
	if st := s.client("a"); st.Target > mib {
		t.Errorf("the target has drifted: %+v", st)
	}
	s.shaper.RemoveClient("a")
	s.run(10*time.Millisecond, true)
	if got := s.limit(0, "a"); got != mib {
		t.Errorf("in force: %v", got)
	}
}

// Ten thousand connections are sampled in pieces, each 4 to 10 times a second; when all
// is over nothing is left and nothing is due.
func TestSamplerIsSpread(t *testing.T) {
	k := newKernel(mib)
	s := newSampled(t, 1, Config{Client: adaptPolicy(t, mib, 50*mib)}, k, nil)
	const conns, clients = 10_000, 2000
	for i := range conns {
		s.begin(0, fmt.Sprint("c", i%clients))
	}
	l := s.loops[0]
	before := l.Counts().Sampled
	k.max = 0
	s.run(2*time.Second, false)
	each := float64(l.Counts().Sampled-before) / conns / 2
	if each < 3.5 || each > 10.5 || k.max > maxSamples {
		t.Errorf("each is sampled %.1f times a second, at most %d a turn", each, k.max)
	}
	for _, c := range s.lines {
		s.end(c)
	}
	s.run(10*time.Second, false)
	if len(l.groups) != 0 || s.a.taps.Load() != 0 || l.next != Never {
		t.Errorf("left: %d groups, %d connections, due %d", len(l.groups), s.a.taps.Load(), l.next)
	}
}

// A client with more connections than are sampled in a turn is sampled in several,
// each of its connections once in a period, whoever comes and goes meanwhile.
func TestSamplerWithALargeClient(t *testing.T) {
	seed := testenv.Seed(t)
	r := rand.New(rand.NewPCG(seed, 0))
	k := newKernel(64 * kib)
	s := newSampled(t, 1, Config{Client: adaptPolicy(t, mib, 500*mib)}, k, nil)
	open := make([]*line, 0, 1000)
	for range 500 {
		open = append(open, s.begin(0, "a"))
	}
	k.max, k.now = 0, 0
	least, most := len(open), len(open) // what is used is of the last seconds
	for range 2000 {
		s.run(time.Millisecond, false)
		if i := r.IntN(len(open)); r.IntN(2) == 0 {
			s.end(open[i])
			open[i] = open[len(open)-1]
			open = open[:len(open)-1]
		} else {
			open = append(open, s.begin(0, "a"))
		}
		least, most = min(least, len(open)), max(most, len(open))
	}
	st := s.client("a")
	low, high := 0.8*float64(least)*64*kib, 1.2*float64(most)*64*kib
	if got := float64(st.Used); got < low || got > high || k.max > maxSamples+2 {
		t.Errorf("%.0f bytes/s, want from %.0f to %.0f; at most %d a turn", got, low, high, k.max)
	}
}

// A loop that does not come to bring its part does not hold up the others.
func TestAdaptWithALoopThatHangs(t *testing.T) {
	k := newKernel(mib)
	s := newSampled(t, 2, Config{Client: adaptPolicy(t, mib, 50*mib)}, k, nil)
	s.begin(0, "a")
	s.begin(1, "a")
	s.run(time.Second, true)
	all := s.loops
	s.loops = all[:1]
	before := s.client("a")
	s.run(2*time.Second, true)
	if after := s.client("a"); after.Measured+after.Bounds+after.Rejected < before.Measured+before.Bounds+before.Rejected+15 {
		t.Errorf("no rounds while one loop hangs: %+v, %+v", before.Counters, after.Counters)
	}
	s.loops = all
	s.run(time.Second, true)
}

// A clock that jumps changes no target.
func TestAdaptClockJump(t *testing.T) {
	s := newSampled(t, 1, Config{Client: adaptPolicy(t, mib, 50*mib)}, newKernel(mib), nil)
	s.begin(0, "a")
	s.run(2*time.Second, true)
	was := s.client("a").Target
	s.now += int64(time.Hour)
	s.run(90*time.Millisecond, false)
	if is := s.client("a").Target; is > was*11/10 || is < was*9/10 {
		t.Errorf("target %d -> %d", was, is)
	}
	s.run(time.Second, true)
}

// What is asked for in each turn costs nothing to speak of, and sampling allocates
// nothing.
func TestSamplerDoesNotAllocate(t *testing.T) {
	s := newSampled(t, 1, Config{Client: adaptPolicy(t, mib, 50*mib)}, newKernel(mib), nil)
	for i := range 50 {
		s.begin(0, fmt.Sprint("c", i))
	}
	s.run(time.Second, true)
	if testenv.Race {
		t.Skip("the race detector allocates")
	}
	runtime.GC()
	if n := testing.AllocsPerRun(100, func() { s.run(10*time.Millisecond, true) }); n > 0 {
		t.Errorf("%v allocations in 10 ms", n)
	}
}

// threadTime is the CPU time of the calling thread, in ns.
func threadTime() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return t.Nano()
}

// BenchmarkSampler is the time of a turn in which as many connections are due as are
// sampled at once, on a real socket.
func BenchmarkSampler(b *testing.B) {
	k := newKernel(mib)
	s := newSampled(b, 1, Config{Client: adaptPolicy(b, mib, 50*mib)}, k, nil)
	fd, _ := testenv.Pair(b, testenv.SockOptions{})
	defer syscall.Close(fd)
	l := s.loops[0]
	for i := range 10_000 {
		s.begin(0, fmt.Sprint("c", i)).fd = int32(fd)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var took []int64 // of the thread's time: neighbours do not count
	for b.Loop() {
		s.now = max(s.now+int64(time.Millisecond), l.next)
		begin := threadTime()
		l.Run(s.now)
		took = append(took, threadTime()-begin)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)-1])/1e3, "µs-worst")
	b.ReportMetric(float64(took[len(took)*999/1000])/1e3, "µs-p99.9")
	b.ReportMetric(float64(l.Counts().Sampled)/float64(len(took)), "samples/turn")
}
