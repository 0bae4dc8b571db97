package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/admin"
	"github.com/fserve/fserve/server/config"
)

// spareProcessors is how many of the runtime's processors there are beyond those
// of the loops.
const spareProcessors = 5

// serve runs the server until a signal ends it.
func serve(_ *cobra.Command, sources *config.Sources) error {
	// Before the server is up, so that an early signal is not lost.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	told := subscribe()
	h := &host{}
	var err error
	h.config, err = config.Start(sources, config.Hooks{Check: checkMachine, Apply: h.apply})
	if err != nil {
		return err
	}
	c := h.config.Config()
	slog.SetLogLoggerLevel(c.Log.Level)
	if h.log, err = openLog(c); err != nil {
		return &exitError{exitConfig, err}
	}
	sc := c.Server()
	sc.AccessLog = h.log
	limits := c.Limits.Shape()
	sc.Engine.Limits = &limits
	sc.Engine.Sample = c.Admin.Listen != ""
	// More than the loops need: a loop that waits in the kernel then keeps its
	// processor, instead of having it taken away every 20 us and looking for it
	// again (the runtime does so when no processor is idle, as while goroutines
	// wait for a disk).
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), sc.Engine.Loops+spareProcessors))
	if h.srv, err = server.New(sc); err != nil {
		return errors.Join(failed(err), h.closeLog())
	}
	if err := h.startAdmin(&c.Admin); err != nil {
		return errors.Join(err, h.srv.Close(), h.closeLog())
	}
	h.config.Started()
	stop := h.listen(told)
	announce(h.srv, c.Root)
	h.announceAdmin()
	err = h.wait(signals)
	stop()
	return errors.Join(err, h.stopAdmin(), h.closeLog())
}

// host is a server with what belongs to it in this process.
type host struct {
	config *config.Reloader
	log    *server.AccessLog // nil: none
	srv    *server.Server
	admin  *admin.Admin // nil: none

	drainAsked chan struct{} // by the admin listener; nil: there is none
}

// failed gives an error of server.New its exit code.
func failed(err error) error {
	if errors.Is(err, server.ErrConfig) {
		return &exitError{exitConfig, err}
	}
	return &exitError{exitUnavailable, err}
}

// openLog opens the access log; nil: there is none.
func openLog(c *config.Config) (*server.AccessLog, error) {
	switch file := c.AccessLog.File; file {
	case config.LogOff, "":
		return nil, nil
	case config.LogStdout:
		return server.NewAccessLogIn(c.AccessLog.Format, os.Stdout), nil
	default:
		return server.OpenAccessLog(c.AccessLog.Format, file)
	}
}

func (h *host) closeLog() error {
	if h.log == nil {
		return nil
	}
	return h.log.Close()
}

// announce says in one line what is being served and how.
func announce(srv *server.Server, root string) {
	if abs, err := filepath.Abs(root); err == nil {
		root = abs
	}
	driver, why := srv.Engine().Driver()
	fmt.Fprintf(os.Stderr, "fserve: serving %s on %s, driver %s (%s), %d workers\n",
		root, strings.Join(urls(srv), " "), driver, why, srv.Engine().Loops())
}

// urls returns what the server listens on, as it would be asked for.
func urls(srv *server.Server) (list []string) {
	for _, a := range srv.Addrs() {
		if a.Network() == "unix" {
			list = append(list, engine.UnixPrefix+a.String())
		} else {
			list = append(list, "http://"+a.String())
		}
	}
	for _, a := range srv.TLSAddrs() {
		list = append(list, "https://"+a.String())
	}
	return list
}

// wait serves until a signal comes or the server fails. The first signal
// drains, the second ends at once.
func (h *host) wait(signals <-chan os.Signal) error {
	select {
	case <-h.srv.Done():
		return &exitError{1, errors.Join(errors.New("an event loop has failed"), h.srv.Close())}
	case s := <-signals:
		return h.drain(s.String(), signals)
	case <-h.drainAsked:
		return h.drain("admin request", signals)
	}
}

// drain lets running responses finish for some time, or until another signal.
func (h *host) drain(cause string, signals <-chan os.Signal) error {
	patience := h.config.Config().Timeouts.Drain
	slog.Info("draining", "cause", cause, "timeout", patience)
	h.draining()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := h.srv.Shutdown(ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return &exitError{1, err}
	}
	return nil
}
