package sys

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ReplaceFile puts content into the place of a file at once: after a crash there is the old one or
// the new one. Only the owner can read it. It waits for the disk.
func ReplaceFile(name string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return SyncDir(filepath.Dir(name))
}

// SyncDir makes the names of a directory last over a crash, where its file system can do that.
func SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	if err = d.Sync(); errors.Is(err, unix.EINVAL) { // there are file systems without that
		err = nil
	}
	return errors.Join(err, d.Close())
}
