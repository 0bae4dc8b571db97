package admin

import (
	"errors"
	"net"
	"syscall"

	"github.com/fserve/fserve/internal/sys"
)

// errNoSocket is of a listener that has no descriptor.
var errNoSocket = errors.New("admin listener: not a socket of this system")

// Socket returns a duplicate of the listening socket, for a successor: the
// caller's, and closed on exec. Start must have returned.
func (a *Admin) Socket() (fd int, err error) {
	c, ok := a.listener.(syscall.Conn)
	if !ok {
		return -1, errNoSocket
	}
	return sys.Dup(c)
}

// HandOver leaves the file of a Unix socket to a successor that has Socket: Close
// does not remove it.
func (a *Admin) HandOver() {
	if u, ok := a.listener.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
}
