package aiosim

import (
	"bytes"
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/aio"
)

func TestAtKeepsOrder(t *testing.T) {
	r := newRig(t, Config{})
	var got []int
	for i := range 20 {
		r.w.At(time.Duration(i%2)*time.Second, func() { got = append(got, i) })
	}
	r.run()
	for i, n := range got {
		if want := 2 * i % 20; n != want && n != want+1 || i/10 != n%2 {
			t.Fatalf("order %v", got)
		}
	}
	if len(got) != 20 {
		t.Fatalf("%d functions were called", len(got))
	}
	r.end()
}

func TestTimeoutTakesItsTime(t *testing.T) {
	r := newRig(t, Config{})
	for _, d := range []time.Duration{0, 1, time.Microsecond, time.Hour} {
		from := r.d.Now()
		if ev := r.wait(d); len(ev) != 0 {
			t.Fatalf("events %+v", ev)
		}
		if took := time.Duration(r.d.Now() - from); took < d || took > d+time.Microsecond {
			t.Errorf("a wait of %v took %v", d, took)
		}
	}
	r.end()
}

func TestWakeEndsOneWait(t *testing.T) {
	r := newRig(t, Config{})
	r.w.At(time.Second, r.d.Wake)
	from := r.w.Now()
	if ev := r.wait(time.Hour); len(ev) != 0 || r.w.Now()-from > 1.1e9 {
		t.Fatalf("after %d ns: %+v", r.w.Now()-from, ev)
	}
	r.d.Wake()
	r.d.Wake()
	r.wait(time.Hour)
	if r.wait(time.Hour); r.w.Now()-from < 3600e9 {
		t.Fatal("two calls of Wake ended two waits")
	}
	r.end()
}

// TestWakeFromElsewhere is for the race detector above all.
func TestWakeFromElsewhere(t *testing.T) {
	r := newRig(t, Config{})
	r.w.OnIdle(r.w.AwaitWake)
	for range 100 {
		done := make(chan struct{})
		go func() { defer close(done); r.d.Wake() }()
		if ev := r.wait(-1); len(ev) != 0 {
			t.Fatalf("events %+v", ev)
		}
		<-done
	}
	r.end()
}

func TestIdle(t *testing.T) {
	r := newRig(t, Config{})
	asked := 0
	r.w.OnIdle(func() bool { asked++; return asked < 3 })
	if _, err := r.d.Wait(r.ev[:], -1); err != ErrIdle || asked != 3 {
		t.Fatalf("error %v after asking %d times", err, asked)
	}
	r.end()
}

func TestReceivedMemoryIsPoisonAfterWait(t *testing.T) {
	r := newRig(t, Config{})
	_, tok := r.connect(ClientConfig{Script: []Step{Write([]byte("hello")), Sleep(time.Second)}})
	e := r.only(aio.Received)
	if string(e.Data) != "hello" || !e.More || e.Token != tok {
		t.Fatalf("event %+v", e)
	}
	wantSent(t, r.d.Send(tok, e.Data, nil, false), 5, aio.OK)
	data := e.Data
	r.wait(time.Millisecond)
	if want := bytes.Repeat([]byte{poison}, 5); !bytes.Equal(data, want) {
		t.Fatalf("after the next Wait there is %q", data)
	}
	r.end()
}

func TestReceivedMemoryIsNotWrittenTo(t *testing.T) {
	w := New(Config{})
	var m receiveMemory
	m.init(aio.Config{RecvBuffers: 2, RecvBufferSize: 4})
	if got := m.fill(w, []byte("abcdef")); string(got) != "abcd" || cap(got) != 4 {
		t.Fatalf("%q with room for %d", got, cap(got))
	}
	m.slab[5] = 'x' // in front of what comes next
	m.fill(w, []byte("gh"))
	if v := w.Violations(); len(v) != 1 || v[0] != "receive memory was written to" {
		t.Errorf("violations %q", v)
	}
}

