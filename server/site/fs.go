package site

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/fserve/fserve/engine/openfile"
)

// checkFS reports what a location with an FS says that has no effect on it, or that there must be none.
func (l *Location) checkFS(handler bool) error {
	if !handler {
		return errors.New("an FS is for a Handler: server.NewHandler, nethttp.New")
	}
	var faults []error
	for _, option := range []struct {
		name  string
		given bool
	}{
		{"Root", l.Root != ""},
		{"Symlinks", l.Symlinks != openfile.SymlinksInside},
		{"Consistency", l.Consistency != openfile.ConsistencyAuto},
		{"WriteWait", l.WriteWait != 0},
		{"Growing", len(l.Growing) > 0},
		{"Files.Compress", l.Files.Compress != nil},
		{"Alias of a single path", l.Alias && strings.HasPrefix(l.Match, "=")},
	} {
		if option.given {
			faults = append(faults, fmt.Errorf("%s has no effect on an FS: one of the two is too much", option.name))
		}
	}
	return errors.Join(faults...)
}

// isFileIn is isFile for a file of an FS.
func isFileIn(fsys fs.FS, name string) error {
	info, err := fs.Stat(fsys, name)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	return err
}
