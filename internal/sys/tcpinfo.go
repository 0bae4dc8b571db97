package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TCPField is a set of the members of TCPInfo that a kernel may not know.
type TCPField = uint8

const (
	TCPBytesAcked   TCPField = 1 << iota // BytesAcked, Linux 4.1
	TCPNotSent                           // NotSent, MinRTT, 4.6
	TCPDeliveryRate                      // DeliveryRate, AppLimited, 4.9
	TCPBusyTimes                         // BusyTime, RwndLimited, SndbufLimited, 4.10
	TCPDelivered                         // Delivered, DeliveredCE, 4.18
	TCPBytesSent                         // BytesSent, BytesRetrans, 4.19
	TCPDSACKDups                         // DSACKDups, 4.19
)

// TCPInfo is what the kernel knows of one connection's sending side
// (TCP_INFO, tcp(7); RFC 4898 for the counters). Counters begin at zero with
// the connection. A member whose bit is not in Known is zero because the
// kernel is older than it, and says nothing.
type TCPInfo struct {
	BytesAcked   uint64 // acknowledged in order, bytes
	BytesSent    uint64 // payload sent, repetitions included, bytes
	BytesRetrans uint64 // payload sent again, bytes
	TotalRetrans uint32 // segments sent again, wraps

	DSACKDups   uint32 // segments that the peer had twice, so that were sent again in vain; wraps
	Delivered   uint32 // segments that arrived, by ACK or SACK; wraps
	DeliveredCE uint32 // of these, marked by the network (ECN); wraps

	RTT    uint32 // smoothed, microseconds
	MinRTT uint32 // the least of some minutes, microseconds; ^0 before the first measurement

	DeliveryRate uint64 // payload, bytes/s, as measured over about one RTT
	AppLimited   bool   // DeliveryRate was measured while there was too little to send

	NotSent uint32 // in the socket and not sent yet, bytes
	MSS     uint32 // bytes

	BusyTime      uint64 // had something to send or on its way, microseconds, counted in jiffies
	RwndLimited   uint64 // of that, waited for the peer's window, microseconds
	SndbufLimited uint64 // of that, waited for room in the send buffer, microseconds

	Known TCPField
}

// tcpInfo is struct tcp_info (include/uapi/linux/tcp.h).
type tcpInfo unix.TCPInfo

// appLimited is tcpi_delivery_rate_app_limited: bit 0 of byte 7, a bit field that
// unix.TCPInfo hides.
func (raw *tcpInfo) appLimited() bool { return *(*uint8)(unsafe.Add(unsafe.Pointer(raw), 7))&1 != 0 }

// GetTCPInfo fills info with what the kernel says of a connected TCP socket.
// It does not block and does not allocate. A socket of another kind: EOPNOTSUPP;
// a kernel whose structure ends before the counter of repetitions: ENOSYS. On an
// error info is left as it was.
func GetTCPInfo(fd int32, info *TCPInfo) syscall.Errno {
	var raw tcpInfo
	n := uint32(unsafe.Sizeof(raw))
	_, _, e := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&raw)), uintptr(unsafe.Pointer(&n)), 0)
	if e != 0 {
		return e
	}
	return raw.decode(n, info)
}

// decode takes from raw what lies within the n bytes that the kernel wrote.
func (raw *tcpInfo) decode(n uint32, info *TCPInfo) syscall.Errno {
	end := uint32(unsafe.Offsetof(raw.Total_retrans) + unsafe.Sizeof(raw.Total_retrans))
	if n < end {
		return syscall.ENOSYS
	}
	*info = TCPInfo{RTT: raw.Rtt, MSS: raw.Snd_mss, TotalRetrans: raw.Total_retrans}
	has := func(f TCPField, end uintptr) bool {
		if uintptr(n) < end {
			return false
		}
		info.Known |= f
		return true
	}
	if has(TCPBytesAcked, unsafe.Offsetof(raw.Bytes_acked)+8) {
		info.BytesAcked = raw.Bytes_acked
	}
	if has(TCPNotSent, unsafe.Offsetof(raw.Min_rtt)+4) {
		info.NotSent, info.MinRTT = raw.Notsent_bytes, raw.Min_rtt
	}
	if has(TCPDeliveryRate, unsafe.Offsetof(raw.Delivery_rate)+8) {
		info.DeliveryRate, info.AppLimited = raw.Delivery_rate, raw.appLimited()
	}
	if has(TCPBusyTimes, unsafe.Offsetof(raw.Sndbuf_limited)+8) {
		info.BusyTime, info.RwndLimited, info.SndbufLimited = raw.Busy_time, raw.Rwnd_limited, raw.Sndbuf_limited
	}
	if has(TCPDelivered, unsafe.Offsetof(raw.Delivered_ce)+4) {
		info.Delivered, info.DeliveredCE = raw.Delivered, raw.Delivered_ce
	}
	if has(TCPBytesSent, unsafe.Offsetof(raw.Bytes_retrans)+8) {
		info.BytesSent, info.BytesRetrans = raw.Bytes_sent, raw.Bytes_retrans
	}
	if has(TCPDSACKDups, unsafe.Offsetof(raw.Dsack_dups)+4) {
		info.DSACKDups = raw.Dsack_dups
	}
	return 0
}
