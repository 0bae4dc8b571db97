package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// lastGood is the file in the state directory with the last good configuration
// of files.
const lastGood = "last-good.yaml"

// lastGoodMark begins a last good configuration. It tells that a file is whole
// and whose it is.
const lastGoodMark = "# The last configuration of files that fserve has run with. fserve writes it; --config-fallback reads it.\n"

// save keeps what files say in a state directory. What was kept before is
// replaced only when the new one is on the disk.
func (b *build) save(dir string) error {
	given := func(path string) bool { return b.origins.Of(path).Kind == FromFile }
	text, err := Rendering{Secrets: true, only: given}.Render(b.cfg)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = replaceFile(filepath.Join(dir, lastGood), append([]byte(lastGoodMark), text...))
	}
	if err != nil {
		return fmt.Errorf("last good configuration: %w", err)
	}
	return nil
}

// replaceFile puts content into the place of a file at once: after a crash there
// is the old one or the new one. Only the owner can read it.
func replaceFile(name string, content []byte) error {
	if old, err := os.ReadFile(name); err == nil && string(old) == string(content) {
		return nil
	}
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
	return syncDir(filepath.Dir(name))
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// LoadLastGood is Load with the last good configuration in the place of the
// files.
func (s *Sources) LoadLastGood() (*Loaded, error) {
	dir := s.boot().StateDir
	if dir == "" {
		return nil, errors.New("last good configuration: there is no state directory")
	}
	name := filepath.Join(dir, lastGood)
	content, err := readBounded(name)
	if err != nil {
		return nil, fmt.Errorf("last good configuration: %w", err)
	}
	if !bytes.HasPrefix(content, []byte(lastGoodMark)) {
		return nil, fmt.Errorf("last good configuration: %s was not written by fserve", name)
	}
	return s.assemble(input{names: []string{name}, contents: [][]byte{content}})
}
