package aiosim

import (
	"slices"
	"strings"
	"testing"

	"github.com/fserve/fserve/internal/aio"
)

// runs is the number of seeds, fewer with -short.
func runs(t *testing.T) uint64 {
	if testing.Short() {
		return 1000
	}
	return 5000
}

// TestReference shows that the world finds nothing wrong with a user that does
// everything right, and that what it does to it really happens.
func TestReference(t *testing.T) {
	var ends [4]int
	var sum aio.Stats
	whole, wrongAt, corks := 0, 0, 0
	for seed := range runs(t) {
		s := newScenario(Config{Seed: seed, Faults: Swarm(seed)}, noBug).trouble()
		if err := s.run(); err != nil {
			t.Fatal(err)
		}
		if s.user.bytes != s.w.Taken() {
			t.Fatalf("seed %d: attempts moved %d bytes, sockets took %d", seed, s.user.bytes, s.w.Taken())
		}
		for _, c := range s.w.clients {
			r := c.Result()
			ends[r.End]++
			whole += r.Responses
			corks += c.CorkTimeouts()
			if r.WrongAt >= 0 {
				wrongAt++
			}
		}
		addStats(&sum, s.w.drv)
	}
	for e, n := range ends {
		if n == 0 {
			t.Errorf("no connection ended with %v", End(e))
		}
	}
	if sum.Errors[aio.Wait] == 0 || sum.Errors[aio.Fatal] == 0 {
		t.Errorf("errors by class: %v", sum.Errors)
	}
	for v, n := range sum.Bytes {
		if n == 0 {
			t.Errorf("no bytes went by %v", aio.Via(v))
		}
	}
	if whole == 0 || sum.ColdReads == 0 || sum.StepsDown[aio.ViaSendfile] == 0 || sum.NoBuffers == 0 {
		t.Errorf("%d whole responses, %d cold reads, %d receives without memory, steps down %v",
			whole, sum.ColdReads, sum.NoBuffers, sum.StepsDown)
	}
	if wrongAt != 0 {
		t.Errorf("%d clients saw a wrong byte", wrongAt)
	}
	t.Logf("ends %v, %d whole responses, %d corks", ends, whole, corks)
}

func addStats(sum *aio.Stats, d *driver) {
	st := &d.stats
	sum.ColdReads += st.ColdReads
	sum.NoBuffers += st.NoBuffers
	for i := range st.Errors {
		sum.Errors[i] += st.Errors[i]
	}
	for i := range st.Bytes {
		sum.Bytes[i] += st.Bytes[i]
		sum.StepsDown[i] += st.StepsDown[i]
	}
}

func TestSameSeedSameTrace(t *testing.T) {
	seen := make(map[uint64]bool)
	for seed := range uint64(300) {
		var hashes [2]uint64
		var logs [2]string
		for i := range hashes {
			s := newScenario(Config{Seed: seed, Faults: Swarm(seed), LogSize: 1 << 16}, noBug).trouble()
			if err := s.run(); err != nil {
				t.Fatal(err)
			}
			hashes[i], logs[i] = s.w.Trace(), s.w.Log()
		}
		if hashes[0] != hashes[1] || logs[0] != logs[1] {
			t.Fatalf("seed %d: traces %x and %x\n%s\n%s", seed, hashes[0], hashes[1], logs[0], logs[1])
		}
		if seen[hashes[0]] {
			t.Fatalf("seed %d has the trace of another seed", seed)
		}
		seen[hashes[0]] = true
	}
}

func TestPoliteWorld(t *testing.T) {
	for seed := range uint64(300) {
		s := newScenario(Config{Seed: seed}, noBug)
		if err := s.run(); err != nil {
			t.Fatal(err)
		}
		for _, c := range s.w.clients {
			if r := c.Result(); !r.Left && !c.stopped && r.Responses < len(c.check.expected) {
				t.Fatalf("seed %d: %v\n%s", seed, c, s.w.Log())
			}
		}
	}
}

// TestAlways shows that no freedom stops the world, however often it is taken.
func TestAlways(t *testing.T) {
	whole := 0
	for seed := range uint64(200) {
		for _, f := range []Faults{Rough(1), Hostile(1, 0.02)} {
			s := newScenario(Config{Seed: seed, Faults: f}, noBug).trouble()
			if err := s.run(); err != nil {
				t.Fatal(err)
			}
			for _, c := range s.w.clients {
				whole += c.Result().Responses
			}
		}
	}
	if whole == 0 {
		t.Error("no response arrived whole")
	}
}

// TestModes shows which ways each mode takes, and that it takes them right.
func TestModes(t *testing.T) {
	for mode, want := range map[aio.Mode][]aio.Via{
		aio.Auto:     {aio.ViaSendfile, aio.ViaSplice, aio.ViaCopy},
		aio.Sendfile: {aio.ViaSendfile, aio.ViaCopy},
		aio.Splice:   {aio.ViaSplice, aio.ViaCopy},
		aio.Copy:     {aio.ViaCopy},
	} {
		var sum aio.Stats
		for seed := range uint64(100) {
			s := newScenario(Config{Seed: seed, Faults: Faults{StepDown: 0.5}}, noBug)
			s.user.mode = mode
			if err := s.run(); err != nil {
				t.Fatal(err)
			}
			addStats(&sum, s.w.drv)
		}
		for via := aio.ViaSendfile; via < aio.NumVia; via++ {
			if got := sum.Bytes[via] > 0; got != slices.Contains(want, via) {
				t.Errorf("mode %d: bytes by way %v", mode, sum.Bytes)
			}
		}
	}
}

