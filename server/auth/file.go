package auth

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookEvery is how long a file is believed without asking the file system.
	lookEvery = time.Second
	// maxFile bounds a file, in bytes.
	maxFile = 16 << 20
)

// File is a file with users. Its methods are safe for concurrent use.
type File struct {
	path  string
	log   *slog.Logger
	users atomic.Pointer[Users]
	next  atomic.Int64 // monotonic ns: when it is to be looked at again

	mu    sync.Mutex // held while it is looked at
	tried os.FileInfo
	fault string // of the last look; each is logged once
}

// Open reads a file with users.
func Open(path string, log *slog.Logger) (*File, error) {
	f := &File{path: path, log: log}
	if _, err := f.read(); err != nil {
		return nil, err
	}
	return f, nil
}

// Users returns the users at now, in monotonic ns. It does not wait for the disk: what has
// changed is seen by a later call, a second after the change at the latest.
func (f *File) Users(now int64) *Users {
	if next := f.next.Load(); now >= next && f.next.CompareAndSwap(next, now+int64(lookEvery)) {
		go f.look()
	}
	return f.users.Load()
}

// Look reads the file anew if it has changed. If it cannot be used its last good users stay.
func (f *File) Look() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed, err := f.read()
	switch {
	case err == nil:
		if f.fault = ""; changed {
			f.log.Info("password file reloaded", "file", f.path)
		}
	case err.Error() != f.fault:
		f.fault = err.Error()
		f.log.Error("password file not reloaded: going on with the last good one", "err", err)
	}
	return err
}

// look is Look, unless somebody looks already.
func (f *File) look() {
	if f.mu.TryLock() {
		f.mu.Unlock()
		_ = f.Look() // it has logged
	}
}

// read reads the file if it is not the one that was read last, well or not.
func (f *File) read() (changed bool, err error) {
	file, info, err := openRegular(f.path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	if t := f.tried; t != nil && os.SameFile(t, info) && t.Size() == info.Size() && t.ModTime().Equal(info.ModTime()) {
		return false, nil
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("%s: more than %d bytes", f.path, maxFile)
	}
	if err != nil {
		return false, err
	}
	f.tried = info
	users, err := parse(content)
	if err != nil {
		return false, fmt.Errorf("%s: %w", f.path, err)
	}
	f.users.Store(users)
	return true, nil
}
