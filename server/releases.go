package server

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/fserve/fserve/server/release"
)

// releaseKeeper has the releases of the configuration in force.
type releaseKeeper struct {
	mu   sync.Mutex
	list map[string]*release.Release // by name
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
		} else {
			list[name] = release.New(name, c, release.NewState(&c))
		}
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
