package openfile

import (
	"unsafe"

	"github.com/fserve/fserve/internal/aio"
)

// maxGone is how many files that are gone are kept as memory: in a cache that is full one goes
// for each that comes.
const maxGone = 64

// memory is that of files which are gone. It is used again, with what sessions have derived: where each
// request is for another file the collector would have as much to do as the server.
type memory struct {
	gone   []*File
	serial uint64 // of the file that was made last
}

// file returns a File of fs for what was opened. key is copied.
func (m *memory) file(fs *Files, key string, o *Opened) *File {
	f := m.take(fs.request)
	if f.Data == nil {
		f.Data = f.Spare
	}
	m.serial++
	*f = File{
		Size: o.Stat.Size, Mtime: o.Stat.Mtim.Nano(), Ctime: o.Stat.Ctim.Nano(), Ino: o.Stat.Ino,
		Opened: o.At, Indistinct: o.Indistinct, Hash: o.Hash, Spare: f.Data,
		lent: aio.File{FD: o.FD, Size: o.Stat.Size, Serial: m.serial}, dev: o.Stat.Dev,
		files: fs, from: o.From, name: append(f.name[:0], key...), checked: fs.now, request: fs.request,
	}
	f.key = unsafe.String(unsafe.SliceData(f.name), len(f.name))
	return f
}

// take returns a file that is gone, or a new one. None has gone during the request at hand: the
// session may still have looked at it.
func (m *memory) take(request uint64) *File {
	n := len(m.gone)
	if n == 0 || m.gone[n-1].request == request {
		return new(File)
	}
	f := m.gone[n-1]
	m.gone = m.gone[:n-1]
	return f
}

// put keeps a file that is gone. It stays as it is until the request at hand has ended.
func (m *memory) put(f *File, request uint64) {
	f.lent.FD, f.request = -1, request
	if len(m.gone) < maxGone {
		m.gone = append(m.gone, f)
	}
}

func (m *memory) clear() {
	clear(m.gone)
	m.gone = m.gone[:0]
}
