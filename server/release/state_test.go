package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"
)

const second = int64(time.Second)

// steady is a release whose versions answer alike, and its clock.
type steady struct {
	*State
	now    int64
	counts [NumVersions]Counts
}

func begin(c Config) *steady {
	c.Canary, c.Stable = two.Canary, two.Stable
	c = c.WithDefaults()
	return &steady{State: NewState(&c), now: 1}
}

// pass lets seconds pass, with so many responses a second of each version, and returns the changes.
func (s *steady) pass(seconds, responses int, lost error) (list []Change) {
	for range seconds {
		s.now += second
		for v := range s.counts {
			for range responses {
				s.counts[v].Add(200, false, time.Millisecond, time.Second, 1<<20)
			}
		}
		if c := s.Tick(s.now, &s.counts, lost); c != nil {
			list = append(list, *c)
		}
	}
	return list
}

var threeSteps = Config{Steps: []Step{{Weight: 0.01, Hold: time.Minute}, {Weight: 0.2, Hold: time.Minute, Responses: 1000}, {Weight: 1}}}

// A step is passed when its time is over and enough was seen, not before.
func TestSteps(t *testing.T) {
	s := begin(threeSteps)
	if got := s.pass(60, 10, nil); got != nil || s.Weight() != 0.01 {
		t.Fatalf("%v at %v", got, s.Weight())
	}
	if got := s.pass(1, 10, nil); !reflect.DeepEqual(got, []Change{{0.01, 0.2, Progressing, ""}}) {
		t.Fatalf("%v", got)
	}
	if got := s.pass(99, 10, nil); got != nil {
		t.Fatalf("%v, after 990 responses", got)
	}
	if got := s.pass(1, 10, nil); !reflect.DeepEqual(got, []Change{{0.2, 1, Complete, ""}}) {
		t.Fatalf("%v", got)
	}
	if got := s.pass(1000, 1, nil); got != nil {
		t.Fatalf("%v, when it is complete", got)
	}
}

func TestActions(t *testing.T) {
	s := begin(threeSteps)
	s.pass(1, 1, nil)
	for i, c := range []struct {
		do     Action
		weight float64
		phase  Phase
		err    error
	}{
		{Resume, 0.01, Progressing, ErrNotPaused},
		{Pause, 0.01, Paused, nil},
		{Resume, 0.01, Progressing, nil},
		{Promote, 0.2, Progressing, nil},
		{Finish, 1, Complete, nil},
		{Promote, 1, Complete, ErrComplete},
		{Withdraw, 0, RolledBack, nil},
		{Promote, 0, RolledBack, ErrRolledBack},
		{Pause, 0, RolledBack, ErrRolledBack},
		{Resume, 0.01, Progressing, nil},
	} {
		_, err := s.Do(c.do, "a person", s.now)
		if got := s.Saved(); !errors.Is(err, c.err) || got.Weight != c.weight || got.Phase != c.phase || s.Weight() != c.weight {
			t.Errorf("%d, %s: %v, %+v", i, c.do, err, got)
		}
	}
	if _, err := s.Do(Pause, "", s.now); err != nil {
		t.Fatal(err)
	}
	if got := s.pass(500, 10, nil); got != nil {
		t.Errorf("%v while it is paused", got)
	}
	s.Weigh(0.3, "", s.now)
	if got := s.pass(500, 10, nil); got != nil || s.Weight() != 0.3 {
		t.Errorf("%v at %v, set by hand", got, s.Weight())
	}
}

// What was rolled back rests, however good it looks, and a canary whose files are gone is.
func TestRollbackRests(t *testing.T) {
	s := begin(threeSteps)
	s.pass(30, 10, nil)
	if got := s.pass(1, 10, errors.New("gone")); !reflect.DeepEqual(got, []Change{{0.01, 0, RolledBack, "gone"}}) {
		t.Fatalf("%v", got)
	}
	if got := s.pass(10_000, 1, nil); got != nil || s.Weight() != 0 {
		t.Errorf("%v at %v", got, s.Weight())
	}
}

// Another process goes on where one was, in the middle of a step, as does a reload; an edited schedule
// goes on at the nearest weight.
func TestGoesOn(t *testing.T) {
	s := begin(threeSteps)
	s.pass(101, 10, nil)
	text, err := json.Marshal(s.Saved())
	if err != nil {
		t.Fatal(err)
	}
	var saved Saved
	if err := json.Unmarshal(text, &saved); err != nil {
		t.Fatal(err)
	}
	next := begin(threeSteps)
	if !next.Restore(&saved) || next.Saved() != s.Saved() || next.Saved().Elapsed < 39*time.Second {
		t.Fatalf("%+v of %s", next.Saved(), text)
	}
	if got := next.pass(70, 10, nil); len(got) != 1 || got[0].To != 1 || next.now > 71*second {
		t.Errorf("%v", got)
	}
	other := saved
	other.Versions[Canary].Root = "/3"
	if begin(threeSteps).Restore(&other) {
		t.Error("the state of another release was taken")
	}
	same := threeSteps
	same.Canary = two.Canary
	same = same.WithDefaults()
	s.Adopt(&same, s.now)
	if s.Saved() != saved {
		t.Errorf("%+v after a reload, was %+v", s.Saved(), saved)
	}
	edited := Config{Canary: two.Canary, Steps: []Step{{Weight: 0.02, Hold: time.Minute}, {Weight: 0.25, Hold: time.Hour}, {Weight: 1}}}.WithDefaults()
	s.Adopt(&edited, s.now)
	if got := s.Saved(); got.Weight != 0.25 || got.Step != 1 {
		t.Errorf("%+v by another schedule", got)
	}
}

