package alerts

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fserve/fserve/engine/adapt"
	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

var quiet = slog.New(slog.DiscardHandler)

const hour = "2026-01-02T03:00:00Z"

// alertJSON is an alert as Alertmanager writes it; minutes are after hour.
func alertJSON(status, name string, start, end int) string {
	at := func(minutes int) string {
		t, _ := time.Parse(time.RFC3339, hour)
		return t.Add(time.Duration(minutes) * time.Minute).Format(time.RFC3339)
	}
	ends := "0001-01-01T00:00:00Z"
	if status == Resolved {
		ends = at(end)
	}
	return fmt.Sprintf(`{"status":%q,"labels":{"alertname":%q,"severity":"page"},"annotations":{"a":"b"},"startsAt":%q,"endsAt":%q,"generatorURL":"","fingerprint":"x"}`,
		status, name, at(start), ends)
}

func message(t testing.TB, list ...string) *Message {
	t.Helper()
	m, err := Parse([]byte(`{"version":"4","groupKey":"{}:{}","status":"firing","receiver":"r","new":{"later":1},"alerts":[` + strings.Join(list, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// bench is a switch with what it has applied last.
type bench struct {
	*Switch
	caps  shape.Caps
	calls int
}

func newBench(t testing.TB) *bench {
	b := &bench{}
	b.Switch = NewSwitch(func(c shape.Caps, _ []string) error { b.caps, b.calls = c, b.calls+1; return nil }, quiet)
	t.Cleanup(b.Close)
	b.SetProfiles([]Profile{
		{Name: "degraded", Match: map[string]string{"alertname": "Slow"}, Caps: shape.Caps{Global: 400, Client: 50}, Forget: 24 * time.Hour},
		{Name: "down", Match: map[string]string{"alertname": "Down", "severity": "page"}, Caps: shape.Caps{Global: 100}, Forget: 2 * time.Hour},
	})
	return b
}

func (b *bench) want(t testing.TB, caps shape.Caps, names ...string) {
	t.Helper()
	s := b.State()
	b.mu.Lock() // the timer applies too
	defer b.mu.Unlock()
	var active []string
	for _, p := range s.Profiles {
		if p.Active {
			active = append(active, p.Name)
		}
	}
	if !slices.Equal(active, names) || b.caps != caps || s.Caps != caps {
		t.Errorf("in force: %v %+v (%+v), want %v %+v", active, b.caps, s.Caps, names, caps)
	}
}

func TestProfilesFollowAlerts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.Receive(message(t, alertJSON(Firing, "Other", 0, 0)), "am")
		b.want(t, shape.Caps{})
		b.Receive(message(t, alertJSON(Firing, "Slow", 0, 0)), "am")
		b.want(t, shape.Caps{Global: 400, Client: 50}, "degraded")
		b.Receive(message(t, alertJSON(Firing, "Down", 1, 0), alertJSON(Firing, "Slow", 0, 0)), "am")
		b.want(t, shape.Caps{Global: 100, Client: 50}, "degraded", "down")
		b.Receive(message(t, alertJSON(Resolved, "Slow", 0, 2)), "am")
		b.want(t, shape.Caps{Global: 100}, "down")
		b.Receive(message(t, alertJSON(Resolved, "Down", 1, 3)), "am")
		b.want(t, shape.Caps{})
		b.Receive(message(t, alertJSON(Firing, "Slow", 5, 0)), "am")
		b.want(t, shape.Caps{Global: 400, Client: 50}, "degraded")
		b.SetProfiles(nil)
		b.want(t, shape.Caps{})
		if b.calls != 6 {
			t.Errorf("applied %d times, want 6: only what changes is", b.calls)
		}
	})
}

// What is repeated or late changes nothing.
func TestAlertsOutOfOrder(t *testing.T) {
	for _, c := range []struct {
		name   string
		alerts []string
		on     bool
	}{
		{"repeated", []string{alertJSON(Firing, "Slow", 0, 0), alertJSON(Firing, "Slow", 0, 0)}, true},
		{"end before beginning", []string{alertJSON(Resolved, "Slow", 0, 5), alertJSON(Firing, "Slow", 0, 0)}, false},
		{"end repeated", []string{alertJSON(Firing, "Slow", 0, 0), alertJSON(Resolved, "Slow", 0, 5), alertJSON(Resolved, "Slow", 0, 5)}, false},
		{"beginning after the end", []string{alertJSON(Firing, "Slow", 0, 0), alertJSON(Resolved, "Slow", 0, 5), alertJSON(Firing, "Slow", 0, 0)}, false},
		{"old end in a new episode", []string{alertJSON(Firing, "Slow", 10, 0), alertJSON(Resolved, "Slow", 0, 5)}, true},
		{"old beginning in a new episode", []string{alertJSON(Firing, "Slow", 10, 0), alertJSON(Firing, "Slow", 0, 0), alertJSON(Resolved, "Slow", 10, 12)}, false},
		{"again after the end", []string{alertJSON(Resolved, "Slow", 0, 5), alertJSON(Firing, "Slow", 6, 0)}, true},
		{"at the instant of the end", []string{alertJSON(Resolved, "Slow", 0, 5), alertJSON(Firing, "Slow", 5, 0)}, true},
		{"end of an unknown one", []string{alertJSON(Resolved, "Slow", 0, 5)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			for _, a := range c.alerts {
				b.Receive(message(t, a), "am")
			}
			if on := b.caps != (shape.Caps{}); on != c.on {
				t.Errorf("in force: %v", on)
			}
		})
	}
}

// Messages in any order and repeated at will leave what the last episode says.
func TestAlertsShuffled(t *testing.T) {
	seed := testenv.Seed(t)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 500 {
		var all []string
		episodes := 1 + r.IntN(4)
		for i := range episodes {
			all = append(all, alertJSON(Firing, "Slow", 10*i, 0))
			if i+1 < episodes || r.IntN(2) == 0 {
				all = append(all, alertJSON(Resolved, "Slow", 10*i, 10*i+5))
			}
		}
		ended := len(all) == 2*episodes
		all = append(all, all[r.IntN(len(all))])
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		b := newBench(t)
		for _, a := range all {
			b.Receive(message(t, a), "am")
		}
		if on := b.caps != (shape.Caps{}); on == ended {
			t.Fatalf("in force: %v after %v", on, all)
		}
	}
}

// An alert whose end is lost does not hold for ever.
func TestAlertsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.Receive(message(t, alertJSON(Firing, "Slow", 0, 0), alertJSON(Firing, "Down", 0, 0)), "am")
		time.Sleep(time.Hour)
		b.Receive(message(t, alertJSON(Firing, "Down", 0, 0)), "am")
		time.Sleep(2*time.Hour - time.Minute)
		synctest.Wait()
		b.want(t, shape.Caps{Global: 100, Client: 50}, "degraded", "down")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		b.want(t, shape.Caps{Global: 400, Client: 50}, "degraded")
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		b.want(t, shape.Caps{})
		if s := b.State(); s.Lost != 2 || s.Firing != 0 {
			t.Errorf("%+v", s.SwitchStats)
		}
	})
}

