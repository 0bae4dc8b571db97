package alerts

import (
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fserve/fserve/engine/adapt"
	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/rate"
)

// FrozenAlert is the name of the alert that fires while a client is held at its floor.
const FrozenAlert = "FserveClientFrozen"

const (
	// maxEvents bounds what waits to be logged and sent.
	maxEvents = 1024
	// maxFrozen bounds the alerts whose begin is remembered. When another alert ends, its
	// end is posted as its begin, too.
	maxFrozen = 10_000
)

// Notifier makes log lines and alerts of the events of adaptation. Its methods are safe
// for concurrent use.
type Notifier struct {
	instance string
	send     func(*Message) // nil: nobody wants them
	log      *slog.Logger

	mu      sync.RWMutex
	events  chan stamped
	closed  bool
	done    chan struct{}
	dropped atomic.Uint64
	frozen  map[string]time.Time // since when, by level and name; of run
}

// stamped is an event and its time.
type stamped struct {
	measure.Event
	at time.Time
}

// NewNotifier returns a Notifier. instance is the label that tells servers apart; send
// must not wait (see Sender.Send), and is nil if alerts are to be logged only.
func NewNotifier(instance string, send func(*Message), log *slog.Logger) *Notifier {
	n := &Notifier{
		instance: instance, send: send, log: log,
		events: make(chan stamped, maxEvents), done: make(chan struct{}), frozen: make(map[string]time.Time),
	}
	go n.run()
	return n
}

// Event takes an event. It is for the event loops: it never waits.
func (n *Notifier) Event(e measure.Event) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.closed {
		return
	}
	select {
	case n.events <- stamped{e, time.Now()}:
	default:
		n.dropped.Add(1)
	}
}

// Dropped returns how many events came faster than they could be logged.
func (n *Notifier) Dropped() uint64 { return n.dropped.Load() }

// Close handles the events that wait, and ends the Notifier.
func (n *Notifier) Close() {
	n.mu.Lock()
	if !n.closed {
		n.closed = true
		close(n.events)
	}
	n.mu.Unlock()
	<-n.done
}

func (n *Notifier) run() {
	defer close(n.done)
	for e := range n.events {
		n.tell(e)
	}
}

func (n *Notifier) tell(e stamped) {
	args := []any{"level", e.Level.String(), "name", e.Name, "target", rate.Rate(e.Target).String(), "loss", fmt.Sprintf("%.1f%%", 100*e.Loss), "trips", e.Trips}
	alert, firing := e.P1()
	switch {
	case firing:
		n.log.Error("P1: breaker frozen at the floor", args...)
	case e.Kind == adapt.Tripped:
		n.log.Warn("breaker tripped", args...)
	default:
		n.log.Info("breaker "+e.Kind.String(), args...)
	}
	if alert && n.send != nil {
		n.send(n.message(e, firing))
	}
}

// message makes an alert of an event.
func (n *Notifier) message(e stamped, firing bool) *Message {
	labels := map[string]string{
		NameLabel: FrozenAlert, "severity": "critical", "priority": "P1", "instance": n.instance, e.Level.String(): e.Name,
	}
	a := Alert{
		Status: Firing, Labels: labels, StartsAt: e.at.UTC(), Fingerprint: fingerprint(labels),
		Annotations: map[string]string{
			"summary": fmt.Sprintf("%v %s is held at %v", e.Level, e.Name, rate.Rate(e.Target)),
			"description": fmt.Sprintf("Loss made its breaker trip %d times; of the last sample %.1f %% were lost. It is held at its floor, "+
				"and goes on to be served.", e.Trips, 100*e.Loss),
		},
	}
	key := e.Level.String() + " " + e.Name
	if firing {
		if len(n.frozen) < maxFrozen {
			n.frozen[key] = a.StartsAt
		}
	} else {
		a.Status, a.EndsAt = Resolved, a.StartsAt
		if since, ok := n.frozen[key]; ok {
			a.StartsAt = since
			delete(n.frozen, key)
		}
	}
	return &Message{
		Version: version, GroupKey: "{}:{" + NameLabel + "=\"" + FrozenAlert + "\"}", Status: a.Status, Receiver: "fserve",
		GroupLabels:  map[string]string{NameLabel: FrozenAlert},
		CommonLabels: maps.Clone(labels), CommonAnnotations: maps.Clone(a.Annotations), Alerts: []Alert{a},
	}
}
