package admin

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/fserve/fserve/server/config"
)

// livez answers as long as the process serves HTTP at all.
func (a *Admin) livez(w http.ResponseWriter, _ *http.Request) { plain(w, "ok\n") }

// readyz answers whether requests should be sent here: not while the server
// drains, and not while its files cannot be read.
func (a *Admin) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := a.unready(); err != nil {
		problemf(http.StatusServiceUnavailable, "not ready: %v", err).write(w)
		return
	}
	plain(w, "ok\n")
}

func (a *Admin) unready() error {
	if a.draining.Load() {
		return errors.New("the server is draining")
	}
	return a.ready.check(readyPatience)
}

func plain(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, text)
}

// readyPatience is how long the root may take to answer: that of a file system
// that hangs never does.
const readyPatience = 2 * time.Second

// readiness asks whether the files can be read, with one question under way at a
// time, however many ask and however long it takes.
type readiness struct {
	probe func() error

	mu      sync.Mutex
	running *probing // nil: none
}

type probing struct {
	done chan struct{}
	err  error // once done is closed
}

func (r *readiness) check(patience time.Duration) error {
	p := r.begin()
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-p.done:
		return p.err
	case <-t.C:
		return fmt.Errorf("the root has not answered for %v", patience)
	}
}

func (r *readiness) begin() *probing {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running != nil {
		return r.running
	}
	p := &probing{done: make(chan struct{})}
	r.running = p
	go func() {
		p.err = r.probe()
		r.mu.Lock()
		r.running = nil
		r.mu.Unlock()
		close(p.done)
	}()
	return p
}

// changeView is a change of the configuration.
type changeView struct {
	Path    string `json:"path"`
	Was     string `json:"was"`
	Is      string `json:"is"`
	Restart bool   `json:"needs_restart"`
}

// postReload reads the configuration anew. A bad one changes nothing.
func (a *Admin) postReload(r *http.Request) (any, *problem) {
	changes, err := a.cfg.Reloader.Reload("admin request of " + a.who(r))
	if err != nil {
		return nil, problemf(http.StatusUnprocessableEntity, "nothing has changed: %v", err)
	}
	return map[string]any{"changes": viewChanges(changes)}, nil
}

func viewChanges(changes []config.Change) []changeView {
	list := make([]changeView, 0, len(changes))
	for _, c := range changes {
		list = append(list, changeView{Path: c.Path, Was: c.Old, Is: c.New, Restart: c.Restart})
	}
	return list
}

// postDrain begins the end of the server. It is not ready from now on.
func (a *Admin) postDrain(w http.ResponseWriter, r *http.Request) {
	a.log.Warn("drain requested", "who", a.who(r))
	a.SetDraining()
	a.cfg.Drain()
	answer(w, http.StatusAccepted, map[string]bool{"draining": true})
}
