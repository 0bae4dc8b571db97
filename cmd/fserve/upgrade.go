package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/internal/handover"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/alerts"
	"github.com/fserve/fserve/server/config"
)

// upgradeStart is how long a successor may take until it serves.
const upgradeStart = time.Minute

// receive takes the sockets that a predecessor or systemd has given to this process.
func (h *host) receive() error {
	var err error
	if h.predecessor, h.inherited, err = handover.Receive(); err != nil {
		return err
	}
	if h.predecessor != nil {
		return nil
	}
	var refused []string
	h.inherited, refused = handover.FromSystemd()
	for _, what := range refused {
		slog.Warn("a socket from the service manager is of no use", "socket", what)
	}
	return nil
}

// inherit moves sockets for the addresses of a configuration into it.
func (h *host) inherit(sc *server.Config) {
	sc.Engine.Inherit = make(engine.Sockets)
	for _, list := range [][]string{sc.Listen, sc.TLS.Listen} {
		for _, addr := range list {
			if s, ok := h.inherited.Claim(addr); ok {
				sc.Engine.Inherit[addr] = engine.Inherited{FDs: s.FDs, Keep: s.Keep}
			}
		}
	}
}

// inheritAdmin returns the listener for operators, if it was given. Like any that
// is bound here it removes the file of a Unix socket in the end, unless that is
// not this program's.
func (h *host) inheritAdmin(addr string) (net.Listener, error) {
	s, ok := h.inherited.Claim(addr)
	if !ok {
		return nil, nil
	}
	defer handover.Sockets{s}.Close()
	h.keepAdmin = s.Keep
	ln, err := listen.FromFD(s.FDs[0])
	if u, unix := ln.(*net.UnixListener); unix {
		u.SetUnlinkOnClose(!s.Keep)
	}
	return ln, err
}

// dropInherited closes the sockets that no address in the configuration is for.
func (h *host) dropInherited() {
	for _, name := range h.inherited.Names() {
		slog.Warn("a socket was given to this process, and nothing listens on it: no address is configured like that", "socket", name)
	}
	h.inherited.Close()
	h.inherited = nil
}

// sockets returns duplicates of all listening sockets.
func (h *host) sockets(c *config.Config) (handover.Sockets, error) {
	serving, err := h.srv.Sockets()
	if err != nil {
		return nil, err
	}
	var out handover.Sockets
	for addr, in := range serving {
		out = append(out, handover.Socket{Addr: addr, FDs: in.FDs, Keep: in.Keep})
	}
	if h.admin != nil {
		fd, err := h.admin.Socket()
		if err != nil {
			out.Close()
			return nil, err
		}
		out = append(out, handover.Socket{Addr: c.Admin.Listen, FDs: []int{fd}, Keep: h.keepAdmin})
	}
	return out, nil
}

// upgrade is a successor that is starting.
type upgrade struct {
	successor *handover.Successor
	cancel    context.CancelFunc
	result    chan error // of one: nil when it serves
}

// startUpgrade starts the program anew, which may be another version by now.
func (h *host) startUpgrade() (*upgrade, error) {
	path, err := handover.Program(exec.LookPath)
	if err != nil {
		return nil, err
	}
	sockets, err := h.sockets(h.config.Config())
	if err != nil {
		return nil, err
	}
	defer sockets.Close()
	s, err := handover.Start(path, os.Args, sockets)
	if err != nil {
		return nil, err
	}
	slog.Info("upgrade: a successor has been started", "pid", s.PID, "program", path)
	ctx, cancel := context.WithTimeout(context.Background(), upgradeStart)
	u := &upgrade{s, cancel, make(chan error, 1)}
	state := h.state()
	go func() { u.result <- s.Await(ctx, state) }()
	return u, nil
}

// state is what a successor takes over beside the sockets: what was changed by HTTP, and by
// what sessions of TLS are resumed. It is secret.
type state struct {
	Limits  json.RawMessage // see admin.Admin.Changes
	Alerts  []alerts.Known
	Tickets []server.TicketKey
	Breaker server.BreakerOrder
	Denials []server.Denial
}

