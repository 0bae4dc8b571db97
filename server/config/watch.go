package config

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// watchQuiet is how long the files must stay the same before they are
	// believed to be written: two looks so far apart find them equal.
	watchQuiet = 200 * time.Millisecond
	// watchUnsure is watchQuiet where the kernel does not tell whether somebody has one of
	// them open for writing.
	watchUnsure = 2 * time.Second
	// watchPoll is how often they are looked at without being told of a change:
	// file systems over the network tell nothing, and a directory may be replaced.
	watchPoll = 5 * time.Second
	// maxLinks bounds the symbolic links that lead to a file, as the kernel does.
	maxLinks = 40
)

// Watch reloads the configuration files when their content changes, until ctx
// ends. Directories are watched, not files: a file that is replaced by rename, or
// reached by a symbolic link that is swapped, is another file. What is told of a
// directory is only a reason to look; what counts is the content.
func (r *Reloader) Watch(ctx context.Context) {
	w := watch{r: r, file: r.sources.boot().File}
	if w.file == "" {
		return
	}
	notify, err := fsnotify.NewWatcher()
	if err != nil { // as a rule too many: fs.inotify.max_user_instances
		r.hooks.Log.Warn("configuration files are polled, not watched", "err", err, "every", r.poll)
		notify = &fsnotify.Watcher{} // its channels are nil: nothing comes
	} else {
		defer func() { _ = notify.Close() }() // it is of no use any more
		w.notify = notify
	}
	poll := time.NewTicker(r.poll)
	defer poll.Stop()
	quiet := time.NewTimer(0) // what has changed since Start?
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-notify.Events:
			w.soon(quiet)
		case err := <-notify.Errors: // events were lost
			r.hooks.Log.Debug("watching configuration files", "err", err)
			w.soon(quiet)
		case <-poll.C:
			w.soon(quiet)
		case <-quiet.C:
			w.armed = false
			if w.look() {
				w.soon(quiet)
			}
		}
	}
}

type watch struct {
	r      *Reloader
	file   string
	notify *fsnotify.Watcher // nil: none
	armed  bool              // a look is due
	found  string            // fingerprint of the last look, if it was new
	unsure bool              // see input
}

// soon has the files looked at after a while. Further events do not put it off,
// or somebody who writes to the directory all the time could.
func (w *watch) soon(quiet *time.Timer) {
	if !w.armed {
		w.armed = true
		after := watchQuiet
		if w.unsure && w.found != "" {
			after = watchUnsure
		}
		quiet.Reset(after)
	}
}

// look reloads files that are new and the same as at the last look. again: they
// are new, or being written, and must be looked at once more.
func (w *watch) look() (again bool) {
	w.follow() // before reading, so that a change after it is told
	in := readNow(w.file)
	w.unsure = in.unsure
	if in.open {
		return true
	}
	now := in.fingerprint()
	w.r.mu.Lock()
	known := now == w.r.tried
	w.r.mu.Unlock()
	switch {
	case known:
		w.found = ""
	case now != w.found:
		w.found = now
		return true
	default:
		w.found = ""
		_, _ = w.r.Reload("changed files") // it has logged the error
	}
	return false
}

// follow watches the directories that the files are in now.
func (w *watch) follow() {
	if w.notify == nil {
		return
	}
	watched, wanted := w.notify.WatchList(), w.directories()
	for _, dir := range wanted {
		if !slices.Contains(watched, dir) {
			_ = w.notify.Add(dir) // it may be gone: polling finds it again
		}
	}
	for _, dir := range watched {
		if !slices.Contains(wanted, dir) {
			_ = w.notify.Remove(dir)
		}
	}
}

// directories are those in which a change can change the files: where they are,
// and where the symbolic links are that lead to them. None is named by a link.
func (w *watch) directories() (dirs []string) {
	names, _ := filesOf(w.file) // what cannot be read is reported at the reload
	names = append(names, filepath.Join(filepath.Dir(w.file), dropIns, "any"))
	for _, name := range names {
		for range maxLinks {
			if dir, err := filepath.EvalSymlinks(filepath.Dir(name)); err == nil && !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
			target, err := os.Readlink(name)
			if err != nil {
				break
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join(filepath.Dir(name), target)
			}
			name = target
		}
	}
	return dirs
}
