package listen

import (
	"errors"
	"io/fs"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// UnixPrefix begins a listener's address that is the path of a Unix socket.
const UnixPrefix = "unix:"

// socketFile is the file of a Unix listener, by which it is told from one that a
// successor has put in its place.
type socketFile struct {
	path     string
	dev, ino uint64
}

// bindUnix opens one listening socket and gives each loop it or a duplicate: Unix
// sockets know no SO_REUSEPORT (before Linux 6.3 it was accepted and did nothing).
func (s *Set) bindUnix(index int, path string) error {
	fd, file, err := listenUnix(path, s.cfg.UnixMode)
	if err != nil {
		return err
	}
	s.files = append(s.files, file)
	s.addrs = append(s.addrs, &net.UnixAddr{Name: path, Net: "unix"})
	for row := range s.rows {
		if row > 0 {
			if fd, err = duplicate(fd); err != nil {
				return err
			}
		}
		s.add(row, Socket{fd, index, len(s.rows) > 1})
	}
	return nil
}

// listenUnix makes the socket file. Its mode is set before the socket listens,
// so that nobody connects who may not.
func listenUnix(path string, mode fs.FileMode) (fd int, file socketFile, err error) {
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, file, err
	}
	bound := false
	defer func() {
		if err != nil {
			unix.Close(fd)
			if bound {
				err = errors.Join(err, os.Remove(path))
			}
		}
	}()
	addr := &unix.SockaddrUnix{Name: path}
	if err = unix.Bind(fd, addr); errors.Is(err, unix.EADDRINUSE) {
		if err = removeStale(path); err == nil {
			err = unix.Bind(fd, addr)
		}
	}
	if err != nil {
		return fd, file, err
	}
	bound = true
	if err = os.Chmod(path, mode.Perm()); err != nil {
		return fd, file, err
	}
	if file, err = statSocket(path); err != nil {
		return fd, file, err
	}
	return fd, file, unix.Listen(fd, Backlog)
}

// removeStale removes a socket file that a process has left behind: nobody
// answers there. What is no socket, or is in use, stays.
func removeStale(path string) error {
	if _, err := statSocket(path); err != nil {
		return err
	}
	if !isStale(path) {
		return unix.EADDRINUSE
	}
	return os.Remove(path)
}

// isStale reports whether nobody answers at a socket's file.
func isStale(path string) bool {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	// A full queue is EAGAIN: somebody is there.
	return errors.Is(unix.Connect(fd, &unix.SockaddrUnix{Name: path}), unix.ECONNREFUSED)
}

func statSocket(path string) (socketFile, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return socketFile{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return socketFile{}, errors.New("the file is there and is not a socket")
	}
	return socketFile{path, st.Dev, st.Ino}, nil
}

// RemoveFiles removes the files of the Unix sockets, those of a successor excepted.
// It does so once, when the loops begin to end.
func (s *Set) RemoveFiles() {
	for _, f := range s.takeFiles() {
		if now, err := statSocket(f.path); err == nil && now == f {
			_ = os.Remove(f.path) // in a directory that is no longer ours, perhaps
		}
	}
}

// LeaveFiles leaves the files of the Unix sockets to a successor.
func (s *Set) LeaveFiles() { s.takeFiles() }

func (s *Set) takeFiles() []socketFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	files := s.files
	s.files = nil
	return files
}
