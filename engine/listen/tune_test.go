package listen

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/internal/testenv"
)

// TestTuning: a connection that says nothing is not accepted, one that speaks is; and the kernel
// takes what is said of fast open.
func TestTuning(t *testing.T) {
	s, err := Open(Config{
		Addrs:  []string{"127.0.0.1:0", "unix:" + t.TempDir() + "/s"},
		Tuning: Tuning{DeferAccept: 1500 * time.Millisecond, FastOpen: 7},
	}, 1)
	if err != nil {
		t.Fatal(err)
	}
	row := s.Row(0)
	defer CloseAll(row)
	fd := row[0].FD
	for option, want := range map[int]int{unix.TCP_DEFER_ACCEPT: 2, unix.TCP_FASTOPEN: 7} {
		// The kernel keeps the former as a number of retransmissions.
		if got, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, option); err != nil || got < want || got > want+2 {
			t.Errorf("option %d is %d, want %d, error %v", option, got, want, err)
		}
	}
	if sys.SetAcceptPatience(int32(fd)) != nil {
		t.Skip("accepting cannot be bounded here")
	}
	conn, err := net.Dial("tcp4", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if sys.Readable(int32(fd)) {
		t.Error("a connection that says nothing is there to be accepted")
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if !testenv.Eventually(30*time.Second, func() bool { return sys.Readable(int32(fd)) }) {
		t.Fatal("a connection that has spoken is not there")
	}
}
