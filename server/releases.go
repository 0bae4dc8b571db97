package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/server/release"
)

const (
	// releaseEvery is how often it is looked at what the versions of releases have answered.
	releaseEvery = time.Second
	// releaseKept is how often it is kept how long a step has held, if nothing else happens.
	releaseKept = 10 * time.Second
	// releaseLost is how many times in turn the files of a canary are missed before it is taken back: a
	// directory may be replaced.
	releaseLost = 2
	// releaseSilent is how many times in turn nothing is known of them, because the file system does not
	// answer, before it is taken back.
	releaseSilent = 10
)

// look is one at the directory of a canary. It is not waited for, its file system may never answer.
type look struct {
	answer       chan error // of one
	under        bool       // it is under way
	lost, silent int        // how many times in turn
}

// begin begins a look, unless one is under way.
func (l *look) begin(dir string) {
	if l.under {
		return
	}
	l.under = true
	go func() {
		_, err := os.Stat(dir)
		l.answer <- err
	}()
}

// missing returns why the files of a canary cannot be had; nil: they can, or it is not known yet.
func (l *look) missing(dir string) error {
	select {
	case err := <-l.answer:
		l.under, l.silent = false, 0
		if err == nil {
			l.lost = 0
		} else if l.lost++; l.lost >= releaseLost {
			return err
		}
	default:
		if l.silent++; l.silent >= releaseSilent {
			return fmt.Errorf("the file system of %s does not answer", dir)
		}
	}
	return nil
}

// releaseKeeper has the releases of the configuration in force, and takes them from step to step.
type releaseKeeper struct {
	log     *slog.Logger
	file    string // where their states are kept; empty: nowhere
	changed func(name string, c *release.Change)
	end     chan struct{} // nil: nobody looks at them
	done    sync.WaitGroup

	mu     sync.Mutex
	list   map[string]*release.Release // by name
	saved  map[string]release.Saved    // as the file has them
	counts map[*release.State]*[release.NumVersions]release.Counts
	failed bool // they could not be kept

	looks map[*release.State]*look // of who looks at them alone
}

// load reads what an earlier process has kept. What cannot be read is said, and the releases begin as
// the configuration has them.
func (k *releaseKeeper) load() {
	if k.file == "" {
		return
	}
	b, err := os.ReadFile(k.file)
	if err == nil {
		err = json.Unmarshal(b, &k.saved)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.saved = nil
		k.log.Warn("the states of releases cannot be read: they begin anew", "file", k.file, "err", err)
	}
}

// next returns the releases of a configuration. Those whose versions stay go on where they are.
func (k *releaseKeeper) next(configs map[string]Release) (map[string]*release.Release, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var faults []error
	list := make(map[string]*release.Release, len(configs))
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		c := configs[name].WithDefaults()
		for _, err := range c.Check() {
			faults = append(faults, fmt.Errorf("%w: releases[%s]: %w", ErrConfig, name, err))
		}
		if before := k.list[name]; before != nil && before.Versions() == c.Versions() {
			list[name] = release.New(name, c, before.State)
			continue
		}
		state := release.NewState(&c)
		if was, ok := k.saved[name]; ok && k.list == nil {
			state.Restore(&was)
		}
		list[name] = release.New(name, c, state)
	}
	return list, errors.Join(faults...)
}

// use puts releases in force.
func (k *releaseKeeper) use(list map[string]*release.Release, now int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, r := range list {
		if before := k.list[name]; before != nil && before.State == r.State {
			r.Adopt(&r.Config, now)
		}
	}
	k.list = list
}

// keepReleases begins to look at releases, if there are any. It is called by New and Swap.
func (s *Server) keepReleases() {
	k := &s.releases
	if k.end != nil || len(s.Releases()) == 0 {
		return
	}
	end := make(chan struct{})
	k.end = end
	k.done.Go(func() {
		tick := time.NewTicker(releaseEvery)
		defer tick.Stop()
		kept := time.Now()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			if s.tickReleases() || time.Since(kept) > releaseKept {
				k.keep()
				kept = time.Now()
			}
		}
	})
}

// tickReleases looks at all releases, and reports whether something has changed.
func (s *Server) tickReleases() (changed bool) {
	k, list := &s.releases, s.Releases()
	counts := make(map[*release.State]*[release.NumVersions]release.Counts, len(list))
	for _, r := range list {
		counts[r.State] = new([release.NumVersions]release.Counts)
	}
	k.look(list)
	s.engine.Ask(func(l *loop.Loop) {
		if x := s.sessions.of(l); x != nil {
			x.Recorder().Versions(counts)
		}
	})
	k.mu.Lock()
	k.counts = counts
	k.mu.Unlock()
	for name, r := range list {
		var missing error
		if l := k.looks[r.State]; l != nil {
			missing = l.missing(r.Canary.Root)
		}
		if c := r.Tick(sys.Nanotime(), counts[r.State], missing); c != nil {
			changed = true
			k.tell(name, c)
		}
	}
	return changed
}

// look begins looks at the directories of canaries.
func (k *releaseKeeper) look(list map[string]*release.Release) {
	looks := make(map[*release.State]*look, len(list))
	for _, r := range list {
		if r.Canary.Root == "" {
			continue
		}
		l := k.looks[r.State]
		if l == nil {
			l = &look{answer: make(chan error, 1)}
		}
		l.begin(r.Canary.Root)
		looks[r.State] = l
	}
	k.looks = looks
}

// tell says what has happened to a release.
func (k *releaseKeeper) tell(name string, c *release.Change) {
	level := slog.LevelInfo
	if c.Phase == release.RolledBack {
		level = slog.LevelError
	}
	k.log.Log(context.Background(), level, "release "+string(c.Phase), "release", name, "was", c.From, "weight", c.To, "why", c.Why)
	if k.changed != nil {
		k.changed(name, c)
	}
}

// keep keeps the states, if they are others than those that are kept.
func (k *releaseKeeper) keep() {
	k.mu.Lock()
	defer k.mu.Unlock()
	states := make(map[string]release.Saved, len(k.list))
	for name, r := range k.list {
		states[name] = r.Saved()
	}
	if k.file == "" || maps.Equal(states, k.saved) {
		return
	}
	b, err := json.MarshalIndent(states, "", " ")
	if err == nil {
		err = sys.ReplaceFile(k.file, b)
	}
	if err == nil {
		k.saved = states
	}
	if was := k.failed; err != nil != was {
		if k.failed = err != nil; k.failed {
			k.log.Error("the states of releases cannot be kept", "err", err)
		} else {
			k.log.Info("the states of releases are kept again")
		}
	}
}

// endReleases keeps the last of it.
func (s *Server) endReleases() {
	k := &s.releases
	if k.end == nil {
		return
	}
	close(k.end)
	k.done.Wait()
	k.end = nil
	k.keep()
}

// Releases returns the releases by name, nobody else's to change.
func (s *Server) Releases() map[string]*release.Release {
	s.releases.mu.Lock()
	defer s.releases.mu.Unlock()
	return s.releases.list
}

// ReleaseCounts returns what the versions of a release have answered, as of the last second.
func (s *Server) ReleaseCounts(r *release.Release) [release.NumVersions]release.Counts {
	s.releases.mu.Lock()
	defer s.releases.mu.Unlock()
	if c := s.releases.counts[r.State]; c != nil {
		return *c
	}
	return [release.NumVersions]release.Counts{}
}

// ReleaseChanged logs and keeps what a person has done to a release.
func (s *Server) ReleaseChanged(name string, c *release.Change) {
	s.releases.tell(name, c)
	s.releases.keep()
}
