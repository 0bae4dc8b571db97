package auth

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// lookEvery is how long a file is believed without asking the file system.
	lookEvery = time.Second
	// maxFile bounds a file, in bytes.
	maxFile = 16 << 20
)

// watched is a file that is read anew when it changes. Its methods are safe for concurrent use.
type watched[T any] struct {
	path  string
	what  string // for messages
	log   *slog.Logger
	parse func([]byte) (*T, error)
	good  atomic.Pointer[T] // what it has said last that could be used

	changed func(old, next *T) // is called after good has changed; nil: nothing is
	next    atomic.Int64       // monotonic ns: when it is to be looked at again

	mu    sync.Mutex // held while it is looked at
	tried os.FileInfo
	fault string // of the last look; each is logged once
}

// File is a file with users. Its methods are safe for concurrent use.
type File struct{ watched[Users] }

// KeyFile is a file with API keys. Its methods are safe for concurrent use.
type KeyFile struct{ watched[APIKeys] }

// Open reads a file with users.
func Open(path string, log *slog.Logger) (*File, error) {
	f := &File{watched[Users]{path: path, what: "password file", log: log, parse: parse}}
	_, err := f.read()
	return f, err
}

// OpenKeys reads a file with keys.
func OpenKeys(path string, log *slog.Logger) (*KeyFile, error) {
	f := &KeyFile{watched[APIKeys]{path: path, what: "file of API keys", log: log, parse: parseKeys}}
	_, err := f.read()
	return f, err
}

// Users returns the users at now, in monotonic ns. It does not wait for the disk: what has
// changed is seen by a later call, a second after the change at the latest.
func (f *File) Users(now int64) *Users { return f.at(now) }

// at returns what the file says at now, in monotonic ns, as Users does.
func (f *watched[T]) at(now int64) *T {
	if next := f.next.Load(); now >= next && f.next.CompareAndSwap(next, now+int64(lookEvery)) {
		go f.look()
	}
	return f.good.Load()
}

// Look reads the file anew if it has changed. If it cannot be used what it has said before stays.
func (f *watched[T]) Look() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed, err := f.read()
	switch {
	case err == nil:
		if f.fault = ""; changed {
			f.log.Info(f.what+" reloaded", "file", f.path)
		}
	case err.Error() != f.fault:
		f.fault = err.Error()
		f.log.Error(f.what+" not reloaded: going on with the last good one", "err", err)
	}
	return err
}

// look is Look, unless somebody looks already.
func (f *watched[T]) look() {
	if f.mu.TryLock() {
		f.mu.Unlock()
		_ = f.Look() // it has logged
	}
}

// read reads the file if it is not the one that was read last, well or not.
func (f *watched[T]) read() (changed bool, err error) {
	file, info, err := openRegular(f.path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	if t := f.tried; t != nil && os.SameFile(t, info) && t.Size() == info.Size() && t.ModTime().Equal(info.ModTime()) && ctime(t) == ctime(info) {
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
	good, err := f.parse(content)
	if err != nil {
		return false, fmt.Errorf("%s: %w", f.path, err)
	}
	old := f.good.Swap(good)
	if f.changed != nil {
		f.changed(old, good)
	}
	return true, nil
}

// ctime is the time of the change of a file, which nobody can set back.
func ctime(info os.FileInfo) syscall.Timespec { return info.Sys().(*syscall.Stat_t).Ctim }
