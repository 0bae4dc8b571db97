// Package alerts takes alerts in and sends alerts out, both in the form of the
// webhooks of Prometheus' Alertmanager (version 4).
//
// Alerts that are posted to fserve switch profiles on and off. A [Switch] knows which
// alerts fire, and applies the limits of the profiles that match. Alerts that fserve posts
// are its own. A [Notifier] takes the events of adaptation, on the event loops and without
// ever waiting. A [Sender] posts the alerts that it makes of them, with retries and a bound.
package alerts

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"
)

// Values of Alert.Status.
const (
	Firing   = "firing"
	Resolved = "resolved"
)

// NameLabel is the label that every alert has.
const NameLabel = "alertname"

// version is the version of the webhook's form.
const version = "4"

const (
	// MaxBody bounds a message, in bytes. Alertmanager's are of some hundred bytes an alert.
	MaxBody = 1 << 20
	// maxAlerts bounds the alerts of a message, and those that a Switch remembers.
	maxAlerts = 1000
	maxLabels = 64
	maxText   = 1024 // bytes of a name or a value
)

// Message is the body of a webhook.
type Message struct {
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	TruncatedAlerts   int               `json:"truncatedAlerts"`
	Status            string            `json:"status"`
	Receiver          string            `json:"receiver"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
	Alerts            []Alert           `json:"alerts"`
}

// Alert is one alert of a message.
type Alert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

// Parse reads a message. The error says what is wrong; a message is good as a
// whole or not at all.
func Parse(body []byte) (*Message, error) {
	var m Message
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, fmt.Errorf("not a message in JSON: %w", err)
	}
	switch {
	case m.Version != version:
		return nil, fmt.Errorf("version: %q is not %q, that of Alertmanager's webhooks", shorten(m.Version), version)
	case m.Alerts == nil:
		return nil, errors.New("alerts: they are missing")
	case len(m.Alerts) > maxAlerts:
		return nil, fmt.Errorf("alerts: %d are more than %d", len(m.Alerts), maxAlerts)
	}
	for i := range m.Alerts {
		if err := m.Alerts[i].check(); err != nil {
			return nil, fmt.Errorf("alerts[%d].%w", i, err)
		}
	}
	return &m, nil
}

func (a *Alert) check() error {
	switch {
	case a.Status != Firing && a.Status != Resolved:
		return fmt.Errorf("status: %q is neither %s nor %s", shorten(a.Status), Firing, Resolved)
	case a.StartsAt.IsZero():
		return errors.New("startsAt: it is missing")
	case a.Status == Resolved && a.EndsAt.Before(a.StartsAt):
		return errors.New("endsAt: it is before startsAt")
	case len(a.Labels) == 0:
		return errors.New("labels: there are none")
	case len(a.Labels) > maxLabels:
		return fmt.Errorf("labels: %d are more than %d", len(a.Labels), maxLabels)
	}
	for name, value := range a.Labels {
		if !IsLabel(name) || len(value) > maxText {
			return fmt.Errorf("labels: %q is not a label, or its value is too long", shorten(name))
		}
	}
	return nil
}

// IsLabel reports whether a label can have the name.
func IsLabel(s string) bool {
	if s == "" || len(s) > maxText {
		return false
	}
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return true
}

// identity is what makes two alerts the same one: their labels.
func identity(labels map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(&b, "%s=%q,", name, labels[name])
	}
	return b.String()
}

// fingerprint is a short name of an identity.
func fingerprint(labels map[string]string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(identity(labels))) // never fails
	return fmt.Sprintf("%016x", h.Sum64())
}

// shorten bounds text that an error quotes.
func shorten(s string) string {
	const most = 60
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