func TestStreamEnds(t *testing.T) {
	r := newRig(t, Config{})
	_, tok := r.connect(ClientConfig{Script: []Step{Write([]byte("x")), CloseWrite()}})
	ev := r.wait(-1)
	if len(ev) != 2 || string(ev[0].Data) != "x" || len(ev[1].Data) != 0 || ev[1].More || ev[1].Err != 0 {
		t.Fatalf("events %+v", ev)
	}
	r.d.Resume(tok)
	r.d.Pause(tok)
	r.run() // nothing more is told

	c, tok := r.connect(ClientConfig{Script: []Step{Reset()}})
	if e := r.only(aio.Received); e.Token != tok || e.Err != syscall.ECONNRESET || e.More {
		t.Fatalf("event %+v", e)
	}
	if s := r.d.Send(tok, []byte("x"), nil, false); s.Status != aio.Failed || s.Err != syscall.EPIPE {
		t.Fatalf("attempt on a broken connection answered %+v", s)
	}
	if res := c.Result(); !res.Left {
		t.Fatalf("result %+v", res)
	}
	r.end()
}

func TestPause(t *testing.T) {
	for _, late := range []float64{0, 1} {
		r := newRig(t, Config{Faults: Faults{LatePause: late}})
		c, tok := r.connect(ClientConfig{})
		r.run()
		c.Write([]byte("one"))
		r.w.At(time.Second, r.d.Wake)
		r.w.fireDue()
		for r.w.drv.due == nil {
			r.w.now = r.w.timers[0].at
			r.w.fireDue()
		}
		r.d.Pause(tok) // the bytes have arrived and were not yet told
		got := len(r.wait(time.Minute))
		if got != int(late) {
			t.Fatalf("LatePause %v: %d events after Pause", late, got)
		}
		r.wait(time.Minute)
		r.d.Resume(tok)
		if late == 0 {
			if e := r.only(aio.Received); string(e.Data) != "one" {
				t.Fatalf("event %+v", e)
			}
		}
		r.end()
	}
}

func TestBlockedSocketBecomesReady(t *testing.T) {
	r := newRig(t, Config{})
	c, tok := r.connect(ClientConfig{Window: 100})
	body := bytes.Repeat([]byte("b"), 150)
	c.Expect(Bytes(body))
	wantSent(t, r.d.Send(tok, body[:50], body[50:], false), 100, aio.BlockedSocket)
	if e := r.only(aio.Ready); e.Token != tok || e.Err != 0 {
		t.Fatalf("event %+v", e)
	}
	wantSent(t, r.d.Send(tok, body[100:], nil, false), 50, aio.OK)
	r.run()
	if res := c.Result(); res.Responses != 1 || res.Received != 150 || c.Taken() != 150 {
		t.Fatalf("result %+v", res)
	}
	if n := r.w.MaxTurn(); n != 100 {
		t.Errorf("a turn moved %d bytes", n)
	}
	wantSent(t, r.d.Send(tok, nil, nil, false), 0, aio.OK)
	r.end()
}

// TestResetEndsBlockedAttempt: Ready comes for a broken connection too.
func TestResetEndsBlockedAttempt(t *testing.T) {
	r := newRig(t, Config{})
	_, tok := r.connect(ClientConfig{Window: 10, Script: []Step{StopReading(), Sleep(time.Second), Reset()}})
	wantSent(t, r.d.Send(tok, make([]byte, 11), nil, false), 10, aio.BlockedSocket)
	var ops []aio.Op
	for len(ops) < 2 {
		for _, e := range r.wait(time.Hour) {
			ops = append(ops, e.Op)
		}
	}
	if ops[0] != aio.Received || ops[1] != aio.Ready {
		t.Fatalf("events %v", ops)
	}
	wantSent(t, r.d.Send(tok, []byte("x"), nil, false), 0, aio.Failed)
	r.end()
}

// TestSendErrorBreaks: an attempt that fails by the socket ends the connection
// for both sides.
func TestSendErrorBreaks(t *testing.T) {
	r := newRig(t, Config{Faults: Faults{SendError: 1}})
	c, tok := r.connect(ClientConfig{})
	if s := r.d.Send(tok, []byte("x"), nil, false); s.Status != aio.Failed || s.Err == 0 {
		t.Fatalf("attempt answered %+v", s)
	}
	if e := r.only(aio.Received); e.Err == 0 {
		t.Fatalf("event %+v", e)
	}
	r.run()
	if res := c.Result(); res.End != SawRST || res.Left {
		t.Fatalf("result %+v", res)
	}
	r.end()
}

