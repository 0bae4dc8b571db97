package admit

import (
	"testing"
	"time"
)

// The fields tell of the rate of which the least is left.
func TestFields(t *testing.T) {
	c := new(Control)
	c.Set(Policy{
		Requests: Rate{Requests: 10, Per: time.Second, Burst: 20}, Fields: FieldsAlways,
		Users: map[string]Rate{"vip": {Requests: 600, Per: time.Minute, Burst: 4}},
	})
	now := int64(time.Hour)
	ask := Ask{Client: []byte("192.0.2.7"), User: []byte("alice"), Tier: "vip", Path: []byte("/")}
	const user, client = "RateLimit-Policy: \"user\";q=600;w=60\r\nRateLimit: \"user\";", "RateLimit-Policy: \"client\";q=10;w=1\r\nRateLimit: \"client\";"
	for i, want := range []string{user + "r=3;t=1\r\n", user + "r=2;t=1\r\n", user + "r=1;t=1\r\n", user + "r=0;t=1\r\n", user + "r=0;t=1\r\n"} {
		_, r := c.Admit(&ask, now)
		if got := string(r.Standing.Append(nil, FieldsAlways)); got != want || (i == 4) != (r.Reason == UserRequests) {
			t.Errorf("%d: %v\n%s, want\n%s", i, r.Reason, got, want)
		}
		near := string(r.Standing.Append(nil, FieldsNear))
		if (near != "") != (i >= 3) {
			t.Errorf("%d: near says %q", i, near)
		}
		if off := r.Standing.Append(nil, FieldsOff); len(off) > 0 {
			t.Errorf("off says %q", off)
		}
	}
	anybody := Ask{Client: []byte("192.0.2.7"), Path: []byte("/")}
	_, r := c.Admit(&anybody, now)
	if got := string(r.Standing.Append(nil, FieldsAlways)); got != client+"r=15;t=1\r\n" { // the refused one was given back
		t.Errorf("%s", got)
	}
	c.Set(Policy{Downloads: 1, Fields: FieldsAlways})
	_, r = c.Admit(&anybody, now)
	if got := r.Standing.Append(nil, FieldsAlways); len(got) > 0 {
		t.Errorf("without a rate: %s", got)
	}
}
