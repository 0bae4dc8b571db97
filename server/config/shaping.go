package config

import (
	"cmp"
	"maps"
	"slices"

	"github.com/fserve/fserve/engine/shape"
)

// Shape returns the limits as package shape has them.
func (l *Limits) Shape() shape.Config {
	c := shape.Config{Global: l.with(l.Global), Client: l.with(l.Client), Connection: l.with(l.Connection)}
	for _, prefix := range slices.Sorted(maps.Keys(l.Paths)) {
		c.Paths = append(c.Paths, shape.PathLimit{Prefix: prefix, Limit: l.Paths[prefix].Shape()})
	}
	return c
}

// with returns the limit of a level with the burst that counts for it.
func (l *Limits) with(level Limit) shape.Limit {
	level.Burst = cmp.Or(level.Burst, l.Burst)
	return level.Shape()
}

// Retune changes the limits that differ between l and next. A limit that does not differ
// stays, also if it was changed by other means. Limits that are valid cannot fail.
func (l *Limits) Retune(s *shape.Shaper, next *Limits) error {
	old, now := l.Shape(), next.Shape()
	for _, level := range []struct {
		was, is shape.Limit
		set     func(shape.Limit) (shape.Limit, error)
	}{
		{old.Global, now.Global, s.SetGlobal},
		{old.Client, now.Client, s.SetClientDefault},
		{old.Connection, now.Connection, s.SetConnectionDefault},
	} {
		if level.was == level.is {
			continue
		}
		if _, err := level.set(level.is); err != nil {
			return err
		}
	}
	return l.retunePaths(s, next)
}

// retunePaths adds and changes classes before it removes any, so that no path is
// without a class in between.
func (l *Limits) retunePaths(s *shape.Shaper, next *Limits) error {
	for _, prefix := range slices.Sorted(maps.Keys(next.Paths)) {
		limit := next.Paths[prefix]
		if was, ok := l.Paths[prefix]; ok && was == limit {
			continue
		}
		if _, _, err := s.SetPath(prefix, limit.Shape()); err != nil {
			return err
		}
	}
	for _, prefix := range slices.Sorted(maps.Keys(l.Paths)) {
		if _, stays := next.Paths[prefix]; !stays {
			s.RemovePath(prefix)
		}
	}
	return nil
}
