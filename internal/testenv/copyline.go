package testenv

import (
	"fmt"
	"net"
	"os/exec"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// NewCopyingLine makes a line that copies each packet soon after it is sent, as a network card
// does: a pair of veth devices that both have a program for packets (XDP), so that the
// kernel puts what arrives into memory of the receiver's own first. Without one, they refer
// to the sender's memory until the receiver has read it, as loopback does. The line has no
// router: SetRate, SetLoss and SetMarks are not for it.
func NewCopyingLine(t testing.TB) *Line {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		skipNet(t, "skipped, needs the command ip")
	}
	l := &Line{t: t}
	for _, ns := range []**netns{&l.server, &l.client} {
		made, err := newNetns()
		if err != nil {
			l.close()
			skipNet(t, fmt.Sprintf("skipped, needs CAP_NET_ADMIN: %v", err))
		}
		*ns = made
	}
	var links []int
	t.Cleanup(func() {
		for _, fd := range links {
			unix.Close(fd)
		}
		l.close()
	})
	l.run(l.server, "", "ip link add eth0 type veth peer name eth0 netns "+l.client.path())
	for _, end := range []struct {
		ns         *netns
		addr, peer string
	}{{l.server, ServerAddr, ClientAddr}, {l.client, ClientAddr, ServerAddr}} {
		l.run(end.ns, "", fmt.Sprintf("ip addr add %s peer %s dev eth0", end.addr, end.peer))
		l.run(end.ns, "", "ip link set lo up")
		l.run(end.ns, "", "ip link set eth0 up")
		var fd int
		var err error
		end.ns.do(func() { fd, err = passPackets("eth0") })
		if err != nil {
			skipNet(t, fmt.Sprintf("skipped, needs XDP (BPF) on veth: %v", err))
		}
		links = append(links, fd)
		l.run(end.ns, ownThread, "unshare --mount sh -eu")
	}
	return l
}

// ownThread gives what arrives at eth0 a kernel thread of its own that comes before all else, if
// this kernel can (Linux 5.12; threaded in sysfs). A network card waits for no processor, either:
// where these have much to do, packets would lie in the line for tens of ms.
const ownThread = `
mount -t sysfs sysfs /sys
[ -w /sys/class/net/eth0/threaded ] || exit 0
before=$(pgrep napi/eth0- || true)
echo 1 > /sys/class/net/eth0/threaded
for thread in $(pgrep napi/eth0-); do
	case " $(echo $before) " in
	*" $thread "*) ;;
	*) renice -n -20 -p $thread > /dev/null ;;
	esac
done
`

// What bpf(2) is given by address must not move.
var (
	passAll = [...]uint64{2<<32 | 0xb7, 0x95} // r0 = XDP_PASS; exit
	license = [...]byte{'M', 'I', 'T', 0}
)

// passPackets gives a device of the calling thread's namespace a program that lets all packets
// pass. It is there until the descriptor that it returns is closed.
func passPackets(device string) (int, error) {
	const load, link, typeXDP, attachXDP = 5, 28, 6, 37 // commands and types of bpf(2)
	made := struct {
		kind, instructions uint32
		program, license   uint64
		_                  [48]byte
	}{kind: typeXDP, instructions: uint32(len(passAll)), program: address(&passAll), license: address(&license)}
	prog, _, e := unix.Syscall(unix.SYS_BPF, load, uintptr(unsafe.Pointer(&made)), unsafe.Sizeof(made))
	if e != 0 {
		return -1, fmt.Errorf("loading a program: %w", e)
	}
	defer unix.Close(int(prog))
	dev, err := net.InterfaceByName(device)
	if err != nil {
		return -1, err
	}
	attached := struct{ prog, device, kind, flags uint32 }{uint32(prog), uint32(dev.Index), attachXDP, 0}
	fd, _, e := unix.Syscall(unix.SYS_BPF, link, uintptr(unsafe.Pointer(&attached)), unsafe.Sizeof(attached))
	if e != 0 {
		return -1, fmt.Errorf("attaching a program: %w", e)
	}
	return int(fd), nil
}

// address is where p points to, as bpf(2) takes it.
func address[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }
