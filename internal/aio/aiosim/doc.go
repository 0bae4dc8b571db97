// Package aiosim is an aio.Driver without a kernel: a deterministic simulation
// of sockets, peers, files and time, for tests of the code above a driver.
//
// A World is made from a seed. It holds virtual files (File), virtual peers
// (Client) that connect to virtual listeners (Listener), and the one driver
// (NewDriver) that the loop under test talks to. Time is virtual: Wait moves it
// to the next thing that happens, or to its own timeout. The same seed and the
// same calls give the same world, event for event; Trace is a hash of all of it.
//
// # What the world does to its user
//
// Faults sets how often the driver takes the freedoms that the contract gives
// (short sends, blocking without need, split receives, reordered and late
// events) and how often calls fail. The zero Faults is a polite world. Swarm
// draws a different mixture for each seed. FailNth fails exactly one call, the
// n-th of those that can fail; EachFailure walks n until none failed.
//
// # What the world checks
//
// The driver checks every rule of package aio from its side: tokens that are
// not open or of an earlier use, two blocked attempts on a slot, a file closed
// under a blocked attempt, sends after CloseWrite or from received memory of an
// earlier Wait, a slot reused before Closed, calls from another goroutine and
// more. The first breach ends the run: Wait answers with an error from then on.
// Clients compare what they receive with what they Expect. Check, called at the
// end, returns everything that was found, what leaked, the seed and the log.
//
// # A test
//
//	w := aiosim.New(aiosim.Config{Seed: seed, Faults: aiosim.Swarm(seed)})
//	file := w.AddFile("a", 100_000)
//	ln := w.NewListener()
//	c := w.Dial(ln, aiosim.ClientConfig{Script: []aiosim.Step{
//		aiosim.Write([]byte("GET a\n")),
//		aiosim.AwaitResponses(1),
//		aiosim.Close(),
//	}})
//	c.Expect(file.Whole())
//	w.WhenDone(func() { eng.Stop() }) // every client has come to its end
//	eng.Run()                         // NewDriver, Listen(ln.FD), Wait, ..., Destroy
//	if err := w.Check(); err != nil {
//		t.Fatal(err)
//	}
//
// What Check prints holds the seed: run it alone, with a larger Config.LogSize
// or with Config.Panic, to see more. MaxTurn, Client.Held, Client.CorkTimeouts
// and Driver.Stats are there for tests of how well, not only whether, it was
// done.
//
// Files change at once. Changes that At makes happen inside Wait, so that what
// Stat told holds until the next Wait (StatTouch aside).
//
// Descriptors are virtual too: whoever closes one that the driver does not own
// calls World.CloseFD (sockets) or World.CloseFile, never close(2). Their
// numbers are above any real one and never given twice.
//
// # Concurrency
//
// A World belongs to one goroutine at a time: first to the one that sets it up,
// then to the one that called NewDriver, until Destroy. Functions given to At,
// WhenDone, Do and the like run on the latter, inside Wait, where they stand
// for other threads: they may call World and Client methods and the driver's
// Wake, but nothing else of the driver. Only Wake may be called at any time
// from anywhere.
package aiosim
