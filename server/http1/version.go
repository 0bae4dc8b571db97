package http1

import (
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/resolve"
)

// version is what a session keeps with one version of an open file.
type version struct {
	resolve.Version
	// hot is the head of the plain 200 answer followed by the body, in one
	// piece; nil if the body is not in memory or was in use. It is of what was loaded then.
	hot    []byte
	loaded uint32 // File.Loads
}

// newVersion makes what is kept with the file that is wanted, in memory of another one if there is
// some.
func newVersion(w *resolve.Want, f *openfile.File) *version {
	v, ok := f.Spare.(*version)
	if !ok {
		v = new(version)
	}
	f.Data, f.Spare = v, nil
	v.hot = nil
	w.Remake(&v.Version, f.Key(), httpfile.File{
		Size: f.Size, MtimeNs: f.Mtime, CtimeNs: f.Ctime, Inode: f.Ino, SeenNs: f.Opened, Indistinct: f.Indistinct, Hash: f.Hash,
	})
	return v
}

// rendered returns the head of the plain 200 answer and the body of a small file, with
// the Date of now, or nil if that cannot be had: the head must not change while a response
// of it is under way, be it one that began before the version was made.
func (v *version) rendered(f *openfile.File, s *Session) []byte {
	if v.hot == nil || v.loaded != f.Loads {
		v.render(f, s)
		return v.hot
	}
	const at = httpfile.OKDateOffset
	if date := v.hot[at : at+httpfile.DateLen]; string(date) != string(s.clock.date[:]) {
		if f.InUse() {
			return nil
		}
		copy(date, s.clock.date[:])
	}
	return v.hot
}

func (v *version) render(f *openfile.File, s *Session) {
	v.hot, v.loaded = nil, f.Loads
	if f.InUse() && f.Brief() == nil {
		return
	}
	s.out = v.Facts.AppendOK(s.out[:0], s.clock.date[:], httpfile.ConnImplied)
	if len(v.Lines) > 0 {
		s.out = append(append(s.out[:len(s.out)-len("\r\n")], v.Lines...), "\r\n"...)
	}
	v.hot = f.Headed(len(s.out))
	copy(v.hot, s.out)
}
