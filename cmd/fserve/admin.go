package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/admin"
	"github.com/fserve/fserve/server/config"
)

// adminPatience is how long requests to the admin listener may go on when the
// server has ended.
const adminPatience = 2 * time.Second

// startAdmin starts the listener for operators, if there is to be one.
func (h *host) startAdmin(c *config.Admin) error {
	if c.Listen == "" {
		h.takeOver(h.predecessor.State())
		return nil
	}
	token, err := c.Bearer()
	if err != nil {
		return &exitError{exitConfig, err}
	}
	h.drainAsked = make(chan struct{}, 1)
	inherited, err := h.inheritAdmin(c.Listen)
	if err != nil {
		return &exitError{exitUnavailable, err}
	}
	a, err := admin.New(admin.Config{
		Listen: c.Listen, Inherited: inherited, Token: token, PProf: c.PProf,
		Server: h.srv, Reloader: h.config, Drain: h.askDrain, Version: version(), LogDropped: h.told.dropped,
		Alerts: h.alerts.profiles, AlertSender: h.alerts.sender,
	})
	if err != nil {
		return &exitError{exitConfig, err}
	}
	h.admin = a // before the first request, which may be for a reload
	h.takeOver(h.predecessor.State())
	if err := a.Start(); err != nil {
		h.admin = nil
		return err
	}
	return nil
}

// renewToken reads the token of the admin listener again, if it is in a file. If that
// cannot be read any more the old one holds.
func (h *host) renewToken(c *config.Admin) {
	if h.admin == nil || c.TokenFile == "" {
		return
	}
	token, err := c.Bearer()
	if err == nil {
		err = h.admin.SetToken(token)
	}
	if err != nil {
		slog.Error("going on with the old admin token", "err", err)
	}
}

// askDrain makes wait go on as after SIGTERM.
func (h *host) askDrain() {
	select {
	case h.drainAsked <- struct{}{}:
	default: // it is asked for already
	}
}

// draining tells the admin listener that the server is going to end.
func (h *host) draining() {
	if h.admin != nil {
		h.admin.SetDraining()
	}
}

// stopAdmin ends the listener for operators, which is there to the last.
func (h *host) stopAdmin() error {
	if h.admin == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), adminPatience)
	defer cancel()
	if err := h.admin.Close(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return &exitError{1, err}
	}
	return nil
}

// announceAdmin says where the admin listener is.
func (h *host) announceAdmin() {
	if h.admin != nil {
		fmt.Fprintf(h.told.stderr, "fserve: admin listener on %s\n", adminURL(h.admin.Addr()))
	}
}

func adminURL(a net.Addr) string {
	if a.Network() == "unix" {
		return engine.UnixPrefix + a.String()
	}
	return "http://" + a.String()
}
