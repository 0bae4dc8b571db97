package quota

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/sys"
)

// files are where a Book is kept. Each process has one of its own, to which it adds lines, and which is
// locked while it lives: what all of them say together is what was used. So a process and its successor
// count side by side. Of a process that has ended the next one takes the file over.
//
// A line has its checksum before it. One that is torn, or was never written for lack of room, counts for
// nothing and takes nothing with it.
type files struct {
	mu     sync.Mutex
	dir    string // empty: nothing is kept
	own    *os.File
	path   string             // of own
	size   int64              // of own, as far as it is whole
	first  int64              // the size when it was begun
	others map[string]*living // by path
	// taken are the files, by path, that own or that of another process (nil) has taken over, and that are
	// still there. Those of own are locked, so that nobody else takes them over.
	taken map[string]*os.File
	owes  bool // own does not say so yet
}

// living is the file of another process that has not ended.
type living struct {
	info os.FileInfo
	sums sums
}

const (
	pattern = "quota-*.log"
	// rewriteAt is how long a file is at least that is written anew, in bytes, when it is twice what it was.
	rewriteAt = 4 << 20
)

// Keep goes on with what the files in a directory say, and keeps the accounts there from then on. A second
// call does nothing. After an error Sync tries again.
func (b *Book) Keep(dir string, now int64) error {
	f := &b.files
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dir != "" || dir == "" {
		return nil
	}
	f.dir, f.others, f.taken = dir, make(map[string]*living), make(map[string]*os.File)
	if err := b.lookAround(now); err != nil {
		return fmt.Errorf("quotas: %w", err)
	}
	return nil
}

// lookAround reads what other processes say, and takes over the files of those that have ended. Own is
// written anew if there are any, or if there is none, also because somebody has removed it.
func (b *Book) lookAround(now int64) error {
	f := &b.files
	paths, err := f.list()
	if err != nil {
		return err
	}
	ended, said := make(map[string]*os.File), make(map[string]sums)
	defer func() {
		for _, file := range ended {
			_ = file.Close()
		}
	}()
	for _, path := range paths {
		if path == f.path || f.taken[path] != nil {
			continue
		}
		if said[path], err = b.ask(path, ended); err != nil {
			return err
		}
	}
	for path := range f.others { // what has it over is heard already
		if _, over := f.taken[path]; over || !slices.Contains(paths, path) {
			b.hear(path, nil)
		}
	}
	for path, file := range ended {
		if _, over := f.taken[path]; over {
			continue // another process has it, and has ended before it could remove it
		}
		b.inherit(said[path], now)
		b.hear(path, nil)
		f.taken[path], f.owes = file, true
		delete(ended, path)
	}
	if f.owes = f.owes || f.own == nil || !slices.Contains(paths, f.path); f.owes {
		if err := b.rewrite(now); err != nil {
			return err
		}
		f.owes = false
	}
	f.forget()
	return nil
}

// list returns the paths of the files of all processes.
func (f *files) list() (paths []string, err error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if ok, _ := filepath.Match(pattern, e.Name()); ok {
			paths = append(paths, filepath.Join(f.dir, e.Name()))
		}
	}
	return paths, nil
}

// ask reads the file of another process, and hears it if that lives. Else the file is added to ended,
// locked.
func (b *Book) ask(path string, ended map[string]*os.File) (sums, error) {
	f := &b.files
	file, err := claim(path)
	if err != nil {
		return nil, err
	}
	if file != nil {
		ended[path] = file
	} else if l := f.others[path]; l != nil && same(l.info, path) {
		return nil, nil //nolint:nilnil // it says what it did
	}
	info, s, taken, err := read(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // somebody else has taken it over meanwhile
	}
	if err != nil {
		return nil, err
	}
	for _, name := range taken {
		if path := filepath.Join(f.dir, name); f.taken[path] == nil {
			f.taken[path] = nil
		}
	}
	if file == nil {
		b.hear(path, &living{info, s})
	}
	return s, nil
}

// inherit adds what a file said that is taken over to what own is to say.
func (b *Book) inherit(s sums, now int64) {
	for id, n := range s {
		if !id.period.over(now) {
			a := b.Of([]byte(id.name), id.period)
			a.used.Add(n)
			a.kept += n
		}
	}
}

