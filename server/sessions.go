package server

import (
	"sync"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/server/http1"
)

// sessionSet finds the session of a loop. A session is looked into on its own
// loop only.
type sessionSet struct {
	mu     sync.Mutex
	byLoop map[*loop.Loop]*http1.Session
}

func (t *sessionSet) add(l *loop.Loop, s *http1.Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byLoop == nil {
		t.byLoop = make(map[*loop.Loop]*http1.Session)
	}
	t.byLoop[l] = s
}

func (t *sessionSet) of(l *loop.Loop) *http1.Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byLoop[l]
}
