package server

import (
	"sync"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/http1"
)

// sessionSet finds the session of a loop. A session is looked into on its own
// loop only.
type sessionSet struct {
	mu     sync.Mutex
	byLoop map[*engine.Loop]*http1.Session
}

func (t *sessionSet) add(l *engine.Loop, s *http1.Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byLoop == nil {
		t.byLoop = make(map[*engine.Loop]*http1.Session)
	}
	t.byLoop[l] = s
}

func (t *sessionSet) of(l *engine.Loop) *http1.Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byLoop[l]
}
