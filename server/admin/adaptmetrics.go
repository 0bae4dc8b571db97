package admin

import (
	"strings"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/adapt"
	"github.com/fserve/fserve/engine/shape"
)

var (
	adaptTarget   = gauge("fserve_adapt_target_bytes_per_second", "Rate that was found, of path classes and of the clients that are in trouble, have bounds of their own, or are the busiest.", "level", "name")
	adaptEstimate = gauge("fserve_adapt_estimate_bytes_per_second", "What the line is thought to carry; 0: nothing was measured yet.", "level", "name")
	adaptFloor    = gauge("fserve_adapt_floor_bytes_per_second", "The least that the rate may be.", "level", "name")
	adaptCeiling  = gauge("fserve_adapt_ceiling_bytes_per_second", "The most that the rate may be.", "level", "name")
	adaptLoss     = gauge("fserve_adapt_loss_ratio", "Part of the segments that were lost, of the last sample of the breaker.", "level", "name")
	adaptFast     = gauge("fserve_adapt_fast_loop_state", "1 for the phase that the fast loop is in: doubling, linear, steady.", "level", "name", "state")
	adaptSlow     = gauge("fserve_adapt_slow_loop_state", "1 for what the slow loop last found.", "level", "name", "state")
	adaptBreaker  = gauge("fserve_adapt_breaker_state", "1 for the stage of the breaker: closed, open, half-open, frozen.", "level", "name", "state")
	adaptClients  = gauge("fserve_adapt_clients", "Clients whose rate is found, by the stage of their breaker.", "state")
	adaptTaps     = gauge("fserve_adapt_connections", "Connections that are being sampled.")
	adaptPeriod   = gauge("fserve_adapt_sample_interval_seconds", "Time between two samples of a busy connection.")
	adaptCuts     = counter("fserve_adapt_cuts_total", "Times that a rate was cut, by cause.", "cause")
	adaptSteps    = counter("fserve_adapt_steps_total", "Steps of the slow loop, and cuts that were undone because nothing had been lost.", "step")
	adaptTrips    = counter("fserve_adapt_breaker_trips_total", "Times that a breaker has opened.")
	adaptFreezes  = counter("fserve_adapt_breaker_freezes_total", "Times that a client was frozen at its floor: each is a P1 alert.")
	adaptRounds   = counter("fserve_adapt_rounds_total", "Rounds of samples by what they said of the line: measured, bound (at least so much), rejected, torn.", "result")
	adaptCrowded  = counter("fserve_adapt_crowded_total", "Clients that found no room: they keep to the rate that clients begin with.")
	adaptSampled  = counter("fserve_adapt_samples_total", "Times that the kernel was asked about a connection.")
	adaptBlind    = counter("fserve_adapt_unmeasured_connections_total", "Connections that the kernel tells nothing of.")

	profileActive   = gauge("fserve_profile_active", "1 while a profile of limits is in force.", "profile")
	alertsFiring    = gauge("fserve_alerts_firing", "Alerts that were posted and fire.")
	alertsMessages  = counter("fserve_alerts_messages_total", "Messages with alerts that were taken.")
	alertsTaken     = counter("fserve_alerts_received_total", "What became of alerts that were posted: fired, ended, stale (repeated or too late), refused (no room), lost (not heard of any more).", "result")
	webhookMessages = counter("fserve_alert_webhook_messages_total", "Alerts of fserve's own by what became of them: sent, failed, dropped.", "result")
	webhookRetries  = counter("fserve_alert_webhook_retries_total", "Attempts to send an alert beyond the first.")
	webhookWaiting  = gauge("fserve_alert_webhook_waiting", "Alerts that wait to be sent.")
)

// adaptation writes what is found.
func (e *emitter) adaptation(a *Admin, s *snapshot) {
	ad := a.adaptation()
	if ad == nil {
		return
	}
	r := ad.Report(busiestSeries)
	if len(r.Clients) > ownSeries {
		r.Clients = r.Clients[:ownSeries]
	}
	e.found(shape.LevelPath, r.Paths)
	e.found(shape.LevelClient, r.Clients)
	for stage, n := range r.Stages {
		e.gauge(adaptClients, float64(n), adapt.Stage(stage).String())
	}
	e.gauge(adaptTaps, float64(r.Taps))
	e.gauge(adaptPeriod, r.Period.Seconds())
	t := &r.Total
	for c, n := range t.Cuts {
		e.count(adaptCuts, n, adapt.Cause(c).String())
	}
	for _, step := range []struct {
		name string
		n    uint64
	}{{"raised", t.Raises}, {"lowered", t.Lowers}, {"followed", t.Follows}, {"took-back", t.TakenBack}, {"undone", t.Undone}} {
		e.count(adaptSteps, step.n, step.name)
	}
	e.count(adaptTrips, t.Tripped)
	e.count(adaptFreezes, t.Frozen)
	e.count(adaptRounds, t.Measured, "measured")
	e.count(adaptRounds, t.Bounds, "bound")
	e.count(adaptRounds, t.Rejected, "rejected")
	e.count(adaptRounds, t.Discarded, "torn")
	e.count(adaptCrowded, r.Crowded)
	e.count(adaptSampled, s.sum.Sampled)
	e.count(adaptBlind, s.sum.Unsampled)
}

// found writes what is found of some clients or path classes. Names that are
// the same but for bytes that are no UTF-8 have one series.
func (e *emitter) found(level shape.Level, list []engine.AdaptState) {
	seen := make(map[string]bool)
	for i := range list {
		s := &list[i]
		name, l := strings.ToValidUTF8(s.Name, "\uFFFD"), level.String()
		if seen[name] {
			continue
		}
		seen[name] = true
		e.gauge(adaptTarget, float64(s.Target), l, name)
		e.gauge(adaptEstimate, float64(s.Estimate), l, name)
		e.gauge(adaptFloor, float64(s.Min), l, name)
		e.gauge(adaptCeiling, float64(s.Max), l, name)
		e.gauge(adaptLoss, s.Loss, l, name)
		e.gauge(adaptFast, 1, l, name, s.Phase.String())
		e.gauge(adaptSlow, 1, l, name, s.Verdict.String())
		e.gauge(adaptBreaker, 1, l, name, s.Stage.String())
	}
}

// alerts writes what came in and went out.
func (e *emitter) alerts(a *Admin) {
	if s := a.cfg.Alerts; s != nil {
		st := s.State()
		for _, p := range st.Profiles {
			e.gauge(profileActive, truth(p.Active), p.Name)
		}
		e.gauge(alertsFiring, float64(st.Firing))
		e.count(alertsMessages, st.Messages)
		e.count(alertsTaken, st.Fired, "fired")
		e.count(alertsTaken, st.Ended, "ended")
		e.count(alertsTaken, st.Stale, "stale")
		e.count(alertsTaken, st.Refused, "refused")
		e.count(alertsTaken, st.Lost, "lost")
	}
	if s := a.cfg.AlertSender; s != nil {
		st := s.Stats()
		e.count(webhookMessages, st.Sent, "sent")
		e.count(webhookMessages, st.Failed, "failed")
		e.count(webhookMessages, st.Dropped, "dropped")
		e.count(webhookRetries, st.Retried)
		e.gauge(webhookWaiting, float64(st.Waiting))
	}
}
