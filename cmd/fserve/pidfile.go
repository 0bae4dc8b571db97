package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// pidFile is a file with the number of the process that serves. It is replaced
// whole, so that readers see a number, and after an upgrade that of the new
// process.
type pidFile struct {
	path string
	next string // written, and not yet in its place
}

// preparePID writes the number beside path, so that what can fail has failed
// before anything is served. path empty: nil, which is no file.
func preparePID(path string) (*pidFile, error) {
	if path == "" {
		return nil, nil
	}
	sweepPID(path)
	next := fmt.Sprintf("%s.%d", path, os.Getpid())
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("PID file: %w", err)
	}
	_, err = f.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if info, statErr := os.Lstat(path); err == nil && statErr == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is there and is not a file", path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("PID file: %w", err), os.Remove(next))
	}
	return &pidFile{path, next}, nil
}

// sweepPID removes what processes have left beside path that were killed before they
// served: PATH.NUMBER with the number of a process that is no more, or of this one.
func sweepPID(path string) {
	entries, _ := os.ReadDir(filepath.Dir(path)) // it is tidied up at the next start
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), filepath.Base(path)+".")
		pid, err := strconv.Atoi(number)
		if !ok || err != nil || pid <= 0 || !e.Type().IsRegular() {
			continue
		}
		if pid == os.Getpid() || errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			_ = os.Remove(filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
}

// place puts the number where it is looked for.
func (p *pidFile) place() error {
	if p == nil {
		return nil
	}
	if err := os.Rename(p.next, p.path); err != nil {
		return fmt.Errorf("PID file: %w", err)
	}
	p.next = ""
	return nil
}

// remove removes the file, unless another process has put its own there.
func (p *pidFile) remove() error {
	if p == nil {
		return nil
	}
	if p.next != "" {
		return os.Remove(p.next)
	}
	b, err := os.ReadFile(p.path)
	if err != nil || strings.TrimSpace(string(b)) != strconv.Itoa(os.Getpid()) {
		return nil //nolint:nilerr // it is gone, or not ours to judge
	}
	return os.Remove(p.path)
}

// checkPID reports whether a PID file could be written, without making it.
func checkPID(path string) error {
	if path == "" {
		return nil
	}
	err := os.NewSyscallError("access", unix.Access(filepath.Dir(path), unix.W_OK|unix.X_OK))
	if info, statErr := os.Lstat(path); err == nil && statErr == nil && !info.Mode().IsRegular() {
		err = errors.New("it is there and is not a file")
	} else if err == nil && statErr != nil && !errors.Is(statErr, fs.ErrNotExist) {
		err = statErr
	}
	if err != nil {
		return fmt.Errorf("PID file: %s: %w", path, err)
	}
	return nil
}
