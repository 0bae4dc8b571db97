package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/alerts"
	"github.com/fserve/fserve/server/config"
)

// alertPatience is how long alerts that wait to be sent may take when the server has
// ended.
const alertPatience = 3 * time.Second

// alerting takes alerts in, which switch profiles of limits, and sends those of fserve
// itself.
type alerting struct {
	profiles *alerts.Switch // nil before watch
	sender   *alerts.Sender // nil: there is no webhook
	notifier *alerts.Notifier
}

// openAlerting makes the sender of alerts.
func openAlerting(c *config.Config) (*alerting, error) {
	a := &alerting{}
	var send func(*alerts.Message)
	if c.Alerts.Webhook != "" {
		token, err := c.Alerts.Bearer()
		if err != nil {
			return nil, &exitError{exitConfig, err}
		}
		a.sender = alerts.NewSender(c.Alerts.Webhook, token, slog.Default())
		send = a.sender.Send
	}
	instance, err := os.Hostname()
	if err != nil || instance == "" {
		instance = "fserve"
	}
	a.notifier = alerts.NewNotifier(instance, send, slog.Default())
	return a, nil
}

// watch lets alerts that come in switch the profiles of a configuration.
func (a *alerting) watch(srv *server.Server, c *config.Config) {
	a.profiles = alerts.NewSwitch(func(caps shape.Caps, profiles []string) error {
		srv.Breaker().InForce(profiles)
		_, err := srv.Engine().Limits().SetCaps(caps)
		return err
	}, slog.Default())
	a.profiles.SetProfiles(c.AlertProfiles())
}

// close ends it, once the server has ended. Alerts that wait to be sent get a last
// chance.
func (a *alerting) close() {
	if a == nil {
		return
	}
	a.notifier.Close()
	if a.profiles != nil {
		a.profiles.Close()
	}
	if a.sender == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), alertPatience)
	defer cancel()
	a.sender.Close(ctx)
}

// retune brings limits, adaptation and profiles from one configuration to another.
func (h *host) retune(old, next *config.Config) error {
	e := h.srv.Engine()
	err := old.Limits.Retune(e.Limits(), &next.Limits)
	e.Adaptation().Configure(next.Adaptation())
	h.alerts.profiles.SetProfiles(next.AlertProfiles())
	return err
}
