package peer

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/sys"
)

const (
	// floorMemory is the largest body that the floor sends from memory
	// together with its head; larger ones go through sendfile, which at
	// 16 KiB costs a fifth less than the copy.
	floorMemory = 4 << 10

	// floorTurn is what one connection is sent at most in one turn, in bytes
	// (nginx: sendfile_max_chunk). Half as much costs more CPU per byte.
	floorTurn = 2 << 20

	floorEvents = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLET
)

// floor is the cheapest responder that there can be: whatever arrives on a
// connection counts as one request, and the answer is always the same. For
// small files it shows what the kernel alone costs. For large ones it is no
// bound: how the bytes are cut into calls matters more than their number.
type floor struct {
	epoll  int
	listen int
	head   []byte // with the body behind it when that is small
	file   int32
	size   int64 // bytes to send from file after head
	close  bool  // end the connection after each response
	conns  []floorConn
	recv   [4096]byte
}

type floorConn struct {
	head int   // bytes of head that are still to be sent
	off  int64 // next byte of the file
	busy bool
}

// floorMain is the subcommand "floor": it serves one file until it is killed.
func floorMain(args []string) error {
	fs := flag.NewFlagSet("floor", flag.ContinueOnError)
	addr := fs.String("addr", "127.0.0.1:8080", "`address:port` to listen on")
	root := fs.String("root", ".", "`directory` of the file")
	path := fs.String("path", "", "the one path that is served")
	closing := fs.Bool("close", false, "close the connection after each response")
	if err := fs.Parse(args); err != nil {
		return err
	}
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	f := &floor{close: *closing}
	if err := f.load(filepath.Join(*root, *path)); err != nil {
		return err
	}
	if err := f.bind(*addr); err != nil {
		return err
	}
	return f.serve()
}

// load renders the response.
func (f *floor) load(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return err
	}
	f.head = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nServer: floor\r\nDate: %s\r\nContent-Type: application/octet-stream\r\n"+
		"Content-Length: %d\r\n\r\n", "Sun, 06 Nov 1994 08:49:37 GMT", st.Size())
	if st.Size() <= floorMemory {
		body, err := os.ReadFile(name)
		f.head = append(f.head, body...)
		return err
	}
	f.size = st.Size()
	fd, err := unix.Dup(int(file.Fd()))
	f.file = int32(fd)
	return err
}

// bind listens and makes the epoll instance.
func (f *floor) bind(addr string) error {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return err
	}
	if f.listen, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if err := unix.SetsockoptInt(f.listen, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fmt.Errorf("SO_REUSEADDR: %w", err)
	}
	if err := unix.Bind(f.listen, &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(f.listen, 4096); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if f.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll_create1: %w", err)
	}
	return f.watch(unix.EPOLL_CTL_ADD, f.listen, unix.EPOLLIN)
}

func (f *floor) watch(op, fd int, events uint32) error {
	err := unix.EpollCtl(f.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
	if err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// serve is the event loop. Events are edge-triggered; a transfer that used up
// its turn is re-armed, which reports it again if it is writable.
func (f *floor) serve() error {
	var events [128]unix.EpollEvent
	for {
		n, e := wait(f.epoll, events[:])
		if e != 0 && e != syscall.EINTR {
			return fmt.Errorf("epoll_pwait: %w", e)
		}
		for i := range n {
			fd := int(events[i].Fd)
			var err error
			if fd == f.listen {
				err = f.accept()
			} else if !f.ready(fd) {
				sys.Close(int32(fd))
			}
			if err != nil {
				return err
			}
		}
	}
}

// wait blocks without telling the scheduler: nothing else runs here. On one
// core (GOMAXPROCS 1) the runtime's monitor would otherwise wake up every 20 µs
// to take the processor away from the waiting thread.
func wait(epoll int, events []unix.EpollEvent) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), ^uintptr(0), 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

func (f *floor) accept() error {
	for {
		fd, e := sys.Accept4(int32(f.listen))
		if e == syscall.EAGAIN || e == syscall.ECONNABORTED {
			return nil
		}
		if e != 0 {
			return fmt.Errorf("accept4: %w", e)
		}
		for len(f.conns) <= int(fd) {
			f.conns = append(f.conns, floorConn{})
		}
		f.conns[fd] = floorConn{}
		if err := f.watch(unix.EPOLL_CTL_ADD, int(fd), floorEvents); err != nil {
			return err
		}
	}
}

// ready handles an event of a connection. false: it is to be closed.
func (f *floor) ready(fd int) bool {
	c := &f.conns[fd]
	if !c.busy {
		n, e := sys.Recv(int32(fd), f.recv[:])
		if e == syscall.EAGAIN {
			return true
		}
		if e != 0 || n == 0 {
			return false
		}
		*c = floorConn{head: len(f.head), busy: true}
	}
	return f.send(fd, c)
}

// send continues a response.
func (f *floor) send(fd int, c *floorConn) bool {
	if c.head > 0 {
		n, e := sys.Send(int32(fd), f.head[len(f.head)-c.head:], f.size > 0)
		if e != 0 {
			return e == syscall.EAGAIN
		}
		if c.head -= n; c.head > 0 {
			return true
		}
	}
	for sent := 0; c.off < f.size; {
		if sent >= floorTurn {
			return f.watch(unix.EPOLL_CTL_MOD, fd, floorEvents) == nil
		}
		n, e := sys.Sendfile(int32(fd), f.file, c.off, int(min(floorTurn, f.size-c.off)))
		if e != 0 {
			return e == syscall.EAGAIN
		}
		if n == 0 {
			return false // the file has been cut
		}
		c.off += int64(n)
		sent += n
	}
	c.busy = false
	return !f.close
}
