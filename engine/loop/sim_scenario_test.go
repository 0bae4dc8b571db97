package loop

import (
	"bytes"
	"math/rand/v2"
	"time"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/aio/aiosim"
)

var flood = bytes.Repeat([]byte("9"), 128<<10)

// worldOf returns the world of a seed. One in four is without errors.
func worldOf(seed uint64) aiosim.Config {
	r := rand.New(rand.NewPCG(seed, 4711))
	cfg := aiosim.Config{Seed: seed, Faults: aiosim.Swarm(seed), MaxTime: time.Hour}
	switch r.IntN(8) {
	case 0:
		cfg.MaxFDs = 3 + r.IntN(8)
	case 1:
		cfg.Faults.WaitError = 0.001
	case 2, 3:
		cfg.Faults = aiosim.Rough([]float64{0, 0.02, 0.1, 0.4}[r.IntN(4)])
	}
	return cfg
}

// newSimulation draws a scenario.
func newSimulation(cfg aiosim.Config) *simulation {
	m := emptySimulation(cfg)
	m.configure()
	for i := range 1 + m.rnd.IntN(4) {
		f := m.add(string(rune('a'+i)), m.size())
		if m.rnd.IntN(3) == 0 {
			f.SetCold(m.rnd.Int64N(f.Size()+1), 20_000)
		}
	}
	if cfg.Seed%4 == 3 {
		m.lease()
	}
	m.calm = cfg.MaxFDs == 0 && !hasErrors(cfg) && m.rnd.IntN(2) == 0
	if !m.calm {
		m.trouble()
	}
	for range 1 + m.rnd.IntN(4) {
		m.addClient()
	}
	m.end()
	if m.rnd.IntN(4) == 0 {
		m.limit()
	}
	if m.rnd.IntN(4) == 0 {
		m.remote()
	}
	return m
}

// hasErrors reports whether calls fail in a world: Swarm sets errors for all or none.
func hasErrors(cfg aiosim.Config) bool {
	f := cfg.Faults
	sum := f.AcceptError + f.OpenError + f.ReceiveError + f.SendError + f.ReadyError + f.FileError +
		f.StatError + f.StatTouch + f.FileOpen + f.DriverError + f.WaitError
	return sum > 0 || cfg.FailNth > 0
}

// configure draws a configuration: small bounds, so that they are reached.
func (m *simulation) configure() {
	r := m.rnd
	m.mode = aio.Mode(r.IntN(4))
	m.perTurn = uint32(r.IntN(4)) // 0: as it is outside
	m.cfg = Config{
		HeaderTimeout: 5 * time.Second, IdleTimeout: 6 * time.Second, SendTimeout: 4 * time.Second,
		LingerTimeout: time.Second,
		TurnBudget:    1 << (9 + r.IntN(9)),
		Files: openfile.Config{
			Max:      1 + r.IntN(4),
			MaxBody:  1 << (8 + r.IntN(6)),
			Headroom: r.IntN(2) * r.IntN(1000),
			MaxBytes: 1 << (9 + r.IntN(12)),
		},
	}
}

// size draws the size of a file.
func (m *simulation) size() int64 {
	switch m.rnd.IntN(4) {
	case 0:
		return m.rnd.Int64N(10)
	case 1:
		return m.rnd.Int64N(3 * tailBytes)
	case 2:
		return m.rnd.Int64N(20_000)
	}
	return m.rnd.Int64N(400_000)
}

// trouble lets files change and go bad during the run, and the loop end early
// or run out of connections.
func (m *simulation) trouble() {
	for range m.rnd.IntN(5) {
		name, what := m.names[m.rnd.IntN(len(m.names))], m.rnd.IntN(7)
		m.w.At(m.soon(), func() { m.hurt(name, what) })
	}
	if m.leases != nil && m.rnd.IntN(2) == 0 { // somebody writes again and again
		at, every := m.soon(), 1+m.soon()/4
		for range m.rnd.IntN(20) {
			name := m.names[m.rnd.IntN(len(m.names))]
			m.w.At(at, func() { m.hurt(name, 1) })
			at += every
		}
	}
	switch m.rnd.IntN(8) {
	case 0:
		m.w.At(m.soon(), m.drain)
	case 4:
		m.cfg.Bounds = &Bounds{Buffered: 1 << (4 + m.rnd.IntN(13))}
	case 1:
		m.w.At(m.soon(), m.stop)
	case 2:
		m.w.At(m.soon(), m.drain)
		m.w.At(m.soon(), m.stop)
	case 3:
		m.cfg.Bounds = &Bounds{Conns: 1 + m.rnd.IntN(2)}
	}
}

