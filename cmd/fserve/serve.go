package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/internal/handover"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/admin"
	"github.com/fserve/fserve/server/config"
	"github.com/fserve/fserve/server/doctor"
)

// spareProcessors is how many of the runtime's processors there are beyond those
// of the loops.
const spareProcessors = 5

// serve runs the server until a signal ends it.
func serve(told *errorLog, sources *config.Sources) error {
	// Who reads standard output or error may go away: that must not end the server.
	signal.Ignore(syscall.SIGPIPE)
	// Before the server is up, so that an early signal is not lost.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	limitMemory()
	asking := subscribe()
	h := &host{told: told, stopWatchdog: func() {}, stopWatching: func() {}}
	defer func() { h.alerts.close() }()
	err := h.receive()
	if err == nil {
		asked, forget := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		err = bounded(asked, func(context.Context) error { return h.start(sources) })
		forget()
	}
	if err != nil {
		h.predecessor.Failed(err)
		if errors.Is(err, errLeft) {
			return nil // as it was asked to
		}
		return err
	}
	stop := h.listen(asking)
	h.announce(h.config.Config().Root)
	h.announceAdmin()
	if err := h.predecessor.Ready(); err != nil {
		slog.Warn("upgrade", "err", err) // the predecessor has ended: this process serves
	}
	signs, cancel := context.WithCancel(context.Background())
	h.stopWatchdog = cancel
	var alive sync.WaitGroup
	alive.Go(func() { h.live(signs) })
	alive.Go(func() { giveMemoryBack(signs) })
	err = h.wait(signals, asking.upgrade)
	cancel()
	alive.Wait()
	err = errors.Join(err, h.stopAdmin(), h.pid.remove())
	return errors.Join(err, ended(bounded(signs, func(context.Context) error {
		stop()
		return h.closeLog()
	})))
}

// endPatience is how long the process waits for what is to end at once. That may wait in turn
// for a file that the kernel neither opens nor takes lines for.
const endPatience = time.Second

// errLeft is of what goes on while the process ends.
var errLeft = errors.New("ended without waiting for the file system")

// bounded runs something that is to come to its end when ctx does. What goes on long after that
// is left behind: errLeft.
func bounded(ctx context.Context, run func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(endPatience):
		slog.Warn(errLeft.Error())
		return errLeft
	}
}

// start brings the server to where it accepts connections. What can fail fails
// before that: a successor that cannot serve must not take a connection.
func (h *host) start(sources *config.Sources) (err error) {
	h.config, err = config.Start(sources, config.Hooks{Check: checkMachine, Apply: h.apply})
	if err != nil {
		return err
	}
	c := h.config.Config()
	slog.SetLogLoggerLevel(c.Log.Level)
	if err := h.told.use(c.Log.File); err != nil {
		return &exitError{exitConfig, err}
	}
	h.logs = server.NewAccessLogs()
	if h.alerts, err = openAlerting(c); err != nil {
		return errors.Join(err, h.closeLog())
	}
	sc := c.Server()
	sc.AccessLogs = h.logs
	sc.Engine.OnAdapt = h.alerts.notifier.Event
	// More than the loops need: they then keep theirs while they wait in the kernel
	// for a short time (see aio.ShortWait), and none is taken from them when
	// goroutines wait for a disk.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), sc.Engine.Loops+spareProcessors))
	sc.Engine.Paused = true
	h.inherit(&sc)
	if h.srv, err = server.New(sc); err != nil {
		return errors.Join(h.failed(err), h.closeLog())
	}
	h.alerts.watch(h.srv, c)
	if h.pid, err = preparePID(c.PIDFile); err != nil {
		return errors.Join(&exitError{exitConfig, err}, h.srv.Close(), h.closeLog())
	}
	err = h.startAdmin(&c.Admin)
	if err == nil {
		err = h.accept()
	}
	if err != nil {
		ends := errors.Join(h.stopAdmin(), h.srv.Close(), h.pid.remove(), h.closeLog())
		return errors.Join(h.failed(err), ends) // its own sockets are closed by now
	}
	h.config.Started()
	return nil
}

// accept begins to serve.
func (h *host) accept() error {
	h.dropInherited()
	if err := h.srv.Accept(); err != nil {
		return err
	}
	if err := h.pid.place(); err != nil {
		return &exitError{exitConfig, err}
	}
	return nil
}

