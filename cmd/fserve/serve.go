package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
)

// serve runs the server until a signal ends it.
func (o *options) serve() error {
	if err := o.check(); err != nil {
		return err
	}
	log, closeLog, err := o.openLog()
	if err != nil {
		return &exitError{exitConfig, err}
	}
	defer reopen(log)()
	// Before the server is up, so that an early signal is not lost.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	// One more than the loops need: a loop that waits in the kernel then keeps
	// its processor, instead of having it taken away every 20 us and looking
	// for it again (the runtime does so when no processor is idle).
	loops := max(o.workers, 1)
	if o.workers == 0 {
		loops = runtime.GOMAXPROCS(0)
	}
	o.workers = loops
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), loops+1))
	srv, err := server.New(o.config(log))
	if err != nil {
		return errors.Join(failed(err), closeLog())
	}
	o.announce(srv)
	err = o.wait(srv, signals)
	return errors.Join(err, closeLog())
}

// check finds what is wrong with the command line itself.
func (o *options) check() error {
	usage := func(format string, args ...any) error {
		return &exitError{exitUsage, fmt.Errorf(format, args...)}
	}
	switch {
	case o.root == "":
		return usage("--root is required: the directory to serve")
	case o.workers < 0 || o.workers > 1024:
		return usage("--workers must be from 1 to 1024, or 0 for one for each core")
	case o.headerTimeout <= 0, o.idleTimeout <= 0, o.sendTimeout <= 0:
		return usage("timeouts must be positive durations like 10s")
	case o.drainTimeout < 0:
		return usage("--drain-timeout must not be negative")
	}
	if err := o.net.apply(&o.base); err != nil {
		return err
	}
	return o.files.apply(&o.base)
}

// failed gives an error of server.New its exit code.
func failed(err error) error {
	if errors.Is(err, server.ErrConfig) {
		return &exitError{exitConfig, err}
	}
	return &exitError{exitUnavailable, err}
}

func (o *options) config(log *server.AccessLog) server.Config {
	cfg := o.base
	cfg.Root, cfg.AccessLog = o.root, log
	cfg.Engine = engine.Config{
		Loops: o.workers, Pin: o.pin, UnixMode: fs.FileMode(o.net.unixMode),
		Driver: o.driver.value(), ZeroCopy: o.zeroCopy.value(),
		HeaderTimeout: o.headerTimeout, IdleTimeout: o.idleTimeout, SendTimeout: o.sendTimeout,
	}
	return cfg
}

// openLog opens the access log; the function returned closes it.
func (o *options) openLog() (*server.AccessLog, func() error, error) {
	switch o.accessLog {
	case "off", "":
		return nil, func() error { return nil }, nil
	case "-":
		log := server.NewAccessLogIn(o.logFormat.value(), os.Stdout)
		return log, log.Close, nil
	}
	log, err := server.OpenAccessLog(o.logFormat.value(), o.accessLog)
	if err != nil {
		return nil, nil, err
	}
	return log, log.Close, nil
}

// reopen opens the access log anew at each signal, until the function returned
// is called. Without a log the signal does nothing, instead of ending the process.
func reopen(log *server.AccessLog) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		defer done.Done()
		for range signals {
			if log == nil {
				continue
			}
			if err := log.Reopen(); err != nil {
				slog.Error("going on with the old access log", "err", err)
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		done.Wait()
	}
}

// announce says in one line what is being served and how.
func (o *options) announce(srv *server.Server) {
	root, err := filepath.Abs(o.root)
	if err != nil {
		root = o.root
	}
	driver, why := srv.Engine().Driver()
	fmt.Fprintf(os.Stderr, "fserve: serving %s on %s, driver %s (%s), %d workers\n",
		root, strings.Join(urls(srv), " "), driver, why, srv.Engine().Loops())
}

// wait serves until a signal comes or the server fails. The first signal
// drains, the second ends at once.
func (o *options) wait(srv *server.Server, signals <-chan os.Signal) error {
	select {
	case <-srv.Done():
		return &exitError{1, errors.Join(errors.New("an event loop has failed"), srv.Close())}
	case s := <-signals:
		slog.Info("draining", "signal", s.String(), "timeout", o.drainTimeout)
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.drainTimeout)
	defer cancel()
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := srv.Shutdown(ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return &exitError{1, err}
	}
	return nil
}
