package quota

import (
	"testing"
	"time"
)

var today = Day.At(time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC).Unix())

// A spender stops where there is nothing left, and gives back what it has not spent.
func TestSpend(t *testing.T) {
	const most = 10 << 20
	a := new(Book).Of([]byte("alice"), today)
	var s, other Spender
	s.Of(a, most, Cut)
	other.Of(a, most, Cut)
	if _, over := other.Spend(1); over || a.Used() <= 1 {
		t.Fatal("no block was taken")
	}
	other.End()
	if a.Used() != 1 {
		t.Fatalf("%d bytes are used, want 1", a.Used())
	}
	sent := int64(0)
	for sent < 2*most {
		sent += 100_000
		if then, over := s.Spend(100_000); over {
			if then != Cut {
				t.Errorf("then %v", then)
			}
			break
		}
	}
	if sent < most || sent > most+100_000 {
		t.Errorf("stopped after %d bytes of %d", sent, most)
	}
	if _, over := s.Spend(5); over { // it is said once
		t.Error("stopped again")
	}
	s.End()
	s.End()
	if a.Used() != sent+6 || a.Left(most) != 0 {
		t.Errorf("%d bytes are used, %d were sent", a.Used(), sent+6)
	}
}

// Of two accounts the one with less stops.
func TestSpendOfTwo(t *testing.T) {
	b := new(Book)
	user, link := b.Of([]byte("alice"), today), b.Of([]byte("link 7"), Period{Life, 2_000_000_000})
	var s Spender
	s.Of(user, 1<<30, Throttle)
	s.Of(link, 1000, Cut)
	if _, over := s.Spend(999); over {
		t.Error("nothing is used up yet")
	}
	if then, over := s.Spend(1); !over || then != Cut {
		t.Errorf("the link is not used up: %v, %v", then, over)
	}
	s.End()
	if user.Used() != 1000 || link.Used() != 1000 {
		t.Errorf("used %d and %d", user.Used(), link.Used())
	}
}

func TestPeriods(t *testing.T) {
	at := func(s string) int64 {
		v, err := time.Parse(time.DateTime, s)
		if err != nil {
			t.Fatal(err)
		}
		return v.Unix()
	}
	for _, test := range []struct {
		kind      Kind
		now, ends string
	}{
		{Day, "2026-11-30 23:59:59", "2026-12-01 00:00:00"}, {Month, "2026-12-31 23:59:59", "2027-01-01 00:00:00"},
		{Month, "2028-02-01 00:00:00", "2028-03-01 00:00:00"}, {Day, "1970-01-01 00:00:00", "1970-01-02 00:00:00"},
	} {
		if p := test.kind.At(at(test.now)); p.Ends() != at(test.ends) {
			t.Errorf("%s: ends %v", test.now, time.Unix(p.Ends(), 0).UTC())
		}
	}
}

func TestLimitText(t *testing.T) {
	for text, want := range map[string]string{
		"20GiB/day": "20GiB/day", "500MB/month then refuse": "500MB/month", "1GiB/day then cut": "1GiB/day then cut", "1GiB/day then 200KiB/s": "1GiB/day then 200KiB/s", "": "",
	} {
		l, err := ParseLimit(text)
		if err != nil || l.String() != want {
			t.Errorf("%q is read as %q, %v", text, l.String(), err)
		}
	}
	for _, text := range []string{"20GiB", "20/day", "20GiB/week", "0B/day", "1GiB/day then", "1GiB/day then 0B/s", "1GiB/day then unlimited", "1GiB/day  then cut"} {
		if _, err := ParseLimit(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	day, month := Limit{Bytes: 100, Kind: Day}, Limit{Bytes: 2000, Kind: Month}
	if day.Lower(month) != month || month.Lower(day) != month || day.Lower(Limit{}) != day || (Limit{}).Lower(day) != day {
		t.Error("not the lower one")
	}
}

func BenchmarkSpend(b *testing.B) {
	a := new(Book).Of([]byte("alice"), today)
	var s Spender
	s.Of(a, 1<<62, Cut)
	for b.Loop() {
		s.Spend(1000)
	}
}

func BenchmarkOf(b *testing.B) {
	book := new(Book)
	name := []byte("alice")
	b.ReportAllocs()
	for b.Loop() {
		book.Of(name, today)
	}
}
