package admin

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server"
)

const (
	// eventEvery is the time between two snapshots.
	eventEvery = time.Second
	// heartbeat is how long a stream may be silent, so that no proxy takes it for
	// dead.
	heartbeat = 10 * time.Second
	// eventsKept is how many snapshots a client can have missed and still get.
	eventsKept = 60
	// eventQueue is how many a client may be behind before it is dropped.
	eventQueue = 8
	// maxStreams bounds the clients of /events.
	maxStreams = 32
	// eventClients is how many clients a snapshot tells apart, beyond those
	// with limits of their own.
	eventClients = 10
	// eventTimeout is how long a client may take to take one.
	eventTimeout = 10 * time.Second
)

// hub takes a snapshot every second while there are streams, and gives it to all of
// them.
type hub struct {
	a     *Admin
	every time.Duration
	beat  time.Duration

	mu      sync.Mutex
	streams map[*stream]struct{}
	recent  []event // the last ones, oldest first
	last    uint64  // id of the newest; they begin at 1
	closed  bool
	running bool
	idle    sync.WaitGroup // the goroutine that takes snapshots
	stop    chan struct{}  // closed by close
}

// event is one snapshot, rendered.
type event struct {
	id   uint64
	data []byte
}

// stream is a client of /events. Its channel is closed when the client is dropped.
type stream struct {
	events chan event
}

func newHub(a *Admin) *hub {
	return &hub{a: a, every: eventEvery, beat: heartbeat, streams: make(map[*stream]struct{}), stop: make(chan struct{})}
}

// subscribe adds a stream, and returns the snapshots after the one that it has seen
// last; ok is false if there are too many.
func (h *hub) subscribe(seen uint64) (s *stream, missed []event, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.streams) >= maxStreams {
		return nil, nil, false
	}
	s = &stream{events: make(chan event, eventQueue)}
	h.streams[s] = struct{}{}
	for _, e := range h.recent {
		if seen > 0 && seen <= h.last && e.id > seen {
			missed = append(missed, e)
		}
	}
	if !h.running {
		h.running = true
		h.idle.Go(h.run)
	}
	return s, missed, true
}

func (h *hub) leave(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.streams, s)
}

// close ends all streams.
func (h *hub) close() {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		close(h.stop)
	}
	for s := range h.streams {
		h.drop(s)
	}
	h.mu.Unlock()
	h.idle.Wait()
}

// drop ends a stream. The caller holds mu.
func (h *hub) drop(s *stream) {
	delete(h.streams, s)
	close(s.events)
}

// run takes snapshots until nobody listens any more.
func (h *hub) run() {
	t := time.NewTicker(h.every)
	defer t.Stop()
	before := h.a.snapshot(0)
	for {
		select {
		case <-h.stop:
			return
		case <-t.C:
		}
		if h.unheard() {
			return
		}
		now := h.a.snapshot(eventClients)
		h.publish(viewEvent(before, now))
		before = now
	}
}

// unheard reports whether nobody listens; the goroutine then ends.
func (h *hub) unheard() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.streams) == 0 || h.closed {
		h.running = false
	}
	return !h.running
}

// publish gives a snapshot to all streams. One that is too far behind is
// dropped: it comes back with the id that it has seen last.
func (h *hub) publish(v *eventView) {
	data, err := json.Marshal(v)
	if err != nil {
		h.a.log.Error("events", "err", err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	e := event{h.last, data}
	if len(h.recent) == eventsKept {
		h.recent = append(h.recent[:0], h.recent[1:]...)
	}
	h.recent = append(h.recent, e)
	for s := range h.streams {
		select {
		case s.events <- e:
		default:
			h.drop(s)
		}
	}
}

// getEvents streams snapshots as server-sent events (WHATWG HTML, section 9.2).
func (a *Admin) getEvents(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "text/event-stream")
		return
	}
	seen, _ := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64) // 0: none, or another server's
	s, missed, ok := a.events.subscribe(seen)
	if !ok {
		p := problemf(http.StatusServiceUnavailable, "%d clients listen already, or the server ends", maxStreams)
		p.header = http.Header{"Retry-After": {"10"}}
		p.write(w)
		return
	}
	defer a.events.leave(s)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx in front would hold events back
	out := &eventWriter{w: w, control: http.NewResponseController(w)}
	out.write("retry: 2000\n\n")
	for _, e := range missed {
		out.event(e)
	}
	out.follow(r, s, a.events.beat)
}

// eventWriter writes a stream until that fails.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	err     error
}

// follow sends the snapshots that are published, and a comment after a long silence.
func (o *eventWriter) follow(r *http.Request, s *stream, beat time.Duration) {
	t := time.NewTimer(beat)
	defer t.Stop()
	for o.err == nil {
		select {
		case <-r.Context().Done():
			return
		case e, ok := <-s.events:
			if !ok {
				return
			}
			o.event(e)
		case <-t.C:
			o.write(": still here\n\n")
		}
		t.Reset(beat)
	}
}