// soon draws a time, most often within the first milliseconds.
func (m *simulation) soon() time.Duration {
	return time.Duration(m.rnd.Int64N([]int64{2e6, 2e6, 20e6, 3e9}[m.rnd.IntN(4)]))
}

func (m *simulation) hurt(name string, what int) {
	f := m.files[name].current()
	switch what {
	case 0:
		m.write(f, func() { f.Truncate(f.Size() / 2) })
	case 1:
		if m.allLeased(name) {
			m.write(f, f.Overwrite)
			return
		}
		m.write(f, f.Modify)
	case 2:
		f.Touch()
	case 3:
		f.SetBad(f.Size()/2, 10)
	case 4:
		f.Evict()
	case 5:
		m.add(name, f.Size()+1)
	case 6:
		m.remove(name)
	}
}

// end decides how the loop ends if nothing has ended it before.
func (m *simulation) end() {
	over := m.drain
	if m.rnd.IntN(4) == 0 {
		over = m.stop
	}
	m.w.WhenDone(func() {
		if m.loop != nil {
			over()
		}
	})
}

// addRequest draws a request and returns the bytes that ask for it.
func (m *simulation) addRequest() (*simRequest, []byte) {
	r := &simRequest{kind: simKind(m.rnd.IntN(int(kindClose)))}
	switch r.kind {
	case kindMemory:
		r.n = m.rnd.IntN([]int{10, 2000, len(m.memory)}[m.rnd.IntN(3)])
	case kindRange:
		m.addRanges(r, 1)
	case kindParts:
		m.addRanges(r, 1+m.rnd.IntN(4))
	case kindPair:
		r.names = []string{m.name(), m.name()}
	case kindEcho:
		r.n = m.rnd.IntN(5000)
	}
	m.vary(r)
	padding := m.rnd.IntN(30)
	switch m.rnd.IntN(40) {
	case 0, 1, 2, 3, 4:
		padding = m.rnd.IntN(20_000)
	case 5:
		padding = m.rnd.IntN(64 << 10)
	}
	return r, m.wire(r, padding)
}

func (m *simulation) name() string { return m.names[m.rnd.IntN(len(m.names))] }

func (m *simulation) addRanges(r *simRequest, n int) {
	r.names = []string{m.name()}
	size := m.files[r.names[0]].current().Size()
	for range n {
		g := [2]int64{0, size + m.rnd.Int64N(10)}
		if m.rnd.IntN(2) == 0 {
			g[0] = m.rnd.Int64N(size + 1)
			g[1] = m.rnd.Int64N(size + 1)
		}
		r.ranges = append(r.ranges, g)
	}
}

// vary draws what is special about a request. What ends the connection comes
// in worlds with trouble only.
func (m *simulation) vary(r *simRequest) {
	r.interim = m.rnd.IntN(10) == 0
	r.padding = m.rnd.IntN(2) * m.rnd.IntN(800)
	r.source = m.rnd.IntN(4) == 0
	if r.kind != kindEcho && m.rnd.IntN(5) == 0 {
		r.late = 1 + m.soon()/2
		r.cold = len(r.names) == 1
	}
	if m.calm {
		return
	}
	switch m.rnd.IntN(24) {
	case 0:
		r.last = true
	case 1:
		r.last, r.linger = true, true
	case 2:
		r.leave = true
	case 3:
		r.kind = kindClose
	case 4:
		r.kind = kindReset
	}
	if r.kind == kindClose || r.kind == kindReset {
		r.names, r.cold, r.interim = nil, false, false
	}
}