// forget removes the files that were taken over.
func (f *files) forget() {
	for path, file := range f.taken {
		if err := os.Remove(path); err == nil || errors.Is(err, os.ErrNotExist) {
			_ = file.Close() // nil is none
			delete(f.taken, path)
		}
	}
}

// hear notes what another process says now; nil: nothing any more.
func (b *Book) hear(path string, now *living) {
	f := &b.files
	change := make(sums)
	if was := f.others[path]; was != nil {
		for id, n := range was.sums {
			change[id] -= n
		}
	}
	if delete(f.others, path); now != nil {
		f.others[path] = now
		for id, n := range now.sums {
			change[id] += n
		}
	}
	for id, n := range change {
		a := b.Of([]byte(id.name), id.period)
		a.used.Add(n)
		a.foreign += n
	}
}

// Sync adds to the own file what has changed, and hears what other processes say. After an error it may
// be called again: nothing is lost but by the end of the process.
func (b *Book) Sync(now int64) error {
	f := &b.files
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dir == "" {
		return nil
	}
	if err := b.lookAround(now); err != nil {
		return fmt.Errorf("quotas: %w", err)
	}
	var text bytes.Buffer
	var changed []*Account
	var by []int64
	b.each(func(a *Account) bool {
		n := a.used.Load() - a.foreign - a.kept
		if n != 0 {
			addLine(&text, a.id, n)
			changed, by = append(changed, a), append(by, n)
		}
		return n != 0 || a.foreign != 0 || !a.period.over(now)
	})
	if text.Len() == 0 {
		return nil
	}
	if err := f.add(text.Bytes()); err != nil {
		return fmt.Errorf("quotas: %w", err)
	}
	for i, a := range changed {
		a.kept += by[i]
	}
	if f.size > max(rewriteAt, 2*f.first) {
		return b.rewrite(now)
	}
	return nil
}

// add adds lines to the own file, all or none.
func (f *files) add(text []byte) error {
	_, err := f.own.Write(text)
	if err == nil {
		err = unix.Fdatasync(int(f.own.Fd()))
	}
	if err != nil {
		return errors.Join(err, f.own.Truncate(f.size), seekEnd(f.own)) // what was torn would spoil the next line
	}
	f.size += int64(len(text))
	return nil
}

func seekEnd(f *os.File) error {
	_, err := f.Seek(0, io.SeekEnd)
	return err
}

// rewrite writes an own file anew, which has what those that were taken over had.
func (b *Book) rewrite(now int64) error {
	f := &b.files
	path := f.path
	if path == "" {
		path = filepath.Join(f.dir, fmt.Sprintf("quota-%x-%x.log", time.Now().UnixNano(), os.Getpid()))
	}
	var text bytes.Buffer
	for taken := range f.taken {
		sealLine(&text, "f "+filepath.Base(taken))
	}
	b.each(func(a *Account) bool {
		if a.kept != 0 && !a.period.over(now) {
			addLine(&text, a.id, a.kept)
		}
		return true
	})
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	own, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = own.Write(text.Bytes())
	for _, step := range []func() error{
		func() error { return unix.Flock(int(own.Fd()), unix.LOCK_EX|unix.LOCK_NB) }, own.Sync,
		func() error { return os.Rename(path+".new", path) },
	} {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		return errors.Join(err, own.Close(), os.Remove(path+".new"))
	}
	if f.own != nil {
		_ = f.own.Close() // it has no name any more
	}
	f.own, f.path = own, path // whatever follows: another process must not take it over
	f.size, f.first = int64(text.Len()), int64(text.Len())
	return sys.SyncDir(f.dir)
}

// Close keeps what has changed, and lets another process take the file over.
func (b *Book) Close(now int64) error {
	err := b.Sync(now)
	f := &b.files
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.own != nil {
		err = errors.Join(err, f.own.Close())
	}
	for _, file := range f.taken {
		_ = file.Close() // nil is none
	}
	f.dir, f.own, f.path, f.taken = "", nil, "", nil
	return err
}
