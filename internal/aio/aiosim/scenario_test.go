package aiosim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// scenario is a random world with a reference user on it. All of it follows
// from the seed.
type scenario struct {
	w     *World
	rnd   *rand.Rand
	ln    *Listener
	names []string
	files map[string][]*File // all that a name stood for
	user  *refServer
}

func newScenario(cfg Config, b bug) *scenario {
	w := New(cfg)
	s := &scenario{w: w, rnd: w.Rand(), ln: w.NewListener(), files: make(map[string][]*File)}
	s.user = &refServer{w: w, ln: s.ln, bug: b}
	s.add("a", s.rnd.Int64N(100))
	s.add("b", 1000+s.rnd.Int64N(100_000))
	for range 1 + s.rnd.IntN(4) {
		s.addClient()
	}
	w.WhenDone(func() { s.user.stop = true; s.user.d.Wake() })
	return s
}

func (s *scenario) add(name string, size int64) {
	f := s.w.AddFile(name, size)
	if len(s.files[name]) == 0 {
		s.names = append(s.names, name)
	}
	s.files[name] = append(s.files[name], f)
	switch s.rnd.IntN(4) {
	case 0:
		f.Evict()
	case 1:
		f.SetCold(s.rnd.Int64N(size+1), 20_000)
	}
}

// trouble lets the files change and go bad during the run.
func (s *scenario) trouble() *scenario {
	for range s.rnd.IntN(4) {
		name := s.names[s.rnd.IntN(len(s.names))]
		at := time.Duration(s.rnd.Int64N(2e6))
		what := s.rnd.IntN(6)
		s.w.At(at, func() { s.hurt(name, what) })
	}
	return s
}

func (s *scenario) hurt(name string, what int) {
	list := s.files[name]
	f := list[len(list)-1]
	switch what {
	case 0:
		f.Truncate(f.Size() / 2)
	case 1:
		f.Modify()
	case 2:
		f.Touch()
	case 3:
		f.SetBad(f.Size()/2, 10)
	case 4:
		f.Evict()
	case 5:
		s.add(name, f.Size()+1)
	}
}

// answers returns what may be answered to a request for a name: all that it
// has stood for when the answer begins.
func (s *scenario) answers(name string) func() [][]Piece {
	return func() [][]Piece {
		var a [][]Piece
		for _, f := range s.files[name] {
			for _, v := range f.Versions() {
				a = append(a, []Piece{Bytes(fmt.Appendf(nil, "%d\n", v.Size)), v.Whole()})
			}
		}
		return a
	}
}

// addClient adds a client with some requests and some manner of ending.
func (s *scenario) addClient() {
	cfg := ClientConfig{
		Start:  time.Duration(s.rnd.Int64N(3e6)),
		Window: 1 << (9 + s.rnd.IntN(9)),
	}
	if s.rnd.IntN(4) == 0 {
		cfg.ReadRate = 1 << (14 + s.rnd.IntN(8))
	}
	var late []func() [][]Piece
	pipelined := s.rnd.IntN(3) == 0
	n := 1 + s.rnd.IntN(3)
	for i := range n {
		req, answer := s.request()
		late = append(late, answer)
		cfg.Script = append(cfg.Script, Write(req))
		if !pipelined {
			cfg.Script = append(cfg.Script, AwaitResponses(i+1))
		}
	}
	cfg.Script = append(cfg.Script, s.ending(n)...)
	c := s.w.Dial(s.ln, cfg)
	for _, f := range late {
		c.ExpectLater(f)
	}
}

func (s *scenario) request() ([]byte, func() [][]Piece) {
	if s.rnd.IntN(3) == 0 {
		req, answer := echo(1 + s.rnd.IntN(5000))
		return req, func() [][]Piece { return [][]Piece{{Bytes(answer)}} }
	}
	name := s.names[s.rnd.IntN(len(s.names))]
	return []byte("GET " + name + "\n"), s.answers(name)
}

// ending returns the last steps of a script with n requests.
func (s *scenario) ending(n int) []Step {
	at := Await(1 + s.rnd.Int64N(20_000))
	switch s.rnd.IntN(8) {
	case 0:
		return []Step{at, Reset()}
	case 1:
		return []Step{at, StopReading()}
	case 2:
		return []Step{at, Close()}
	case 3:
		return []Step{CloseWrite()}
	case 4:
		return []Step{StopReading(), Sleep(3 * time.Second), StartReading(), AwaitResponses(n), Close()}
	case 5:
		return nil // idle until it is thrown out
	}
	return []Step{AwaitResponses(n), Close()}
}

// run lets the reference user serve and returns what is wrong afterwards.
func (s *scenario) run() error {
	s.user.run()
	return s.w.Check()
}
