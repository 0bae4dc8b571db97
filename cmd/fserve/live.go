package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/fserve/fserve/server/config"
)

// tellings are the signals that change a running server.
type tellings struct{ reload, reopen, upgrade chan os.Signal }

// subscribe keeps the signals for listen, instead of letting them end the process.
func subscribe() tellings {
	s := tellings{make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan os.Signal, 1)}
	signal.Notify(s.reload, syscall.SIGHUP)
	signal.Notify(s.reopen, syscall.SIGUSR1)
	signal.Notify(s.upgrade, syscall.SIGUSR2)
	return s
}

// end stops them; they have no effect any more.
func (s tellings) end() {
	for _, c := range []chan os.Signal{s.reload, s.reopen, s.upgrade} {
		signal.Stop(c)
		close(c)
	}
}

// listen reacts to the signals and to the files that change a running server, until the
// function returned is called.
func (h *host) listen(s tellings) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	h.stopWatching = cancel
	var done sync.WaitGroup
	done.Go(func() {
		for range s.reload {
			h.reload()
		}
	})
	done.Go(func() {
		for range s.reopen {
			h.reopen()
		}
	})
	if h.config.Config().Watch {
		done.Go(func() { h.config.Watch(ctx) })
	}
	return func() {
		cancel()
		s.end()
		done.Wait()
	}
}

// reload is what SIGHUP does. A process that was replaced keeps its limits.
func (h *host) reload() {
	if h.replaced.Load() {
		return
	}
	notifyReloading()
	status := "serving"
	if _, err := h.config.Reload("SIGHUP"); err != nil { // it logs the error
		status = "serving; the last reload has failed"
	}
	notifyReady(status)
}

// reopen opens the logs anew. Without any it does nothing, instead of ending the process.
func (h *host) reopen() {
	if err := h.told.reopen(); err != nil {
		slog.Error("going on with the old log", "err", err)
	}
	if err := h.logs.Reopen(); err != nil {
		slog.Error("going on with the old access log", "err", err)
	}
}

// apply brings the server from one configuration to another, as far as that is
// possible while it runs. The steps that can fail come first. Roots are opened anew
// and the admin token is read again in any case: the configuration only names them.
func (h *host) apply(old, next *config.Config) error {
	if err := h.told.use(next.Log.File); err != nil {
		return err
	}
	if err := h.srv.Swap(next.Server()); err != nil {
		return errors.Join(err, h.told.use(old.Log.File))
	}
	h.renewToken(&next.Admin)
	if len(config.Diff(old, next)) == 0 {
		return nil // limits that were changed by HTTP stay
	}
	slog.SetLogLoggerLevel(next.Log.Level)
	return h.retune(old, next)
}
