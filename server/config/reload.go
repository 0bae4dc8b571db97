package config

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Reloader keeps the configuration that is in force and puts a new one into its
// place. What is in force changes only when all of the new one is good; a part
// of it that needs a restart stays as it was, and is named. Its methods are safe
// for concurrent use.
type Reloader struct {
	sources *Sources
	hooks   Hooks
	poll    time.Duration // how often Watch looks without being told
	state   atomic.Pointer[State]

	mu    sync.Mutex // of a reload
	tried string     // fingerprint of the files that were read last, well or not
	good  *build     // what the files say that has been in force
}

// Hooks are what a Reloader calls. Calls do not overlap.
type Hooks struct {
	// Check looks for faults that only the machine tells: a root that is not
	// there. nil: none.
	Check func(*Loaded) error
	// Apply brings what runs from old to next, which differ in values that may
	// change while it runs, or do not differ: what they only name, a directory or a
	// file with a token, may be another one by now. If it fails it is called once
	// more to go back. nil: nothing is to be done.
	Apply func(old, next *Config) error
	// Log is told of each reload and what it changes. nil: slog.Default.
	Log *slog.Logger
}

// State is the state of the configuration at some time. It is not changed.
type State struct {
	// Active is the configuration in force.
	Active *Config
	// Wanted is the one that was read last and was good.
	Wanted *Loaded
	// Pending are the changes from Active to Wanted: they need a restart.
	Pending []Change
	// Fallback is set while Wanted is the last good configuration of an earlier
	// time because the files could not be used.
	Fallback bool
	// Reloads and Failures count reloads, and those of them that failed.
	Reloads, Failures uint64
	// LastReload is when the last one ended; zero: there was none.
	LastReload time.Time
	// LastError is why the last reload, or with Fallback the start, failed; nil: it
	// did not.
	LastError error
}

// Start reads the configuration to start with. If it cannot be used, and the
// flags say so, the last good one is taken, and a warning is logged.
func Start(sources *Sources, hooks Hooks) (*Reloader, error) {
	hooks.Log = cmp.Or(hooks.Log, slog.Default())
	if hooks.Check == nil {
		hooks.Check = func(*Loaded) error { return nil }
	}
	if hooks.Apply == nil {
		hooks.Apply = func(_, _ *Config) error { return nil }
	}
	r := &Reloader{sources: sources, hooks: hooks, poll: watchPoll}
	for _, line := range sources.Unknown() {
		hooks.Log.Warn(line)
	}
	boot := sources.boot()
	in := readAll(boot.File)
	r.tried = in.fingerprint()
	loaded, err := r.check(sources.assemble(in))
	if err == nil {
		r.state.Store(&State{Active: loaded.Config, Wanted: loaded})
		return r, nil
	}
	if !boot.Fallback || boot.File == "" {
		return nil, err
	}
	last, lastErr := r.check(sources.LoadLastGood())
	if lastErr != nil {
		return nil, errors.Join(err, lastErr)
	}
	hooks.Log.Error("CONFIGURATION CANNOT BE USED: RUNNING WITH THE LAST GOOD ONE", "file", boot.File, "last_good", last.Files[0], "err", err)
	r.state.Store(&State{Active: last.Config, Wanted: last, Fallback: true, LastError: err})
	return r, nil
}

// check adds the faults that only the machine can tell.
func (r *Reloader) check(l *Loaded, err error) (*Loaded, error) {
	if err != nil {
		return nil, err
	}
	return l, r.hooks.Check(l)
}

// State returns the state of the configuration now.
func (r *Reloader) State() *State { return r.state.Load() }

// Config returns the configuration in force.
func (r *Reloader) Config() *Config { return r.state.Load().Active }

// Started says that the server runs with the configuration of Start: it is good,
// and is kept as such.
func (r *Reloader) Started() {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.State()
	if s.Fallback {
		r.good = s.Wanted.files.copy()
		return // it is what is kept
	}
	r.keep(s.Wanted)
}

// Reload reads the configuration and puts what may change while the server runs
// into force. cause is for the log. The changes are all those from what was in
// force to what is wanted; if there is an error nothing has changed.
func (r *Reloader) Reload(cause string) ([]Change, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.State()
	next := *old
	changes, err := r.reload(&next)
	next.Reloads, next.LastReload, next.LastError = old.Reloads+1, time.Now(), err
	if err != nil {
		next.Failures++
	}
	r.state.Store(&next)
	r.report(cause, changes, err)
	if err == nil {
		r.keep(next.Wanted)
	}
	return changes, err
}

// reload puts a new configuration into s; if it fails, s is as it was.
func (r *Reloader) reload(s *State) ([]Change, error) {
	in := readAll(r.sources.boot().File)
	r.tried = in.fingerprint()
	wanted, err := r.check(r.sources.assemble(in))
	if err != nil {
		return nil, err
	}
	changes := Diff(s.Active, wanted.Config)
	active := withLive(s.Active, wanted.Config)
	if err := r.hooks.Apply(s.Active, active); err != nil {
		return nil, errors.Join(fmt.Errorf("apply: %w", err), r.back(active, s.Active))
	}
	s.Active, s.Wanted, s.Fallback, s.Pending = active, wanted, false, Diff(active, wanted.Config)
	return changes, nil
}

// back undoes the changes that Apply may have made before it failed.
func (r *Reloader) back(from, to *Config) error {
	if err := r.hooks.Apply(from, to); err != nil {
		return fmt.Errorf("go back: %w", err)
	}
	return nil
}

// report logs how a reload went.
func (r *Reloader) report(cause string, changes []Change, err error) {
	log := r.hooks.Log
	if err != nil {
		for line := range strings.Lines(err.Error()) { // one for each problem
			log.Error("configuration: problem", "problem", strings.TrimSuffix(line, "\n"))
		}
		log.Error("configuration not reloaded, going on with the one in force", "cause", cause)
		return
	}
	live := 0
	for _, c := range changes {
		if c.Restart {
			log.Warn("configuration: a change needs a restart", "path", c.Path, "old", c.Old, "new", c.New)
			continue
		}
		live++
		if c.opens() {
			log.Warn("configuration: ACCESS RULES ARE GONE", "path", c.Path, "old", c.Old, "new", c.New)
			continue
		}
		log.Info("configuration: changed", "path", c.Path, "old", c.Old, "new", c.New)
	}
	log.Info("configuration reloaded", "cause", cause, "changed", live, "need_restart", len(changes)-live)
}

// keep writes the last good configuration: of what files say, that which has been
// in force. What waits for a restart may not work.
func (r *Reloader) keep(l *Loaded) {
	if r.good == nil {
		r.good = l.files.copy()
	} else {
		r.good.takeLive(l.files)
	}
	if len(l.Files) == 0 || l.StateDir == "" {
		return
	}
	if err := r.good.save(l.StateDir); err != nil {
		r.hooks.Log.Error("the last good configuration is not kept", "err", err)
	}
}

// copy returns one that can be changed by takeLive.
func (b *build) copy() *build {
	c := *b.cfg
	return &build{cfg: &c, origins: maps.Clone(b.origins)}
}

// takeLive takes the values over from next that take effect at once.
func (b *build) takeLive(next *build) {
	for i := range fields {
		f := &fields[i]
		v := f.in(next.cfg)
		if !f.takesOver(f.in(b.cfg), v) {
			continue
		}
		f.in(b.cfg).Set(v)
		b.origins.forget(f.path)
		for path, o := range next.origins {
			if within(path, f.path) {
				b.origins[path] = o
			}
		}
	}
}
