package engine

// Prune calls keep for each file of the cache, by its key, and lets go of those for
// which it returns false: transfers keep theirs open. keep may set File.Data. It is
// one pass, which does not wait. It is for the loop's own goroutine, and not for
// a turn in which a session still uses what it has looked up.
func (fs *Files) Prune(keep func(key string, f *File) bool) {
	kept := fs.clock[:0]
	for _, f := range fs.clock {
		if keep(f.name, f) {
			kept = append(kept, f)
			continue
		}
		fs.forget(f)
		f.release()
	}
	clear(fs.clock[len(kept):])
	fs.clock = kept
}

// SetHeadroom changes Config.BodyHeadroom for this cache, in bytes. Bodies that are
// in memory with less before them are let go of, and read again when they are
// asked for. It is for the loop's own goroutine.
func (fs *Files) SetHeadroom(n int) {
	if n > fs.headroom {
		fs.Prune(func(_ string, f *File) bool { return f.Body == nil })
	}
	fs.headroom = n
}