// addClient adds a client with some requests and some manner of ending.
func (m *simulation) addClient() {
	cfg := aiosim.ClientConfig{
		Start:  m.soon() / 4,
		Window: 1 << (9 + m.rnd.IntN(9)),
	}
	if m.rnd.IntN(4) == 0 {
		cfg.ReadRate = 1 << (19 + m.rnd.IntN(6)) // a window is read well within the linger time
	}
	requests, script, prompt := m.asking()
	if m.rnd.IntN(4) == 0 {
		cfg.ReceiveWindow = 1 << (4 + m.rnd.IntN(12))
		prompt = prompt && cfg.ReceiveWindow >= 4<<10
	}
	expects := 0
	for _, r := range requests {
		expects += r.expects()
	}
	e := m.lastSteps(expects)
	cfg.Script = append(script, e.steps...)
	connect := m.dial
	switch m.rnd.IntN(5) {
	case 0:
		connect = m.adopt
	case 1:
		connect = m.adopt
		e.patient = m.secure(&cfg, e)
	}
	c := connect(cfg, requests...)
	c.patient = prompt && e.patient
	c.floods = e.floods
	c.silent = m.rnd.IntN(3) == 0
	if c.floods {
		c.expects++
	}
}

// asking draws requests and the steps that send them; prompt is false if that
// may take longer than the engine waits.
func (m *simulation) asking() (requests []*simRequest, script []aiosim.Step, prompt bool) {
	prompt = true
	var together []byte
	style, expects := m.rnd.IntN(5), 0
	for range 1 + m.rnd.IntN(5) {
		r, wire := m.addRequest()
		requests = append(requests, r)
		prompt = prompt && !r.interim // it is sent at once or the connection ends
		expects += r.expects()
		switch style {
		case 0: // one after the other
			script = append(script, aiosim.Write(wire), aiosim.AwaitResponses(expects))
		case 1: // with pauses in which files grow old
			script = append(script, aiosim.Write(wire), aiosim.AwaitResponses(expects),
				aiosim.Sleep(time.Duration(m.rnd.Int64N(int64(2*time.Second)))))
		case 2: // pipelined
			script = append(script, aiosim.Write(wire))
		case 3: // pipelined, in one piece
			together = append(together, wire...)
		case 4: // in pieces
			pause := time.Millisecond
			if m.rnd.IntN(3) == 0 {
				pause, prompt = 2*time.Second, false
			}
			script = append(script, m.pieces4(wire, pause)...)
		}
	}
	if style == 3 {
		script = append(script, aiosim.Write(together))
	}
	return requests, script, prompt
}

// pieces4 writes wire in four pieces at most, with pauses between them.
func (m *simulation) pieces4(wire []byte, pause time.Duration) []aiosim.Step {
	var script []aiosim.Step
	for range 3 {
		n := m.rnd.IntN(len(wire) + 1)
		script = append(script, aiosim.Write(wire[:n]), aiosim.Sleep(pause))
		wire = wire[n:]
	}
	return append(script, aiosim.Write(wire))
}

// lastSteps is the last steps of a script.
type lastSteps struct {
	steps   []aiosim.Step
	patient bool // the client reads everything in time
	floods  bool // it sends a line that is too long
}

// lastSteps draws the last steps of a script that expects n answers.
func (m *simulation) lastSteps(n int) lastSteps {
	at := aiosim.Await(1 + m.rnd.Int64N(20_000))
	steps := func(s ...aiosim.Step) []aiosim.Step { return s }
	switch m.rnd.IntN(13) {
	case 0:
		return lastSteps{steps: steps(at, aiosim.Reset())}
	case 1:
		return lastSteps{steps: steps(at, aiosim.StopReading())}
	case 2:
		return lastSteps{steps: steps(at, aiosim.Close())}
	case 3:
		return lastSteps{steps: steps(aiosim.CloseWrite()), patient: true}
	case 4: // half a request, and half a connection
		return lastSteps{steps: steps(aiosim.Write([]byte("12")), aiosim.CloseWrite()), patient: true}
	case 5: // half a request, and nothing more
		return lastSteps{steps: steps(aiosim.Write([]byte("12"))), patient: true}
	case 6: // idle until it is thrown out
		return lastSteps{patient: true}
	case 7:
		return lastSteps{steps: steps(aiosim.Write(flood)), patient: true, floods: true}
	case 8: // a pause that the engine waits for
		return lastSteps{steps: steps(aiosim.StopReading(), aiosim.Sleep(time.Second), aiosim.StartReading(),
			aiosim.AwaitResponses(n), aiosim.Close()), patient: true}
	case 9: // and one that is too long
		return lastSteps{steps: steps(aiosim.StopReading(), aiosim.Sleep(9*time.Second), aiosim.StartReading(),
			aiosim.AwaitResponses(n), aiosim.Close())}
	}
	return lastSteps{steps: steps(aiosim.AwaitResponses(n), aiosim.Close()), patient: true}
}