func (o *eventWriter) event(e event) {
	o.write(fmt.Sprintf("id: %d\nevent: snapshot\ndata: %s\n\n", e.id, e.data))
}

func (o *eventWriter) write(text string) {
	if o.err != nil {
		return
	}
	if o.err = o.control.SetWriteDeadline(time.Now().Add(eventTimeout)); o.err != nil {
		return
	}
	if _, o.err = o.w.Write([]byte(text)); o.err == nil {
		o.err = o.control.Flush()
	}
}

// eventView is a snapshot as it is sent. Rates are of the time since the one
// before; null stands for a value that is not known.
type eventView struct {
	Time     time.Time `json:"time"`
	Seconds  float64   `json:"seconds"` // since the snapshot before
	Draining bool      `json:"draining"`

	RequestsPerSecond  float64            `json:"requests_per_second"`
	Status             map[string]uint64  `json:"status"` // responses since the start, by class
	SentBytesPerSecond float64            `json:"sent_bytes_per_second"`
	SentBytes          map[string]uint64  `json:"sent_bytes"` // since the start, by way
	Outcomes           map[string]uint64  `json:"outcomes"`   // of responses, since the start
	Connections        connCounts         `json:"connections"`
	Transfers          transferCounts     `json:"transfers"`
	FirstByte          quantiles          `json:"first_byte_seconds"`
	Duration           quantiles          `json:"response_seconds"`
	Jitter             *float64           `json:"throughput_jitter"`
	HeldSeconds        map[string]float64 `json:"held_seconds,omitempty"` // since the start, by level
	Global             *nodeView          `json:"global,omitempty"`
	Paths              []nodeView         `json:"paths,omitempty"`
	Clients            []nodeView         `json:"clients,omitempty"`
}

type connCounts struct {
	Open     int      `json:"open"`
	Accepted uint64   `json:"accepted"`    // since the start
	Reuse    *float64 `json:"reuse_ratio"` // of the responses since the snapshot before
}

type transferCounts struct {
	Active  int `json:"active"`
	Waiting int `json:"waiting"`
}

type quantiles struct {
	P50 *float64 `json:"p50"`
	P99 *float64 `json:"p99"`
}

func viewEvent(before, now *snapshot) *eventView {
	dt := max(now.at.Sub(before.at).Seconds(), 1e-3)
	a, b := &before.sum, &now.sum
	v := &eventView{
		Time: now.at.UTC(), Seconds: round3(dt), Draining: now.draining,
		RequestsPerSecond:  round3(float64(b.Responses-a.Responses) / dt),
		SentBytesPerSecond: round3(float64(total(b.Driver.Bytes[:])-total(a.Driver.Bytes[:])) / dt),
		Status:             make(map[string]uint64), SentBytes: make(map[string]uint64), Outcomes: make(map[string]uint64),
		Connections: connCounts{Open: b.Open, Accepted: b.Accepted, Reuse: ratio(b.Reused-a.Reused, b.Responses-a.Responses)},
		Transfers:   transferCounts{b.Sending, b.Waiting},
		FirstByte:   quantilesOf(&a.session.FirstByte, &b.session.FirstByte),
		Duration:    quantilesOf(&a.session.Duration, &b.session.Duration),
		Jitter:      known(b.jitter),
	}
	for class, n := range b.session.Status {
		if class > 0 {
			v.Status[statusClass(class)] = n
		}
	}
	for way, n := range b.Driver.Bytes {
		v.SentBytes[engine.Via(way).String()] = n
	}
	for end, n := range b.Ends {
		v.Outcomes[engine.End(end).String()] = n
	}
	if now.limited {
		v.addLimits(now)
	}
	return v
}

func (v *eventView) addLimits(s *snapshot) {
	r := &s.report
	global := viewGlobal(r, viewLimit(s.set.Global, time.Time{}))
	v.Global, v.HeldSeconds = &global, viewThrottled(r)
	v.Paths = viewPaths(r, s.set.Paths, func(p *shape.PathLimit) *limitView { return viewLimit(p.Limit, time.Time{}) })
	for i := range r.Clients[:min(len(r.Clients), maxEventClients)] {
		v.Clients = append(v.Clients, viewNode(&r.Clients[i], r.Global.Rate10))
	}
}

// maxEventClients bounds the clients of a snapshot, those with limits of their
// own included.
const maxEventClients = 100

func total(counts []uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

func quantilesOf(from, to *server.Histogram) quantiles {
	return quantiles{known(quantile(0.5, from, to)), known(quantile(0.99, from, to))}
}

// known is a number as JSON has it, which knows no NaN.
func known(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

func ratio(part, of uint64) *float64 {
	if of == 0 {
		return nil
	}
	return known(min(round3(float64(part)/float64(of)), 1))
}