func TestAlertsAreBounded(t *testing.T) {
	b := newBench(t)
	b.Receive(message(t, alertJSON(Resolved, "Old", 0, 1)), "am")
	for i := range maxAlerts + 10 {
		b.Receive(message(t, alertJSON(Firing, fmt.Sprint("A", i), 0, 0)), "am")
	}
	if s := b.State(); s.Firing != maxAlerts || s.Refused != 10 {
		t.Errorf("%d fire, %d refused", s.Firing, s.Refused)
	}
}

// What is malformed is refused as a whole.
func TestParseRefuses(t *testing.T) {
	good := alertJSON(Firing, "Slow", 0, 0)
	wrap := func(list string) string { return `{"version":"4","alerts":[` + list + `]}` }
	for name, body := range map[string]string{
		"nothing":       "",
		"not JSON":      "{",
		"a list":        "[]",
		"null":          "null",
		"no alerts":     `{"version":"4"}`,
		"another form":  strings.Replace(wrap(good), `"4"`, `"3"`, 1),
		"no form":       `{"alerts":[` + good + `]}`,
		"status":        wrap(strings.Replace(good, Firing, "on fire", 1)),
		"no labels":     wrap(`{"status":"firing","startsAt":"` + hour + `"}`),
		"no beginning":  wrap(`{"status":"firing","labels":{"alertname":"Slow"}}`),
		"bad time":      wrap(strings.Replace(good, hour, "yesterday", 1)),
		"ends too soon": wrap(alertJSON(Resolved, "Slow", 5, 1)),
		"bad label":     wrap(strings.Replace(good, "severity", "sever ity", 1)),
		"long value":    wrap(alertJSON(Firing, strings.Repeat("x", maxText+1), 0, 0)),
		"second is bad": wrap(good + `,{"status":"firing"}`),
		"too many":      wrap(good + strings.Repeat(","+good, maxAlerts)),
		"labels differ": wrap(strings.Replace(good, `"page"`, `1`, 1)),
	} {
		if m, err := Parse([]byte(body)); err == nil {
			t.Errorf("%s: taken: %+v", name, m)
		}
	}
	if _, err := Parse([]byte(wrap(""))); err != nil {
		t.Errorf("no alerts: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":"4","alerts":[` + alertJSON(Firing, "Slow", 0, 0) + `,` + alertJSON(Resolved, "Down", 0, 3) + `]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := Parse(body)
		if err != nil {
			return
		}
		b := newBench(t)
		b.Receive(m, "am")
		b.Receive(m, "am")
		if s := b.State(); s.Firing > len(m.Alerts) || s.Refused > 0 {
			t.Errorf("%+v of %d", s, len(m.Alerts))
		}
	})
}

