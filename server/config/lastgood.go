package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fserve/fserve/internal/sys"
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
		name, content := filepath.Join(dir, lastGood), append([]byte(lastGoodMark), text...)
		if old, readErr := os.ReadFile(name); readErr != nil || !bytes.Equal(old, content) {
			err = sys.ReplaceFile(name, content)
		}
	}
	if err != nil {
		return fmt.Errorf("last good configuration: %w", err)
	}
	return nil
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
