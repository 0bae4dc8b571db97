package http2

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fserve/fserve/internal/sys"
)

// keeper gives a relayed time to go on for as long as its client takes what there is. net/http ends a
// relayed whose response is not written up to a point of time, which is moved on twice within the
// time-out, also while limits hold the response; but not while a client has taken nothing since the last
// look. It lies half a time-out further off, so that each pause that is shorter than the time-out is seen to end.
type keeper struct {
	moved   atomic.Int64 // monotonic ns: the last time that something moved
	writing atomic.Bool  // it waits for its client

	mu    sync.Mutex
	ended bool
	timer *time.Timer
}

// keep begins to move the end of what is written to w.
func (k *keeper) keep(w http.ResponseWriter, patience time.Duration) {
	k.moved.Store(sys.Nanotime())
	out := http.NewResponseController(w)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.timer = time.AfterFunc(patience/2, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.ended {
			return
		}
		if !k.writing.Load() || sys.Nanotime()-k.moved.Load() < int64(patience/2) {
			_ = out.SetWriteDeadline(time.Now().Add(patience + patience/2)) // net/http can
		}
		k.timer.Reset(patience / 2)
	})
}

// leave ends that. What is left to be written has at least half of the time-out.
func (k *keeper) leave() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	k.timer.Stop()
}

// write writes to the client.
func (k *keeper) write(w http.ResponseWriter, p []byte) error {
	k.moved.Store(sys.Nanotime())
	k.writing.Store(true)
	_, err := w.Write(p)
	k.writing.Store(false)
	k.moved.Store(sys.Nanotime())
	return err
}
