package foreign

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/listing"
	"github.com/fserve/fserve/server/resolve"
	"github.com/fserve/fserve/server/site"
)

// coarse is how fine the times of an FS are at least; how fine they are nobody knows.
const coarse = 2 * time.Second

// inFS is a file of an fs.FS.
type inFS struct {
	fs.File
	fsys fs.FS
	name string
	at   int64 // where Read goes on
}

func (f *inFS) version() (size, mtimeNs int64, err error) {
	st, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	return st.Size(), mtimeOf(st), nil
}

// mtimeOf returns a time of modification in Unix ns, 0 if there is none.
func mtimeOf(st fs.FileInfo) int64 {
	if t := st.ModTime(); !t.IsZero() {
		return t.UnixNano()
	}
	return 0
}

// ReadAt reads as the file can: anywhere, from where it was sought, or from its beginning.
func (f *inFS) ReadAt(p []byte, off int64) (n int, err error) {
	if r, ok := f.File.(io.ReaderAt); ok {
		return r.ReadAt(p, off)
	}
	if err := f.seek(off); err != nil {
		return 0, err
	}
	n, err = io.ReadFull(f.File, p)
	f.at += int64(n)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

func (f *inFS) seek(off int64) (err error) {
	if off == f.at {
		return nil
	}
	if s, ok := f.File.(io.Seeker); ok {
		f.at, err = s.Seek(off, io.SeekStart)
		return err
	}
	if off < f.at {
		again, err := f.fsys.Open(f.name)
		if err != nil {
			return err
		}
		_ = f.Close() // it was only read
		f.File, f.at = again, 0
	}
	n, err := io.CopyN(io.Discard, f.File, off-f.at)
	f.at += n
	return err
}

// openIn is open for a file of an FS.
func (h *Handler) openIn(a *Answer, w *resolve.Want) resolve.Step {
	f, v, e := h.find(w)
	if e != 0 {
		return a.resolved.Opened(nil, e)
	}
	_ = a.files[w.Kind].close() // it was only read
	a.files[w.Kind] = file{content: f, opened: openfile.Opened{FD: -1, Stat: unix.Stat_t{Size: v.Size, Mtim: unix.NsecToTimespec(v.MtimeNs)}}}
	made := w.Version(v)
	return a.resolved.Opened(&made, 0)
}

// find opens the wanted file, which is the caller's then, and says what there is to know of its version.
func (h *Handler) find(w *resolve.Want) (f *inFS, v httpfile.File, e syscall.Errno) {
	name, asDir := strings.CutSuffix(w.Name(string(w.Key)), "/")
	opened, err := w.Place.FS.Open(name)
	if err != nil {
		return nil, v, listing.ErrnoOf(err)
	}
	f = &inFS{File: opened, fsys: w.Place.FS, name: name}
	defer func() {
		if e != 0 {
			_ = f.Close() // it was only read
		}
	}()
	st, err := f.Stat()
	switch {
	case err != nil:
		return f, v, listing.ErrnoOf(err)
	case st.IsDir():
		return f, v, syscall.EISDIR
	case !st.Mode().IsRegular():
		return f, v, syscall.ENXIO
	case asDir:
		return f, v, syscall.ENOTDIR
	}
	v = httpfile.File{Size: st.Size(), MtimeNs: mtimeOf(st), SeenNs: time.Now().UnixNano()}
	v.Indistinct = v.MtimeNs != 0 && v.SeenNs-v.MtimeNs < int64(coarse)
	if w.Kind != resolve.Page && !v.Indistinct && (v.MtimeNs == 0 || w.Place.ContentTags()) {
		if v.Hash, err = h.hash(hashKey{w.Place, name}, f, &v); err != nil {
			return f, v, listing.ErrnoOf(err)
		}
	}
	return f, v, 0
}

// hashKey tells files of FSs apart.
type hashKey struct {
	place *site.Place
	name  string
}

// hashed is the SHA-256 of a version of a file.
type hashed struct {
	sync.Mutex
	size, mtimeNs int64
	sum           string // in hexadecimal; empty: it is not known
}

// hash returns the SHA-256 of a file. It reads a version once.
func (h *Handler) hash(k hashKey, f *inFS, v *httpfile.File) (string, error) {
	found, _ := h.hashes.LoadOrStore(k, new(hashed))
	x := found.(*hashed)
	x.Lock()
	defer x.Unlock()
	if x.sum != "" && x.size == v.Size && x.mtimeNs == v.MtimeNs {
		return x.sum, nil
	}
	sum := sha256.New()
	if n, err := io.Copy(sum, io.NewSectionReader(f, 0, v.Size)); err != nil || n < v.Size {
		return "", fmt.Errorf("%d bytes of %d: %w", n, v.Size, errors.Join(err, syscall.EIO))
	}
	x.size, x.mtimeNs, x.sum = v.Size, v.MtimeNs, hex.EncodeToString(sum.Sum(nil))
	return x.sum, nil
}
