package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/fserve/fserve/server"
)

// notify tells the service manager (sd_notify(3)), if there is one: NOTIFY_SOCKET.
func notify(lines ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(lines, "\n")); err != nil {
		slog.Warn("the service manager cannot be told", "err", err)
	}
}

// notifyReady says that this process serves, as its manager's main process.
func notifyReady(status string) {
	notify(daemon.SdNotifyReady, fmt.Sprintf("MAINPID=%d", os.Getpid()), "STATUS="+status)
}

// notifyReloading begins a reload; notifyReady ends it, however it went. Type=notify-reload
// takes the time for the proof that it is this reload (systemd.service(5)).
func notifyReloading() {
	notify(daemon.SdNotifyReloading, strings.TrimSuffix(daemon.SdNotifyMonotonicUsec(), "\n"))
}

// watchdogParts is how many signs of life are sent in the time after which the
// manager gives the process up (sd_watchdog_enabled(3) suggests two).
const watchdogParts = 3

// keepAlive sends signs of life while all event loops turn, until ctx ends. It
// returns at once if the manager wants none (WATCHDOG_USEC).
func keepAlive(ctx context.Context, srv *server.Server) {
	patience, err := daemon.SdWatchdogEnabled(false)
	if err != nil || patience <= 0 {
		if err != nil {
			slog.Warn("no watchdog", "err", err)
		}
		return
	}
	every := patience / watchdogParts
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		turn, cancel := context.WithTimeout(ctx, every)
		_, err := srv.Engine().Turning(turn)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			notify(daemon.SdNotifyWatchdog)
		default:
			slog.Error("no sign of life for the service manager", "err", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}
