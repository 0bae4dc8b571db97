package admit

import (
	"testing"
	"time"
)

func TestParseRate(t *testing.T) {
	for s, want := range map[string]Rate{
		"50/s": {Requests: 50, Per: time.Second}, "600/min burst 100": {Requests: 600, Per: time.Minute, Burst: 100},
		"1000/h": {Requests: 1000, Per: time.Hour}, "1/day": {Requests: 1, Per: 24 * time.Hour}, "unlimited": {},
	} {
		r, err := ParseRate(s)
		if err != nil || r != want || r.String() != s {
			t.Errorf("%q: %+v %q, %v", s, r, r.String(), err)
		}
	}
	for _, s := range []string{
		"", "50", "50/", "/s", "0/s", "-1/s", "50/sec", "50 /s", "1.5/s", "50/s burst", "50/s burst 0", "50/s burst -1", "50/s 200",
		"50/s bursts 200", "99999999999/s", "99999999999999999999/s", "1/day burst 999999999999999", "Unlimited",
	} {
		if r, err := ParseRate(s); err == nil {
			t.Errorf("%q is taken: %+v", s, r)
		}
	}
}
