package suite

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/bench/load"
)

// file is a test file in the root, or many of one size.
type file struct {
	name string // without a slash at its beginning; of many the directory, with one at its end
	size int64  // bytes
	many int    // 0: one
}

// members returns the files that f stands for.
func (f file) members() []file {
	if f.many == 0 {
		return []file{f}
	}
	all := make([]file, f.many)
	for i := range all {
		all[i] = file{name: load.Name(f.name, i), size: f.size}
	}
	return all
}

func (f file) path() string { return "/" + f.name }

// ensure makes the files that do not exist yet and brings them all to disk, so
// that no write-back runs beside a measurement.
func ensure(root string, files []file) error {
	for _, f := range files {
		if f.many > 0 {
			if err := os.MkdirAll(filepath.Join(root, f.name), 0o755); err != nil {
				return fmt.Errorf("test file: %w", err)
			}
		}
		for i, m := range f.members() {
			name := filepath.Join(root, m.name)
			if st, err := os.Stat(name); err == nil && st.Size() == m.size {
				continue
			}
			if err := generate(name, m.size, int64(i)*m.size); err != nil {
				return fmt.Errorf("test file: %w", err)
			}
		}
	}
	unix.Sync()
	return nil
}

// generate writes a file in which every 8 bytes tell where they are, counted from base (a
// multiple of 8), so that no part can be taken for another.
func generate(name string, size, base int64) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, min(1<<20, (size+7)/8*8))
	for off := int64(0); off < size; off += int64(len(block)) {
		pattern(block, base+off)
		if _, err := f.Write(block[:min(int64(len(block)), size-off)]); err != nil {
			return err
		}
	}
	return f.Close()
}

// pattern fills p, whose length and offset are multiples of 8.
func pattern(p []byte, off int64) {
	for i := 0; i < len(p); i += 8 {
		v := (uint64(off) + uint64(i)) * 0x9E3779B97F4A7C15 // an odd multiplier loses nothing
		binary.LittleEndian.PutUint64(p[i:], v^v>>29)
	}
}

// resident reads a file once, so that it is in the page cache.
func resident(root string, f file) error {
	file, err := os.Open(filepath.Join(root, f.name))
	if err != nil {
		return err
	}
	defer file.Close()
	buf := make([]byte, 1<<20)
	for off := int64(0); off < f.size; {
		n, err := file.ReadAt(buf[:min(int64(len(buf)), f.size-off)], off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// onMemoryFS tells whether a directory has no disk below it.
func onMemoryFS(dir string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return false, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC, nil
}