// receiver is a webhook receiver.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []Message
	status []int // of the next answers
	auth   string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var m Message
		body, _ := io.ReadAll(req.Body)
		_, perr := Parse(body)
		jerr := json.Unmarshal(body, &m)
		r.mu.Lock()
		defer r.mu.Unlock()
		if perr != nil || jerr != nil {
			t.Errorf("not what Alertmanager would send: %v, %v: %s", perr, jerr, body)
		}
		r.auth = req.Header.Get("Authorization")
		if len(r.status) > 0 {
			code := r.status[0]
			r.status = r.status[1:]
			if code != http.StatusOK {
				w.WriteHeader(code)
				return
			}
		}
		r.got = append(r.got, m)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) names() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.got {
		list = append(list, m.GroupKey)
	}
	return list
}

func note(key string) *Message {
	return &Message{Version: version, GroupKey: key, Alerts: []Alert{{Status: Firing, Labels: map[string]string{NameLabel: "x"}, StartsAt: time.Unix(1, 0)}}}
}

const wait = 20 * time.Second

// A receiver that fails is tried again; what it refuses for good is not.
func TestSenderRetries(t *testing.T) {
	testenv.LeakCheck(t)
	r := newReceiver(t)
	r.status = []int{503, 200, 400}
	s := NewSender(r.URL, "secret", quiet)
	s.Send(note("a"))
	s.Send(note("refused"))
	s.Send(note("b"))
	if !testenv.Eventually(wait, func() bool { return s.Stats().Sent == 2 }) {
		t.Errorf("%+v", s.Stats())
	}
	s.Close(context.Background())
	if st := s.Stats(); st.Retried != 1 || st.Failed != 1 || !slices.Equal(r.names(), []string{"a", "b"}) || r.auth != "Bearer secret" {
		t.Errorf("%+v, got %v, authorization %q", st, r.names(), r.auth)
	}
}

// A receiver that hangs holds up nobody: the queue is bounded, and closing does not
// wait for it.
func TestSenderWithHangingReceiver(t *testing.T) {
	testenv.LeakCheck(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := NewSender("http://"+ln.Addr().String(), "", quiet)
	first := note("first")
	s.Send(first)
	if !testenv.Eventually(wait, func() bool { return s.Stats().Waiting == 0 }) {
		t.Fatal("not taken from the queue")
	}
	for i := range maxQueue + 5 {
		s.Send(note(fmt.Sprint(i)))
	}
	if st := s.Stats(); st.Waiting != maxQueue || st.Dropped != 5 {
		t.Errorf("%+v", st)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.Close(ctx)
	if st := s.Stats(); st.Failed != maxQueue+1 || st.Waiting != 0 {
		t.Errorf("after the end: %+v", st)
	}
	s.Send(note("late"))
	if st := s.Stats(); st.Dropped != 6 {
		t.Errorf("after the end: %+v", st)
	}
}

// What waits is sent once more at the end.
func TestSenderFlushes(t *testing.T) {
	testenv.LeakCheck(t)
	r := newReceiver(t)
	s := NewSender(r.URL, "", quiet)
	for i := range 10 {
		s.Send(note(fmt.Sprint(i)))
	}
	s.Close(context.Background())
	if got := r.names(); len(got) != 10 {
		t.Errorf("got %v", got)
	}
}

func TestNotifier(t *testing.T) {
	testenv.LeakCheck(t)
	var sent []*Message
	n := NewNotifier("host1", func(m *Message) { sent = append(sent, m) }, quiet)
	event := func(k adapt.Kind) measure.Event {
		return measure.Event{Level: shape.LevelClient, Name: "192.0.2.1", Event: adapt.Event{Kind: k, Target: 1 << 20, Loss: 0.2, Trips: 3}}
	}
	for _, k := range []adapt.Kind{adapt.Tripped, adapt.HalfOpened, adapt.Froze, adapt.Thawed, adapt.Recovered} {
		n.Event(event(k))
	}
	n.Close()
	n.Event(event(adapt.Froze)) // too late: nothing
	n.Close()
	if len(sent) != 2 || sent[0].Status != Firing || sent[1].Status != Resolved {
		t.Fatalf("sent %+v", sent)
	}
	on, off := sent[0].Alerts[0], sent[1].Alerts[0]
	if on.Fingerprint != off.Fingerprint || !on.StartsAt.Equal(off.StartsAt) || off.EndsAt.Before(off.StartsAt) || on.Labels["client"] != "192.0.2.1" ||
		on.Labels["priority"] != "P1" || on.Labels["instance"] != "host1" {
		t.Errorf("%+v\n%+v", on, off)
	}
	for _, m := range sent {
		body, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(body); err != nil {
			t.Errorf("%v: %s", err, body)
		}
	}
}

// Events that come faster than they are handled are counted, not waited for.
func TestNotifierNeverWaits(t *testing.T) {
	testenv.LeakCheck(t)
	hold := make(chan struct{})
	n := NewNotifier("h", func(*Message) { <-hold }, quiet)
	for range maxEvents + 100 {
		n.Event(measure.Event{Level: shape.LevelClient, Name: "c", Event: adapt.Event{Kind: adapt.Froze}})
	}
	if n.Dropped() < 99 {
		t.Errorf("%d dropped", n.Dropped())
	}
	close(hold)
	n.Close()
}
