package kernels

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// image is an initial RAM file system in the form that Linux unpacks: cpio's "newc"
// (Documentation/driver-api/early-userspace/buffer-format.rst).
type image struct {
	bytes.Buffer
	made map[string]bool
}

// add adds a file with its content, and the directories above it.
func (m *image) add(path string, mode fs.FileMode, content []byte) {
	path = strings.TrimPrefix(path, "/")
	if dir := filepath.Dir(path); dir != "." && !m.made[dir] {
		m.add(dir, fs.ModeDir|0o755, nil)
	}
	if m.made == nil {
		m.made = make(map[string]bool)
	}
	m.made[path] = true
	const regular, directory = 0o100000, 0o040000
	kind := uint32(regular)
	if mode.IsDir() {
		kind = directory
	}
	m.entry(path, kind|uint32(mode.Perm()), content)
}

func (m *image) entry(name string, mode uint32, content []byte) {
	// Number of the inode, mode, owner, group, links, time, size, device, device that it is,
	// length of the name, checksum.
	fmt.Fprintf(m, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		len(m.made), mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0, name)
	m.pad()
	m.Write(content)
	m.pad()
}

// pad fills up to a multiple of four bytes.
func (m *image) pad() { m.Write(make([]byte, -m.Len()&3)) }

// end completes it.
func (m *image) end() []byte {
	m.entry("TRAILER!!!", 0, nil)
	return m.Bytes()
}

// modules adds modules of a kernel with all that they depend on, and returns their paths in the
// order in which they are to be loaded. Those that this kernel does not have are left out.
func (m *image) modules(tree string, names ...string) (paths []string, err error) {
	files := make(map[string]string)
	err = filepath.WalkDir(tree, func(path string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			files[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var add func(name string) error
	add = func(name string) error {
		file, path := files[name], "/modules/"+name+".ko"
		if file == "" || slices.Contains(paths, path) {
			return nil
		}
		depends, err := dependsOn(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for _, d := range depends {
			if err := add(d); err != nil {
				return err
			}
		}
		content, err := os.ReadFile(file)
		m.add(path, 0o644, content)
		paths = append(paths, path)
		return err
	}
	for _, n := range names {
		if err := add(n); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// dependsOn returns the names of the modules that one needs.
func dependsOn(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("it has no section .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for line := range strings.SplitSeq(string(info), "\x00") {
		if d, ok := strings.CutPrefix(line, "depends="); ok && d != "" {
			return strings.Split(strings.ReplaceAll(d, "-", "_"), ","), nil
		}
	}
	return nil, nil
}
