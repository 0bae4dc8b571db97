package admin_test

import (
	"testing"

	"golang.org/x/sys/unix"
)

// The socket that a successor gets is one of plain TCP: those of MPTCP do not heed what
// makes it safe to share them.
func TestSocketIsPlainTCP(t *testing.T) {
	g := start(t, nil)
	if err := g.admin.Start(); err != nil {
		t.Fatal(err)
	}
	fd, err := g.admin.Socket()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || protocol != unix.IPPROTO_TCP {
		t.Errorf("protocol %d, %v", protocol, err)
	}
}
