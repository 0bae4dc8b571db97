package load

import (
	"math"
	"testing"
	"time"
)

func TestFigures(t *testing.T) {
	r := Result{Seconds: 2, Conns: []Conn{
		{Group: 0, Client: 1, Bytes: 180}, {Group: 1, Client: 1, Bytes: 220}, {Group: 1, Client: 2, Bytes: 200},
	}}
	if got := r.Errors(100); math.Abs(got[0]-10) > 1e-9 || math.Abs(got[1]-10) > 1e-9 || got[2] != 0 {
		t.Errorf("errors %v", got)
	}
	if a, b, all := r.Rate(0), r.Rate(1), r.Rate(-1); a != 90 || b != 210 || all != 300 {
		t.Errorf("rates %g, %g, %g", a, b, all)
	}
	if got := r.Clients(); len(got) != 2 || got[1] != 400 || got[2] != 200 {
		t.Errorf("clients %v", got)
	}
}

func TestSettled(t *testing.T) {
	// 10 bytes in 10 ms until 500 ms, 20 from 530 ms on, something odd at 800 ms.
	r := Result{Began: 1e9, Total: make([]int64, 100)}
	for i := range r.Total {
		r.Total[i] = 10
		if i >= 53 {
			r.Total[i] = 20
		}
	}
	r.Total[80] = 0
	at := func(ms int64) int64 { return r.Began + ms*1e6 }
	for _, tc := range []struct {
		from, until int64
		rate        float64
		want        time.Duration
		ok          bool
	}{
		{100, 450, 1000, 0, true},
		{500, 790, 2000, 30 * time.Millisecond, true},
		{520, 790, 2000, 10 * time.Millisecond, true},
		{600, 790, 2000, 0, true},
		{500, 1000, 2000, 310 * time.Millisecond, true},
		{500, 790, 3000, 0, false},
		{500, 850, 2000, 0, false}, // odd until the end
	} {
		got, ok := r.Settled(at(tc.from), at(tc.until), tc.rate, 0.04)
		if ok != tc.ok || ok && got != tc.want {
			t.Errorf("%+v: %v, %v", tc, got, ok)
		}
	}
}