// state returns that of this process.
func (h *host) state() []byte {
	s := state{Tickets: h.srv.TicketKeys(), Breaker: h.srv.Breaker().Order()}
	if m := h.srv.Identity(); m != nil {
		s.Denials = m.Denials()
	}
	if h.admin != nil {
		var err error
		limits := h.config.Config().Limits.Shape()
		if s.Limits, err = h.admin.Changes(&limits); err != nil {
			slog.Error("upgrade: limits are not handed over", "err", err)
		}
		s.Alerts = h.alerts.profiles.Known()
	}
	text, err := json.Marshal(s)
	if err != nil {
		slog.Error("upgrade: nothing is handed over but sockets", "err", err)
		return []byte("{}")
	}
	return text
}

// takeOver takes over the state of the predecessor.
func (h *host) takeOver(text json.RawMessage) {
	if len(text) == 0 {
		return
	}
	var s state
	err := json.Unmarshal(text, &s)
	h.srv.LearnTicketKeys(s.Tickets)
	h.srv.Breaker().Obey(s.Breaker)
	if m := h.srv.Identity(); m != nil {
		if err := m.Learn(s.Denials); err != nil {
			slog.Error("upgrade: what is denied is not kept", "err", err)
		}
	}
	if h.admin == nil {
		return
	}
	if err == nil && s.Limits != nil {
		limits := h.config.Config().Limits.Shape()
		err = h.admin.Inherit(s.Limits, &limits)
	}
	if err != nil {
		slog.Error("upgrade: what was changed by HTTP is lost", "err", err)
	}
	h.alerts.profiles.Learn(s.Alerts)
}

// begin starts an upgrade, unless one is under way.
func (h *host) begin(u *upgrade) *upgrade {
	if u != nil {
		slog.Warn("upgrade: one is under way", "pid", u.successor.PID)
		return u
	}
	u, err := h.startUpgrade()
	if err != nil {
		slog.Error("upgrade: going on with this process", "err", err)
		return nil
	}
	return u
}

// abandon ends a successor, whether it serves already or not; nil: there is none.
func (u *upgrade) abandon() {
	if u == nil {
		return
	}
	u.cancel()
	select {
	case err := <-u.result:
		if err != nil {
			return // it has ended
		}
	case <-time.After(endPatience): // it is killed, and the kernel has not ended it
		return
	}
	if err := u.successor.Terminate(); err != nil {
		slog.Error("upgrade: the successor goes on", "pid", u.successor.PID, "err", err)
	}
}

// outcome is the result of an upgrade; nil: there is none to wait for.
func (u *upgrade) outcome() <-chan error {
	if u == nil {
		return nil
	}
	return u.result
}

// retire leaves the service to a successor that serves, and lets the responses here come
// to their end.
func (h *host) retire(u *upgrade, signals <-chan os.Signal) error {
	defer u.cancel()
	h.replaced.Store(true)
	h.stopWatching()
	signal.Ignore(syscall.SIGUSR2) // it is for the successor
	h.srv.HandOver()
	notify(fmt.Sprintf("MAINPID=%d", u.successor.PID))
	h.stopWatchdog()
	h.draining()
	if h.admin != nil {
		h.admin.HandOver()
	}
	// Limits that the admin listener has set for a time stay here: it does not undo them.
	err := errors.Join(h.stopAdmin(), u.successor.HandOver(h.state()))
	c := h.config.Config()
	slog.Info("upgrade: replaced; running responses go on here", "successor", u.successor.PID, "timeout", c.Timeouts.Upgrade)
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeouts.Upgrade)
	defer cancel()
	go hasten(ctx, cancel, signals, c.Timeouts.Drain)
	return errors.Join(err, ended(bounded(ctx, h.srv.Retire)))
}

// hasten bounds the remaining responses by the drain time-out at the first signal, and
// ends them at the second.
func hasten(ctx context.Context, cancel context.CancelFunc, signals <-chan os.Signal, drain time.Duration) {
	var over <-chan time.Time
	for {
		select {
		case <-signals:
			if over != nil {
				cancel()
				return
			}
			over = time.After(drain)
		case <-over:
			cancel()
			return
		case <-ctx.Done():
			return
		}
	}
}

// ended is the outcome of a shutdown: that its time was over is none.
func ended(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errLeft) {
		return nil
	}
	return &exitError{1, err}
}
