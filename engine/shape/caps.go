package shape

import (
	"fmt"

	"github.com/fserve/fserve/engine/rate"
)

// Caps are rates of a profile, which hold beside the limits of their level while the profile
// is in force: the lower one counts. A response that has its own limit is not held by
// Connection. The zero value holds nothing back.
type Caps struct {
	Global, Client, Connection Rate
}

// Validate returns an error that names the cap and the reason.
func (c Caps) Validate() error {
	for _, part := range []struct {
		name string
		rate Rate
	}{{"global", c.Global}, {"client", c.Client}, {"connection", c.Connection}} {
		if err := (Limit{Rate: part.rate}).Validate(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// Lower returns the lower of two caps for each level.
func (c Caps) Lower(o Caps) Caps {
	return Caps{rate.Least(c.Global, o.Global), rate.Least(c.Client, o.Client), rate.Least(c.Connection, o.Connection)}
}

// SetCaps sets the caps of all levels: RowCap of their tables. The limits stay what they
// are, also in what Limits returns.
func (s *Shaper) SetCaps(c Caps) (was Caps, err error) {
	if err := c.Validate(); err != nil {
		return Caps{}, fmt.Errorf("shape: cap: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if was = s.capsLocked(); c == was {
		return was, nil
	}
	s.global.cap, s.client.cap, s.connection.cap = c.Global, c.Client, c.Connection
	epoch := s.epoch.Load() + 1
	s.changes.clients, s.changes.connection = epoch, epoch
	s.publish(&s.changes.nodes)
	return was, nil
}

// Caps returns what SetCaps has set.
func (s *Shaper) Caps() Caps {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.capsLocked()
}

func (s *Shaper) capsLocked() Caps { return Caps{s.global.cap, s.client.cap, s.connection.cap} }