func TestFileAttempts(t *testing.T) {
	r := newRig(t, Config{})
	f := r.w.AddFile("f", 1000)
	c, tok := r.connect(ClientConfig{})
	c.Expect(f.Whole(), f.Range(0, 10))
	file := r.openFile("f")
	wantSent(t, r.d.SendFile(tok, file, 0, 600, true), 600, aio.OK)
	wantSent(t, r.d.SendFile(tok, file, 600, 600, false), 400, aio.EOF)
	wantSent(t, r.d.SendFile(tok, file, 1000, 1, false), 0, aio.EOF)
	wantSent(t, r.d.SendFile(tok, file, 0, 0, false), 0, aio.OK)

	f.SetCold(5, 2)
	wantSent(t, r.d.SendFile(tok, file, 0, 10, false), 5, aio.BlockedDisk)
	if e := r.only(aio.Ready); e.Err != 0 {
		t.Fatalf("event %+v", e)
	}
	f.SetBad(8, 1)
	s := r.d.SendFile(tok, file, 5, 5, false)
	wantSent(t, s, 3, aio.Failed)
	if s.Err != syscall.EIO || s.Via != aio.ViaSendfile {
		t.Fatalf("attempt answered %+v", s)
	}
	r.run()
	if res := c.Result(); res.Received != 1008 || res.WrongAt != -1 {
		t.Fatalf("result %+v", res)
	}
	r.w.CloseFile(file.FD)
	r.end()
}

func TestReadAt(t *testing.T) {
	r := newRig(t, Config{})
	f := r.w.AddFile("f", 100)
	file := r.openFile("f")
	want := make([]byte, 100)
	f.Version().Content.Fill(want, 0)
	p := make([]byte, 80)
	read := func(off int64, n int, e syscall.Errno) {
		t.Helper()
		got, err := r.d.ReadAt(file, p, off)
		if got != n || err != e || !bytes.Equal(p[:got], want[min(int(off), 100):][:got]) {
			t.Errorf("at %d: %d bytes, error %d; want %d, %d", off, got, err, n, e)
		}
	}
	read(0, 80, 0)
	read(50, 50, 0)
	read(100, 0, 0)
	read(200, 0, 0)
	f.SetCold(40, 1)
	read(0, 40, 0)
	read(40, 0, syscall.EAGAIN)
	f.SetBad(60, 1)
	read(50, 10, 0)
	read(60, 0, syscall.EIO)
	r.w.CloseFile(file.FD)
	r.end()
}

func TestStatTellsChanges(t *testing.T) {
	r := newRig(t, Config{})
	f := r.w.AddFile("f", 100)
	file := r.openFile("f")
	st, e := r.d.Stat(file)
	if e != 0 || st.Size != 100 {
		t.Fatalf("%+v, error %d", st, e)
	}
	for _, change := range []func(){f.Touch, f.Modify, func() { f.Truncate(7) }} {
		change()
		next, _ := r.d.Stat(file)
		if next.MtimeNs <= st.MtimeNs || next.Size != f.Size() {
			t.Fatalf("%+v after %+v", next, st)
		}
		st = next
	}
	r.w.AddFile("f", 5) // another file takes the name
	if next, _ := r.d.Stat(file); next != st {
		t.Fatalf("%+v, want %+v", next, st)
	}
	r.w.RemoveFile("f")
	if _, e := r.w.OpenFile("f"); e != syscall.ENOENT {
		t.Fatalf("error %d", e)
	}
	r.w.CloseFile(file.FD)
	r.end()
}

// TestClosedAfterFetch: Closed waits for what is fetched, and so must the file.
func TestClosedAfterFetch(t *testing.T) {
	r := newRig(t, Config{})
	r.w.AddFile("f", 100).Evict()
	_, tok := r.connect(ClientConfig{})
	file := r.openFile("f")
	wantSent(t, r.d.SendFile(tok, file, 0, 100, false), 0, aio.BlockedDisk)
	end := r.w.drv.find(tok).fetchEnd
	r.d.Close(tok, true)
	r.only(aio.Closed)
	if r.w.Now() < end {
		t.Errorf("closed %d ns before the fetch was over", end-r.w.Now())
	}
	r.w.CloseFile(file.FD)
	r.end()
}

