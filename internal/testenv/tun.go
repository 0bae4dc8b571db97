package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// NewCopyingLine makes a line that copies each packet when it is sent, as a network card
// does: a pair of TUN devices between which the test carries packets. Those of veth and
// loopback refer to the sender's memory until the receiver has read them. It has no
// router: SetRate, SetLoss and SetMarks are not for it.
func NewCopyingLine(t testing.TB) *Line {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		skipNet(t, "skipped, needs the command ip")
	}
	l := &Line{t: t}
	var tuns [2]*os.File
	for i, ns := range []**netns{&l.server, &l.client} {
		made, err := newNetns()
		if err == nil {
			made.do(func() { tuns[i], err = openTUN("eth0") })
			*ns = made
		}
		if err != nil {
			l.close()
			skipNet(t, fmt.Sprintf("skipped, needs CAP_NET_ADMIN and /dev/net/tun: %v", err))
		}
		addr, peer := ServerAddr, ClientAddr
		if i == 1 {
			addr, peer = peer, addr
		}
		l.run(made, "", fmt.Sprintf("ip addr add %s peer %s dev eth0", addr, peer))
		l.run(made, "", "ip link set lo up")
		l.run(made, "", "ip link set eth0 up mtu 9000 txqueuelen 2000")
	}
	ended := make(chan struct{})
	for i := range tuns {
		go func() {
			carry(tuns[i], tuns[1-i])
			ended <- struct{}{}
		}()
	}
	t.Cleanup(func() {
		for _, f := range tuns {
			f.Close()
		}
		for range tuns {
			<-ended
		}
		l.close()
	})
	return l
}

// openTUN makes a device that carries packets, in the namespace of the calling thread.
func openTUN(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "tun"), nil
}

// carry moves packets until one of the devices is closed.
func carry(from, to *os.File) {
	packet := make([]byte, 64<<10)
	for {
		n, err := from.Read(packet)
		if err != nil {
			return
		}
		// A queue that is full loses a packet, as others do.
		if _, err := to.Write(packet[:n]); errors.Is(err, os.ErrClosed) {
			return
		}
	}
}
