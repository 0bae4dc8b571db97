package listen

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// CheckCongestion reports why SetCongestion would refuse a name.
func CheckCongestion(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	return SetCongestion(fd, &net.TCPAddr{}, name)
}

// Check reports why an address could not be listened on, without listening: EADDRINUSE if
// somebody does. That a port needs a privilege is no fault: the socket may be inherited.
func Check(addr string) error {
	if path, ok := strings.CutPrefix(addr, UnixPrefix); ok {
		return checkUnix(path)
	}
	want, err := net.ResolveTCPAddr(networkOf(addr, nil), addr)
	if err != nil {
		return err
	}
	fd, err := socketAt(want)
	if err == nil {
		unix.Close(fd)
	}
	if errors.Is(err, unix.EACCES) { // that of the machine, at any port
		want.Port = 0
		if fd, err = socketAt(want); err == nil {
			unix.Close(fd)
		}
	}
	return err
}

// socketAt returns a socket that is bound as a listener's is.
func socketAt(a *net.TCPAddr) (fd int, err error) {
	var to unix.Sockaddr
	domain := unix.AF_INET6
	switch ip4 := a.IP.To4(); {
	case ip4 != nil:
		domain, to = unix.AF_INET, &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(ip4)}
	default:
		six := &unix.SockaddrInet6{Port: a.Port}
		copy(six.Addr[:], a.IP.To16())
		if zone, err := net.InterfaceByName(a.Zone); a.Zone != "" && err == nil {
			six.ZoneId = uint32(zone.Index) //nolint:gosec // an interface's
		}
		to = six
	}
	if fd, err = unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); errors.Is(err, unix.EAFNOSUPPORT) && a.IP == nil {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		to = &unix.SockaddrInet4{Port: a.Port}
	}
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Bind(fd, to)
	}
	if err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	return fd, nil
}

// checkUnix is Check for the path of a Unix socket.
func checkUnix(path string) error {
	dir := filepath.Dir(path)
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		if errors.Is(err, unix.ENOENT) && filepath.Dir(dir) == "/run" {
			return nil // a service manager makes it at start (systemd.exec(5), RuntimeDirectory=)
		}
		return &fs.PathError{Op: "access", Path: dir, Err: err}
	}
	_, err := statSocket(path)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err == nil && !isStale(path) {
		err = unix.EADDRINUSE
	}
	return err
}