// A clock that stands still, jumps ahead or back promotes nothing.
func TestClockJumps(t *testing.T) {
	s := begin(Config{Steps: []Step{{Weight: 0.01, Hold: time.Hour}, {Weight: 1}}})
	s.pass(300, 10, nil)
	for _, jump := range []int64{0, 24 * 3600 * second, -48 * 3600 * second} {
		s.now += jump
		if c := s.Tick(s.now, &s.counts, nil); c != nil {
			t.Errorf("%+v by a jump of %v", *c, time.Duration(jump))
		}
	}
	if got := s.Saved().Elapsed; got > 6*time.Minute {
		t.Errorf("%v have passed in five minutes", got)
	}
}

// Downloads that are resumed without a tag stay in the version that they have begun with for the time
// of the hold, whatever the share was in between.
func TestHeldResumes(t *testing.T) {
	c := Config{Stable: two.Stable, Canary: two.Canary, Steps: []Step{{Weight: 0.01}, {Weight: 0.05}, {Weight: 0.2}, {Weight: 1}}, Hold: time.Hour}.WithDefaults()
	r := New("web", c, NewState(&c))
	ask := func(i int, path string, begins, resumes bool, now int64) Index {
		return r.Choose(&Request{Client: client(i), Path: []byte(path), Begins: begins, Resumes: resumes, Now: now})
	}
	const clients = 10_000
	now, first, second := int64(1), make([]Index, clients), make([]Index, clients)
	for i := range clients {
		first[i] = ask(i, "/a", true, false, now)
	}
	for _, do := range []Action{Promote, Promote, Promote, Withdraw} {
		now += int64(5 * time.Minute)
		if _, err := r.Do(do, "", now); err != nil {
			t.Fatal(err)
		}
		for i := range clients {
			if got := ask(i, "/a", false, true, now); got != first[i] {
				t.Fatalf("client %d after %s: %d, began with %d", i, do, got, first[i])
			}
		}
		if do == Promote && second[0] == 0 && r.Weight() == 0.2 {
			for i := range clients {
				second[i] = ask(i, "/b", true, false, now)
			}
		}
		if r.Weight() == 1 {
			for i := range clients {
				if got := ask(i, "/b", false, true, now); got != second[i] {
					t.Fatalf("client %d: %d, began with %d", i, got, second[i])
				}
			}
		}
	}
	for i := range clients {
		if got := ask(i, "/a", false, true, now+int64(2*time.Hour)); got != Stable {
			t.Fatalf("client %d is held for ever", i)
		}
	}
}

func TestOverrides(t *testing.T) {
	networks := prefixes("10.0.0.0/16")
	c := two
	c.Previous = Version{Name: "v0", Root: "/0"}
	c.Override = Override{Header: "X-Release", Cookie: "rel", Query: "r", Users: []string{"ann"}, Networks: prefixes("10.9.0.0/16")}
	r := at(c, 0)
	for _, q := range []struct {
		header, cookie, query, user, from string
		want                              Index
	}{
		{from: "10.0.0.1"},
		{header: "v2", from: "10.0.0.1", want: Canary},
		{header: "canary", want: Canary}, {header: "v0", want: Previous}, {header: "v9"},
		{cookie: "a=b; rel=v2", want: Canary}, {cookie: "xrel=v2"},
		{query: "x=1&r=v2", want: Canary}, {query: "rr=v2"},
		{user: "ann", want: Canary}, {user: "bob"},
		{from: "10.9.1.1", want: Canary},
		{header: "v1", from: "10.9.1.1", want: Stable},
	} {
		ask := Request{User: []byte(q.user), Query: []byte(q.query)}
		if q.from != "" {
			ask.Client = networks[0].Addr()
			ask.Client = parse(q.from)
		}
		ask.Values[r.FieldAt([]byte("x-release"))] = []byte(q.header)
		ask.Values[r.FieldAt([]byte("Cookie"))] = []byte(q.cookie)
		if got := r.Choose(&ask); got != q.want {
			t.Errorf("%+v: %d", q, got)
		}
	}
	unnamed := c
	unnamed.Override.Cookie, unnamed.Subject = "", []Subject{{Kind: ByCookie, Name: "id"}}
	asks := at(unnamed, 0)
	ask := Request{}
	if ask.Values[asks.FieldAt([]byte("cookie"))] = []byte("=v2"); asks.Choose(&ask) != Stable {
		t.Error("a cookie without a name chooses a version")
	}
	if _, err := r.Do(Withdraw, "", 1); err != nil {
		t.Fatal(err)
	}
	if got := r.Choose(&Request{User: []byte("ann")}); got != Stable {
		t.Errorf("%d for a user of a list after a rollback", got)
	}
	c.Override.Allow = networks
	r = at(c, 0)
	for from, want := range map[string]Index{"10.0.3.4": Canary, "10.1.3.4": Stable} {
		ask := Request{Client: parse(from), Query: []byte("r=v2")}
		if got := r.Choose(&ask); got != want {
			t.Errorf("%s: %d", from, got)
		}
	}
}