// live tells the service manager of this process, as soon as it is the one that
// counts, and that it lives, until ctx ends.
func (h *host) live(ctx context.Context) {
	select {
	case <-h.predecessor.Gone():
	case <-ctx.Done():
		return
	}
	for state := range h.predecessor.States() {
		h.takeOver(state)
	}
	notifyReady("serving")
	keepAlive(ctx, h.srv)
}

// host is a server with its log, its admin listener and the rest of this process.
type host struct {
	told   *errorLog
	config *config.Reloader
	logs   *server.AccessLogs
	srv    *server.Server
	admin  *admin.Admin // nil: none
	alerts *alerting
	pid    *pidFile // nil: none

	predecessor *handover.Predecessor // nil: none
	inherited   handover.Sockets      // not yet taken
	keepAdmin   bool                  // the file of the admin listener's socket is not ours
	replaced    atomic.Bool           // a successor serves

	stopWatchdog func() // ends the signs of life
	stopWatching func() // ends the watch for changes of the configuration

	drainAsked chan struct{} // by the admin listener; nil: there is none
}

// failed gives an error of the start its exit code, and one of an address its place in the
// configuration.
func (h *host) failed(err error) error {
	if errors.As(err, new(*exitError)) {
		return err
	}
	if errors.Is(err, server.ErrConfig) {
		return &exitError{exitConfig, err}
	}
	if errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EADDRNOTAVAIL) {
		err = cmp.Or(checkAddresses(h.config.State().Wanted, h.predecessor == nil), err)
	}
	return &exitError{exitUnavailable, err}
}

// closeLog ends the access logs. That lines were lost is no failure of the server:
// it is said, and counted.
func (h *host) closeLog() error {
	if err := h.logs.Close(); err != nil {
		slog.Error("the access log is not complete", "err", err, "dropped", h.logs.Dropped())
	}
	return nil
}

// announce says in one line what is being served and how. Without a root it is
// hosts.
func (h *host) announce(root string) {
	srv := h.srv
	if root == "" {
		root = "hosts"
	} else if abs, err := filepath.Abs(root); err == nil {
		root = abs
	}
	driver, why := srv.Engine().Driver()
	lost := ""
	if err := openfile.Probe(); err != nil {
		lost = fmt.Sprintf("; every open leaves its loop (%v)", err)
	}
	if why := doctor.Leases(root); root != "hosts" && why != "" {
		lost += fmt.Sprintf("; no read leases (%s)", why)
	}
	if asked, refused := srv.TLSInKernel(); asked && refused != nil {
		lost += fmt.Sprintf("; no TLS in the kernel (%v)", refused)
	}
	fmt.Fprintf(h.told.stderr, "fserve: serving %s on %s, driver %s (%s), %d workers%s\n",
		root, strings.Join(urls(srv), " "), driver, why, srv.Engine().Loops(), lost)
}

// urls returns the addresses of the server, as a client would write them.
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

// wait serves until a signal comes, the server fails, or another process has
// taken its place. The first signal drains, the second ends at once.
func (h *host) wait(signals, upgrades <-chan os.Signal) error {
	var u *upgrade
	for {
		select {
		case <-h.srv.Done():
			u.abandon()
			return &exitError{1, errors.Join(errors.New("an event loop has failed"), h.srv.Close())}
		case s := <-signals:
			u.abandon()
			return h.drain(s.String(), signals)
		case <-h.drainAsked:
			u.abandon()
			return h.drain("admin request", signals)
		case <-upgrades:
			u = h.begin(u)
		case err := <-u.outcome():
			if err == nil {
				return h.retire(u, signals)
			}
			slog.Error("upgrade: the successor does not serve; going on with this process", "err", err)
			u.cancel()
			u = nil
		}
	}
}

// drain lets running responses finish for some time, or until another signal.
func (h *host) drain(cause string, signals <-chan os.Signal) error {
	patience := h.config.Config().Timeouts.Drain
	slog.Info("draining", "cause", cause, "timeout", patience)
	notify(daemon.SdNotifyStopping, "STATUS=draining")
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
	return ended(bounded(ctx, h.srv.Shutdown))
}
