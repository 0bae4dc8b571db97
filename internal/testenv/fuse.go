package testenv

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Calls of the kernel (linux/fuse.h), as far as a reader makes them.
const (
	fuseLookup      = 1
	fuseForget      = 2
	fuseGetattr     = 3
	fuseOpen        = 14
	fuseRead        = 15
	fuseStatfs      = 17
	fuseRelease     = 18
	fuseFlush       = 25
	fuseInit        = 26
	fuseOpendir     = 27
	fuseReaddir     = 28
	fuseReleasedir  = 29
	fuseInterrupt   = 36
	fuseBatchForget = 42
)

var fuseKinds = map[uint32]string{
	fuseLookup: "lookup", fuseGetattr: "getattr", fuseOpen: "open", fuseRead: "read", fuseStatfs: "statfs",
	fuseFlush: "flush", fuseOpendir: "opendir", fuseReaddir: "readdir",
}

// slowServer is the process behind a SlowFS.
type slowServer struct {
	dev  *os.File
	pace pace

	mu    sync.Mutex
	paths map[uint64]string // by node
	ids   map[string]uint64
	open  map[uint64]*os.File // by handle
	last  uint64              // handle
}

// fuseCall is one call of the kernel.
type fuseCall struct {
	code         uint32
	unique, node uint64
	body         []byte
}

var order = binary.NativeEndian

func (s *slowServer) serve() {
	buf := make([]byte, 128<<10)
	for {
		n, err := s.dev.Read(buf)
		if errors.Is(err, unix.ENOENT) { // it was interrupted meanwhile
			continue
		}
		if err != nil {
			os.Exit(0) // unmounted
		}
		const head = 40
		c := fuseCall{order.Uint32(buf[4:]), order.Uint64(buf[8:]), order.Uint64(buf[16:]), append([]byte(nil), buf[head:n]...)}
		switch c.code {
		case fuseForget, fuseBatchForget, fuseInterrupt: // have no answer
		default:
			go s.answer(&c)
		}
	}
}

func (s *slowServer) answer(c *fuseCall) {
	s.pace.wait(fuseKinds[c.code])
	body, e := s.handle(c)
	out := order.AppendUint32(nil, uint32(16+len(body)))
	out = order.AppendUint32(out, uint32(-int32(e)))
	out = order.AppendUint64(out, c.unique)
	_, _ = s.dev.Write(append(out, body...)) // who asked may have gone
}

func (s *slowServer) handle(c *fuseCall) ([]byte, syscall.Errno) {
	switch c.code {
	case fuseInit:
		out := make([]byte, 64)
		order.PutUint32(out, 7)
		order.PutUint32(out[4:], 31)
		order.PutUint32(out[8:], 128<<10) // read-ahead
		order.PutUint32(out[20:], 4<<10)  // the largest write
		return out, 0
	case fuseLookup:
		path := filepath.Join(s.path(c.node), string(c.body[:len(c.body)-1]))
		attr, e := s.attributes(path)
		if e != 0 {
			return nil, e
		}
		return append(order.AppendUint64(nil, s.id(path)), append(make([]byte, 32), attr...)...), 0
	case fuseGetattr:
		attr, e := s.attributes(s.path(c.node))
		return append(make([]byte, 16), attr...), e
	case fuseOpen, fuseOpendir:
		return s.opened(s.path(c.node))
	case fuseRead:
		return s.read(c)
	case fuseReaddir:
		return s.entries(c)
	case fuseFlush:
		return nil, 0
	case fuseRelease, fuseReleasedir:
		h := order.Uint64(c.body)
		s.handleOf(h).Close()
		s.mu.Lock()
		delete(s.open, h)
		s.mu.Unlock()
		return nil, 0
	case fuseStatfs:
		return make([]byte, 80), 0
	}
	return nil, unix.ENOSYS
}

func (s *slowServer) path(node uint64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paths[node]
}

// id returns the node of a path.
func (s *slowServer) id(path string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids[path] == 0 {
		s.ids[path] = uint64(len(s.ids) + 1)
		s.paths[s.ids[path]] = path
	}
	return s.ids[path]
}

func (s *slowServer) attributes(path string) ([]byte, syscall.Errno) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return nil, err.(syscall.Errno)
	}
	var out []byte
	for _, n := range []int64{int64(s.id(path)), st.Size, st.Blocks, st.Atim.Sec, st.Mtim.Sec, st.Ctim.Sec} {
		out = order.AppendUint64(out, uint64(n))
	}
	for _, n := range []uint32{
		uint32(st.Atim.Nsec), uint32(st.Mtim.Nsec), uint32(st.Ctim.Nsec), st.Mode, uint32(st.Nlink), st.Uid, st.Gid, 0, 4096, 0,
	} {
		out = order.AppendUint32(out, n)
	}
	return out, 0
}

func (s *slowServer) opened(path string) ([]byte, syscall.Errno) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unix.EACCES
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.open[s.last] = f
	return append(order.AppendUint64(nil, s.last), make([]byte, 8)...), 0
}

func (s *slowServer) handleOf(h uint64) *os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[h]
}

func (s *slowServer) read(c *fuseCall) ([]byte, syscall.Errno) {
	buf := make([]byte, order.Uint32(c.body[16:]))
	n, _ := s.handleOf(order.Uint64(c.body)).ReadAt(buf, int64(order.Uint64(c.body[8:])))
	return buf[:n], 0
}

func (s *slowServer) entries(c *fuseCall) (out []byte, e syscall.Errno) {
	list, err := os.ReadDir(s.path(c.node))
	if err != nil {
		return nil, unix.EIO
	}
	size := int(order.Uint32(c.body[16:]))
	for i := int(order.Uint64(c.body[8:])); i < len(list); i++ {
		name := list[i].Name()
		entry := order.AppendUint64(nil, s.id(filepath.Join(s.path(c.node), name)))
		entry = order.AppendUint64(entry, uint64(i+1))
		entry = order.AppendUint32(entry, uint32(len(name)))
		entry = append(order.AppendUint32(entry, uint32(list[i].Type()>>12)), name...) // DT_UNKNOWN will do
		entry = append(entry, make([]byte, -len(entry)&7)...)
		if len(out)+len(entry) > size {
			break
		}
		out = append(out, entry...)
	}
	return out, 0
}