func TestEachFailure(t *testing.T) {
	failed := make(map[string]int)
	for seed := range uint64(16) {
		cfg := Config{Seed: seed, FailWaits: seed%4 == 0} // runs grow with the square of the calls
		if seed%2 == 1 {
			cfg.Faults = Rough(0.2)
		}
		n := EachFailure(cfg, func(cfg Config) *World {
			s := newScenario(cfg, noBug)
			if err := s.run(); err != nil {
				t.Fatal(err)
			}
			failed[s.w.Injected()]++
			return s.w
		})
		if n < 10 {
			t.Errorf("seed %d: only %d calls could fail", seed, n)
		}
	}
	for _, k := range []kind{kNewDriver, kListen, kOpen, kAccepted, kReceived, kReady, kSend, kSendFile,
		kReadAt, kStat, kOpenFile, kWait} {
		if failed[k.String()] == 0 {
			t.Errorf("%v never failed", k)
		}
	}
	if failed[""] != 16 {
		t.Errorf("%d runs without a failure, want one for each seed", failed[""])
	}
}

// TestFailNthChangesNothingElse: until the call that fails a run is the one
// without a failure.
func TestFailNthChangesNothingElse(t *testing.T) {
	run := func(n int) string {
		s := newScenario(Config{Seed: 3, Faults: Rough(0.2), FailNth: n, LogSize: 1 << 16}, noBug)
		if err := s.run(); err != nil {
			t.Fatal(err)
		}
		return s.w.Log()
	}
	good := run(1 << 30)
	n := 1
	for ; ; n++ {
		same, _, failed := strings.Cut(run(n), "! fails")
		if !failed {
			break
		}
		same = same[:strings.LastIndexByte(same, '\n')+1]
		if !strings.HasPrefix(good, same) {
			t.Fatalf("with call %d failing the run begins\n%s\nwithout\n%s", n, same, good)
		}
	}
	if n < 20 {
		t.Errorf("only %d calls could fail", n-1)
	}
}

// TestPlantedBugs shows for each check that it finds what it is for.
func TestPlantedBugs(t *testing.T) {
	const wrong = "took a wrong response for whole"
	want := [numBug]string{
		staleSend:           "send of bytes that were received before",
		writesReceived:      "receive memory was written to",
		doubleClose:         "after Close",
		callAfterClosed:     "after Closed",
		oldGeneration:       "the last one was",
		sameGeneration:      "with the generation of its last use",
		neverOpened:         "which was never open",
		reusesSlot:          "before its Closed",
		opensOpenSlot:       "open of slot 0, which is open",
		driverBits:          "the upper 8 bits",
		hugeSlot:            "which is none",
		secondAttempt:       "while an attempt is blocked",
		closesBlockedFile:   "is blocked on it",
		closesPinned:        "operations name it",
		closesFileEarly:     "is blocked on it",
		sendAfterCloseWrite: "after CloseWrite",
		sendToListener:      "which is a listener",
		acceptsConnection:   "which is no listener",
		acceptsTwice:        "whose stream goes on",
		opensFile:           "which is of another kind",
		opensUnknownFD:      "open of descriptor 3, which is not open",
		opensTwice:          "which the driver has already",
		closesDriversFD:     "which the driver owns",
		closesFDTwice:       "which is not open",
		closesSocketAsFile:  "which is no file",
		negativeLength:      "length -1",
		negativeOffset:      "offset -1",
		sendsClosedFile:     "which is no open file",
		otherGoroutine:      "called on another goroutine",
		callInWait:          "called during another call",
		callAfterDestroy:    "now called after Destroy",
		wakeAfterDestroy:    "wake called after Destroy",
		noRoomForEvents:     "without room for events",
		spins:               "the loop spins",
		endless:             "not at an end after 24h",
		forgetsAccept:       "nothing will ever happen",
		forgetsPush:         "bytes of a whole response are held back",
		ignoresEOF:          wrong,
		ignoresChange:       wrong,
		skipsAhead:          wrong,
		sendsMore:           "received more than was expected",
		leaksFile:           "was not closed",
		leaksAccepted:       "was neither opened nor closed",
		leaksListener:       "was neither listened on nor closed",
		leaksSlot:           "was open when Destroy was called",
		leaksDriver:         "the driver was not destroyed",
		miscounts:           "the sockets took",
	}
	for b := noBug + 1; b < numBug; b++ {
		if seed, found := findBug(b, want[b]); !found {
			t.Errorf("bug %d: no seed gives %q", b, want[b])
		} else {
			t.Logf("bug %2d: %-45q at seed %d", b, want[b], seed)
		}
	}
}

// findBug looks for a seed with which a planted bug gives a message.
func findBug(b bug, message string) (uint64, bool) {
	for seed := range uint64(2000) {
		cfg := Config{Seed: seed, Faults: Swarm(seed), CleanDestroy: b == leaksSlot, LogSize: 1}
		s := newScenario(cfg, b).trouble()
		if err := s.run(); err != nil && strings.Contains(findings(err), message) {
			return seed, true
		}
	}
	return 0, false
}

// findings returns what Check found, without log and stack.
func findings(err error) string {
	f, _, _ := strings.Cut(err.Error(), "\nlog:")
	return f
}