func TestHistogramBuckets(t *testing.T) {
	for v := uint64(1); v < 1<<22; v = v*9/8 + 1 {
		i := bucket(v)
		if float64(v) >= Bound(i) || i > 0 && float64(v) < Bound(i-1) {
			t.Fatal(fmt.Sprint(v, " is in the bucket that ends at ", Bound(i)))
		}
	}
}

// What leaves the share as it is leaves those held who were moved by the change before.
func TestHeldOverPauses(t *testing.T) {
	c := Config{Stable: two.Stable, Canary: two.Canary, Steps: []Step{{Weight: 0}, {Weight: 1}, {Weight: 1}}, Hold: time.Hour}.WithDefaults()
	r := New("web", c, NewState(&c))
	for i, do := range []Action{Promote, Pause, Resume, Promote} {
		if _, err := r.Do(do, "", int64(i+1)); err != nil {
			t.Fatal(err)
		}
		if got := r.Choose(&Request{Client: client(1), Path: []byte("/a"), Resumes: true, Now: int64(i + 1)}); got != Stable {
			t.Fatalf("after %s a download goes on with %d", do, got)
		}
	}
}

// A release that begins anew is judged by what it answers from then on, not by what people have had who
// looked at the canary while it rested.
func TestRestIsNotJudged(t *testing.T) {
	s := begin(threeSteps)
	s.pass(30, 10, nil)
	s.pass(1, 10, errors.New("gone"))
	for range 1000 {
		s.counts[Canary].Add(404, false, time.Millisecond, time.Millisecond, 0)
	}
	s.pass(10, 100, nil)
	if _, err := s.Do(Resume, "mended", s.now); err != nil {
		t.Fatal(err)
	}
	if got := s.pass(50, 100, nil); got != nil {
		t.Errorf("%v", got)
	}
}

// A step that somebody begins before the first look at what was counted begins with no responses.
func TestPromotedAtOnce(t *testing.T) {
	was := begin(threeSteps)
	was.pass(50, 100, nil)
	saved, s := was.Saved(), begin(threeSteps)
	if !s.Restore(&saved) {
		t.Fatal("not restored")
	}
	if _, err := s.Do(Promote, "", s.now); err != nil {
		t.Fatal(err)
	}
	if s.pass(2, 1, nil); s.Saved().Seen != 1 {
		t.Errorf("%+v", s.Saved())
	}
}

// A process whose configuration was edited while none ran goes on by that, and not by the weight of the
// one before.
func TestGoesOnByOtherSteps(t *testing.T) {
	versions := begin(threeSteps).Saved().Versions
	for _, c := range []struct {
		name  string
		was   Saved
		steps []Step
		want  Saved
	}{
		{"another weight", Saved{Phase: Complete, Weight: 0.05}, []Step{{Weight: 0.1}}, Saved{Phase: Complete, Weight: 0.1}},
		{"more steps", Saved{Phase: Complete, Weight: 0.05, Seen: 7}, []Step{{Weight: 0.05, Hold: time.Hour}, {Weight: 1}}, Saved{Phase: Progressing, Weight: 0.05, Seen: 7}},
		{"less steps", Saved{Phase: Progressing, Step: 1, Weight: 0.05}, []Step{{Weight: 0.01}, {Weight: 0.05}}, Saved{Phase: Complete, Step: 1, Weight: 0.05}},
		{"steps of one weight", Saved{Phase: Progressing, Step: 1, Weight: 0.05, Elapsed: 9}, []Step{{Weight: 0.05}, {Weight: 0.05}, {Weight: 1}}, Saved{Phase: Progressing, Step: 1, Weight: 0.05, Elapsed: 9}},
		{"by hand", Saved{Phase: Paused, Weight: 0.3}, []Step{{Weight: 0.1}, {Weight: 0.25}}, Saved{Phase: Paused, Step: 1, Weight: 0.3}},
		{"rolled back", Saved{Phase: RolledBack, Step: 1, Why: "it"}, []Step{{Weight: 0.1}}, Saved{Phase: RolledBack, Why: "it"}},
	} {
		s := begin(Config{Steps: c.steps})
		c.was.Versions, c.want.Versions = versions, versions
		if !s.Restore(&c.was) || s.Saved() != c.want || s.Weight() != c.want.Weight {
			t.Errorf("%s: %+v at %v, want %+v", c.name, s.Saved(), s.Weight(), c.want)
		}
	}
}
