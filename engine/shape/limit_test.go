package shape

import (
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		l    Limit
		says string // "": fine
	}{
		{Limit{}, ""},
		{Limit{Rate: MaxRate, Burst: 1, Weight: MaxWeight, Guarantee: 5, Priority: -3}, ""},
		{Limit{Rate: Paused}, ""},
		{Limit{Rate: -2}, "rate"},
		{Limit{Rate: MaxRate + 1}, "rate"},
		{Limit{Burst: -1}, "burst"},
		{Limit{Weight: -1}, "weight"},
		{Limit{Weight: MaxWeight + 1}, "weight"},
		{Limit{Guarantee: -1}, "guarantee"},
		{Limit{Rate: 5, Guarantee: 6}, "guarantee"},
		{Limit{Rate: Paused, Guarantee: 1}, "guarantee"},
	} {
		err := c.l.Validate()
		if (err == nil) != (c.says == "") || err != nil && !strings.HasPrefix(err.Error(), c.says) {
			t.Errorf("%+v: %v", c.l, err)
		}
	}
	for _, cfg := range []Config{
		{Loops: -1}, {MaxClients: -1},
		{Global: Limit{Priority: 1}}, {Client: Limit{Guarantee: 1}}, {Connection: Limit{Rate: -7}},
		{Paths: []PathLimit{{"a", Limit{}}}},
		{Paths: []PathLimit{{"/a", Limit{Weight: -1}}}},
		{Paths: []PathLimit{{"/a", Limit{}}, {"/a", Limit{}}}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}