// TestReadyOfEarlierUse: what was under way for an earlier use of a slot does
// not reach the next one.
func TestReadyOfEarlierUse(t *testing.T) {
	r := newRig(t, Config{Faults: Faults{FalseBlock: 1, LateReady: 1}})
	_, tok := r.connect(ClientConfig{})
	if s := r.d.Send(tok, []byte("ab"), nil, false); !s.Blocked() {
		t.Fatalf("attempt answered %+v", s)
	}
	if !r.w.drv.find(tok).readyTimer {
		t.Fatal("no Ready is under way")
	}
	r.d.Close(tok, true)
	r.only(aio.Closed)
	_, fd := r.w.Connected(ClientConfig{})
	if err := r.d.Open(aio.MakeToken(tok.Slot(), 2), int(fd)); err != nil {
		t.Fatal(err)
	}
	r.run()
	r.end()
}

func TestFetchFails(t *testing.T) {
	for seed := range uint64(100) {
		r := newRig(t, Config{Seed: seed, Faults: Faults{LateReady: 0.5}})
		f := r.w.AddFile("f", 100)
		f.SetBad(0, 100)
		_, tok := r.connect(ClientConfig{})
		file := r.openFile("f")
		s := r.d.SendFile(tok, file, 0, 100, false)
		if s.Status == aio.BlockedDisk {
			if e := r.only(aio.Ready); e.Err != syscall.EIO {
				t.Fatalf("event %+v", e)
			}
			r.w.CloseFile(file.FD)
			r.end()
			return
		}
		r.w.CloseFile(file.FD)
		r.end()
	}
	t.Error("that the range is bad was always known at once")
}

// TestAheadOfChange: what splice took into the pipe does not change any more.
func TestAheadOfChange(t *testing.T) {
	for seed := range uint64(100) {
		w := New(Config{Seed: seed, Faults: Faults{SplitRead: 0.1}})
		d, err := w.NewDriver(aio.Config{Mode: aio.Splice})
		if err != nil {
			t.Fatal(err)
		}
		f := w.AddFile("f", 1000)
		c, fd := w.Connected(ClientConfig{Window: 600})
		c.ExpectEither([]Piece{f.Whole()})
		tok := aio.MakeToken(1, 1)
		n, _ := w.OpenFile("f")
		if err := d.Open(tok, int(fd)); err != nil {
			t.Fatal(err)
		}
		file := &aio.File{FD: n}
		if s := d.SendFile(tok, file, 0, 1000, false); s.N != 600 || s.Via != aio.ViaSplice {
			t.Fatalf("attempt answered %+v", s)
		}
		if d.Stats().PipesOpen == 0 {
			continue // nothing was taken ahead with this seed
		}
		f.Modify()
		c.conn.queued, c.conn.chunks = 0, nil // as if it had been read
		w.drv.find(tok).blocked = aio.OK
		if s := d.SendFile(tok, file, 600, 400, false); s.N != 400 {
			t.Fatalf("attempt answered %+v", s)
		}
		if got := c.conn.chunks[0].content; got != f.Versions()[0].Content {
			t.Fatal("the bytes in the pipe changed with the file")
		}
		if d.Stats().PipesOpen != 0 {
			t.Fatal("the pipe is not empty")
		}
		return
	}
	t.Error("nothing was ever taken ahead")
}

func TestAcceptStream(t *testing.T) {
	r := newRig(t, Config{MaxFDs: 2})
	ln := r.w.NewListener()
	tok := aio.MakeToken(9, 1)
	if err := r.d.Listen(tok, int(ln.FD), false); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r.w.Dial(ln, ClientConfig{})
	}
	ev := r.wait(-1)
	if len(ev) != 2 || !ev[0].More || ev[1].Err != syscall.EMFILE || ev[1].More {
		t.Fatalf("events %+v", ev)
	}
	first := ev[0].FD
	if a, e := r.w.PeerAddr(first); e != 0 || a != r.w.clients[0].cfg.Addr {
		t.Errorf("peer %v, error %d", a, e)
	}
	r.run() // nothing is accepted until Accept
	r.w.CloseFD(first)
	r.d.Accept(tok)
	e := r.only(aio.Accepted)
	if e.Err != 0 || e.FD == first {
		t.Fatalf("event %+v", e)
	}
	r.w.CloseFD(e.FD)
	c := r.w.Dial(ln, ClientConfig{Start: time.Second})
	r.d.Close(tok, false)
	r.only(aio.Closed)
	r.run()
	if got := c.Result().End; got != Refused {
		t.Errorf("a late client saw %v", got)
	}
	r.end()
}

