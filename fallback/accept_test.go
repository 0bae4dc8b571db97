package fallback

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/internal/testenv"
)

// TestArrivals has two listeners with many connections each: more come in each turn, with
// the addresses that they have.
func TestArrivals(t *testing.T) {
	const listeners, each = 2, 100
	r := newRig(t, aio.Config{})
	for i := range listeners {
		fd := testenv.Listen(t)
		for range each {
			testenv.NewPeer(t, testenv.SockOptions{}).Connect(t, fd)
		}
		if err := r.Listen(aio.MakeToken(uint32(i+1), 1), fd, false); err != nil {
			t.Fatal(err)
		}
	}
	ev := make([]aio.Event, 256)
	var turns []int
	for got := 0; got < listeners*each; {
		n, err := r.Wait(ev, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range ev[:n] {
			if e.Op != aio.Accepted || e.Err != 0 {
				t.Fatalf("event %v, %v", e.Op, e.Err)
			}
			if told, asked := sys.PeerIn(e.Data), sys.PeerOf(e.FD); told != asked || !told.IsValid() {
				t.Errorf("the peer is %v, told as %v", asked, told)
			}
			unix.Close(int(e.FD))
		}
		got += n
		if turns = append(turns, n); len(turns) > listeners*each {
			t.Fatalf("%d connections in turns of %v", got, turns)
		}
	}
	if len(turns) > 7 || turns[0] > 2*listeners {
		t.Errorf("the connections came in turns of %v", turns)
	}
}
