package aiosim

import (
	"testing"
	"time"

	"github.com/fserve/fserve/internal/aio"
)

func TestCork(t *testing.T) {
	r := newRig(t, Config{})
	c, tok := r.connect(ClientConfig{})
	wantSent(t, r.d.Send(tok, make([]byte, segment), nil, true), segment, aio.OK)
	r.run()
	if c.Received() != segment || c.CorkTimeouts() != 0 {
		t.Fatalf("a whole segment waited: %v", c)
	}
	wantSent(t, r.d.Send(tok, []byte("x"), nil, true), 1, aio.OK)
	from := r.w.Now()
	r.run()
	if c.Received() != segment+1 || c.CorkTimeouts() != 1 || r.w.Now()-from < corkTime {
		t.Fatalf("a byte did not wait for more: %v", c)
	}
	r.end()
}

func TestCorkHoldsPartOfSegment(t *testing.T) {
	r := newRig(t, Config{})
	c, tok := r.connect(ClientConfig{})
	send := func(n int, more bool) {
		t.Helper()
		wantSent(t, r.d.Send(tok, make([]byte, n), nil, more), int64(n), aio.OK)
	}
	// arrived lets the time pass that bytes need, but not that of the kernel's patience.
	arrived := func(want, held int64) {
		t.Helper()
		r.wait(time.Millisecond)
		if c.Received() != want || c.Held() != held || c.CorkTimeouts() != 0 {
			t.Fatalf("%v, %d held, want %d and %d", c, c.Held(), want, held)
		}
	}
	r.d.Cork(tok, true)
	send(segment+10, false)
	arrived(segment, 10)
	send(segment-10, true)
	arrived(2*segment, 0)
	send(20, false)
	arrived(2*segment, 20)
	r.d.Push(tok)
	arrived(2*segment+20, 0)
	send(30, false) // Push leaves the cork in
	arrived(2*segment+20, 30)
	r.d.Cork(tok, false)
	arrived(2*segment+50, 0)
	send(40, false)
	arrived(2*segment+90, 0)
	r.d.Cork(tok, true)
	send(50, false)
	r.d.CloseWrite(tok)
	arrived(2*segment+140, 0)
	r.end()
}

// TestCorkGivesWay: what a full buffer holds is sent, whatever the cork says.
func TestCorkGivesWay(t *testing.T) {
	r := newRig(t, Config{})
	c, tok := r.connect(ClientConfig{Window: 100})
	r.d.Cork(tok, true)
	wantSent(t, r.d.Send(tok, make([]byte, 150), nil, false), 100, aio.BlockedSocket)
	r.only(aio.Ready)
	wantSent(t, r.d.Send(tok, make([]byte, 50), nil, false), 50, aio.OK)
	if c.Held() != 50 {
		t.Errorf("%d bytes are held", c.Held())
	}
	r.d.Close(tok, false)
	r.only(aio.Closed)
	r.run()
	if c.Received() != 150 || c.CorkTimeouts() != 0 {
		t.Errorf("%v, %d timeouts", c, c.CorkTimeouts())
	}
	r.end()
}

func TestCorkOfListener(t *testing.T) {
	r := newRig(t, Config{})
	ln := r.w.NewListener()
	tok := aio.MakeToken(3, 1)
	if err := r.d.Listen(tok, int(ln.FD), false); err != nil {
		t.Fatal(err)
	}
	r.d.Cork(tok, true)
	r.d.Push(tok)
	r.endsWith("cork of slot 3, which is a listener\n  violation: push of slot 3, which is a listener")
}