func TestBacklogIsReset(t *testing.T) {
	r := newRig(t, Config{})
	ln := r.w.NewListener()
	c := r.w.Dial(ln, ClientConfig{})
	r.run()
	r.w.CloseFD(ln.FD)
	r.run()
	if got := c.Result().End; got != SawRST {
		t.Errorf("a client in the backlog saw %v", got)
	}
	r.end()
}

func TestCloseWriteThenClose(t *testing.T) {
	r := newRig(t, Config{})
	c, tok := r.connect(ClientConfig{Script: []Step{Await(4), Write([]byte("more"))}})
	c.Expect(Bytes([]byte("answer")))
	wantSent(t, r.d.Send(tok, []byte("answer"), nil, true), 6, aio.OK)
	r.d.CloseWrite(tok) // ends the wait for more, too
	if e := r.only(aio.Received); string(e.Data) != "more" {
		t.Fatalf("event %+v", e)
	}
	if e := r.only(aio.Received); len(e.Data) != 0 { // the client closed after the FIN
		t.Fatalf("event %+v", e)
	}
	r.d.Close(tok, false)
	r.only(aio.Closed)
	if res := c.Result(); res.End != SawFIN || res.Responses != 1 || res.Left || c.CorkTimeouts() != 0 {
		t.Fatalf("result %+v", res)
	}
	r.end()
}

func TestUnreadReset(t *testing.T) {
	for _, p := range []float64{0, 1} {
		r := newRig(t, Config{Faults: Faults{UnreadReset: p}})
		c, tok := r.connect(ClientConfig{Script: []Step{Write([]byte("unread")), Sleep(time.Second)}})
		r.d.Pause(tok)
		r.run()
		r.d.Close(tok, false)
		r.only(aio.Closed)
		r.run()
		if got, want := c.Result().End, []End{SawFIN, SawRST}[int(p)]; got != want {
			t.Errorf("UnreadReset %v: the client saw %v, want %v", p, got, want)
		}
		r.end()
	}
}

func TestFarSlot(t *testing.T) {
	r := newRig(t, Config{})
	_, fd := r.w.Connected(ClientConfig{})
	tok := aio.MakeToken(aio.MaxSlots-1, 1<<24-1)
	if err := r.d.Open(tok, int(fd)); err != nil {
		t.Fatal(err)
	}
	r.d.Close(tok, true)
	if e := r.only(aio.Closed); e.Token != tok {
		t.Fatalf("event %+v", e)
	}
	r.end()
}

func TestMaxCalls(t *testing.T) {
	r := newRig(t, Config{MaxCalls: 100})
	for range 200 {
		r.d.Now()
	}
	r.endsWith("100 calls: the loop spins")
}

func TestEverySlotIsListed(t *testing.T) {
	r := newRig(t, Config{})
	_, tok := r.connect(ClientConfig{Window: 1})
	wantSent(t, r.d.Send(tok, []byte("xy"), nil, false), 1, aio.BlockedSocket)
	leaks := r.w.Leaks()
	want := []string{"the driver was not destroyed", "slot 1 is open or closing", "slot 1 has a blocked attempt"}
	for i, l := range want {
		if len(leaks) != len(want) || leaks[i] != l {
			t.Fatalf("leaks %q, want %q", leaks, want)
		}
	}
	r.end()
}

func TestClientWithoutEnd(t *testing.T) {
	r := newRig(t, Config{})
	r.w.Connected(ClientConfig{})
	r.endsWith("client 0 (still open, 0 bytes received, 0 of 0 responses) did not come to its end")
}

func TestPanicConfig(t *testing.T) {
	r := newRig(t, Config{Seed: 42, Panic: true})
	defer func() {
		if got, want := recover(), "aiosim: seed 42: pause of slot 3, which was never open"; got != want {
			t.Errorf("panic %v, want %q", got, want)
		}
	}()
	r.d.Pause(aio.MakeToken(3, 1))
	t.Error("no panic")
}
