package sys

import (
	"io"
	"net"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fullInfo has a value of its own in each member.
func fullInfo() *tcpInfo {
	raw := &tcpInfo{Snd_mss: 1448, Rtt: 1, Total_retrans: 2, Bytes_acked: 3, Notsent_bytes: 4, Min_rtt: 5,
		Delivery_rate: 6, Busy_time: 7, Rwnd_limited: 8, Sndbuf_limited: 9, Delivered: 10, Delivered_ce: 11,
		Bytes_sent: 12, Bytes_retrans: 13, Dsack_dups: 14}
	unsafe.Slice((*uint8)(unsafe.Pointer(raw)), 8)[7] = 0xf9
	return raw
}

// TestTCPInfoShortKernels checks that what lies behind the length which the
// kernel returned is not believed, at every length.
func TestTCPInfoShortKernels(t *testing.T) {
	ends := []struct {
		end   uint32
		field TCPField
		value func(*TCPInfo) uint64
	}{
		{128, TCPBytesAcked, func(i *TCPInfo) uint64 { return i.BytesAcked }},
		{152, TCPNotSent, func(i *TCPInfo) uint64 { return uint64(i.NotSent) * uint64(i.MinRTT) }},
		{168, TCPDeliveryRate, func(i *TCPInfo) uint64 { return i.DeliveryRate }},
		{192, TCPBusyTimes, func(i *TCPInfo) uint64 { return i.BusyTime * i.RwndLimited * i.SndbufLimited }},
		{200, TCPDelivered, func(i *TCPInfo) uint64 { return uint64(i.Delivered) * uint64(i.DeliveredCE) }},
		{216, TCPBytesSent, func(i *TCPInfo) uint64 { return i.BytesSent * i.BytesRetrans }},
		{220, TCPDSACKDups, func(i *TCPInfo) uint64 { return uint64(i.DSACKDups) }},
	}
	for n := uint32(0); n <= 300; n++ {
		info := TCPInfo{RTT: 99}
		e := fullInfo().decode(n, &info)
		if n < 104 {
			if e != syscall.ENOSYS || info != (TCPInfo{RTT: 99}) {
				t.Fatalf("%d bytes: %v, %+v", n, e, info)
			}
			continue
		}
		if e != 0 || info.RTT != 1 || info.MSS != 1448 || info.TotalRetrans != 2 {
			t.Fatalf("%d bytes: %v, %+v", n, e, info)
		}
		for _, f := range ends {
			known := info.Known&f.field != 0
			if known != (n >= f.end) || known != (f.value(&info) != 0) {
				t.Errorf("%d bytes: member %b known: %t, value %d", n, f.field, known, f.value(&info))
			}
		}
		if info.AppLimited != (n >= 168) {
			t.Errorf("%d bytes: app limited %t", n, info.AppLimited)
		}
	}
}

func TestTCPInfoOfConnection(t *testing.T) {
	const sent = 1 << 20
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	received := make(chan int64, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			received <- -1
			return
		}
		defer c.Close()
		n, _ := io.CopyN(io.Discard, c, sent)
		received <- n
		io.Copy(io.Discard, c)
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	read := func() (info TCPInfo) {
		t.Helper()
		var e syscall.Errno
		if err := raw.Control(func(fd uintptr) { e = GetTCPInfo(int32(fd), &info) }); err != nil || e != 0 {
			t.Fatal(err, e)
		}
		return info
	}
	before := read()
	if _, err := c.Write(make([]byte, sent)); err != nil {
		t.Fatal(err)
	}
	if n := <-received; n != sent {
		t.Fatalf("%d bytes arrived", n)
	}
	after := read()
	for after.BytesAcked-before.BytesAcked < sent { // the last ACK may be under way
		after = read()
	}
	if after.Known != 1<<7-1 {
		t.Skipf("this kernel's structure is short: %b", after.Known)
	}
	if got := after.BytesAcked - before.BytesAcked; got != sent {
		t.Errorf("acknowledged: %d, want %d", got, sent)
	}
	if got := after.BytesSent - after.BytesRetrans; got != sent {
		t.Errorf("sent: %d, want %d", got, sent)
	}
	if after.RTT == 0 || after.MinRTT == 0 || after.MinRTT > after.RTT*8 || after.MSS < 500 {
		t.Errorf("implausible: %+v", after)
	}
	if after.DeliveryRate == 0 || after.Delivered == 0 || after.NotSent != 0 {
		t.Errorf("implausible: %+v", after)
	}
	if n := testing.AllocsPerRun(100, func() { read2(raw, &after) }); n > 1 { // the closure is the test's own
		t.Errorf("%v allocations", n)
	}
}

func read2(raw syscall.RawConn, info *TCPInfo) {
	raw.Control(func(fd uintptr) { GetTCPInfo(int32(fd), info) })
}

// TestTCPInfoFails: a descriptor that is closed, or of another kind, changes nothing.
func TestTCPInfoFails(t *testing.T) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	unix.Close(p[1])
	info := TCPInfo{RTT: 7}
	if e := GetTCPInfo(int32(p[0]), &info); e != syscall.EOPNOTSUPP {
		t.Errorf("Unix socket: %v", e)
	}
	if e := GetTCPInfo(-1, &info); e != syscall.EBADF {
		t.Errorf("no descriptor: %v", e)
	}
	if info != (TCPInfo{RTT: 7}) {
		t.Errorf("changed to %+v", info)
	}
}
