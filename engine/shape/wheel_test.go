package shape

import (
	"testing"

	"pgregory.net/rapid"
)

// The wheel beside a list: what is popped, and when it says that it is due.
func TestWheel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWheel()
		now := rapid.Int64Range(0, 1e15).Draw(rt, "start")
		w.pop(now)
		model := make(map[*timer]int64) // tick
		spans := []int64{0, 1, ms, 5 * ms, 255 * ms, 256 * ms, 257 * ms, 3 * sec, 16384 * ms, 300 * sec, 3600 * sec, 20 * 3600 * sec, 200 * 3600 * sec}
		span := func(what string) int64 {
			return rapid.SampledFrom(spans).Draw(rt, what) + rapid.Int64Range(0, 3*ms).Draw(rt, "and")
		}
		pop := func() {
			for tm := w.pop(now); tm != nil; tm = w.pop(now) {
				at, ok := model[tm]
				if !ok || at > now/tick {
					rt.Fatalf("popped at %d what is due at %d", now/tick, at)
				}
				delete(model, tm)
			}
			for _, at := range model {
				if at <= now/tick {
					rt.Fatalf("not popped at %d: due at %d", now/tick, at)
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"set": func(*rapid.T) {
				tm, at := new(timer), now+span("in")
				w.set(tm, at)
				model[tm] = max((at+tick-1)/tick, now/tick+1)
			},
			"stop": func(*rapid.T) {
				for tm := range model {
					w.stop(tm)
					w.stop(tm) // again does nothing
					delete(model, tm)
					return
				}
			},
			"pass": func(*rapid.T) {
				now += span("pass")
				pop()
			},
			"back": func(*rapid.T) {
				if tm := w.pop(now - sec); tm != nil {
					rt.Fatal("popped in the past")
				}
			},
			"due": func(*rapid.T) {
				due := w.due()
				if (due < 0) != (len(model) == 0) {
					rt.Fatalf("due at %d with %d timers", due, len(model))
				}
				if due < 0 {
					return
				}
				for _, at := range model {
					if at*tick < due {
						rt.Fatalf("due at %d is after %d", due, at*tick)
					}
				}
				if due <= now {
					rt.Fatal("due in the past")
				}
				now = due
				pop()
			},
			"": func(rt *rapid.T) {
				if w.count != len(model) {
					rt.Fatalf("counts %d, has %d", w.count, len(model))
				}
			},
		})
	})
}

// Following Due, the wheel wakes seldom: not more often than timers run out and
// levels are passed.
func TestWheelWakesSeldom(t *testing.T) {
	w, now := newWheel(), sec
	w.pop(now)
	w.set(new(timer), now+3600*sec)
	wakes := 0
	for w.count > 0 {
		now = w.due()
		wakes++
		for w.pop(now) != nil {
		}
	}
	if now != 3601*sec || wakes > 4 {
		t.Errorf("at %d after %d wakes", now, wakes)
	}
}

func TestWindow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var w window
		model := make(map[int64]int64)
		now := rapid.Int64Range(0, 1000).Draw(rt, "start")
		rt.Repeat(map[string]func(*rapid.T){
			"add": func(rt *rapid.T) {
				n := rapid.Int64Range(0, 1e12).Draw(rt, "n")
				w.add(now, n)
				model[now] += n
			},
			"pass": func(rt *rapid.T) { now += rapid.Int64Range(0, 15).Draw(rt, "s") },
			"": func(rt *rapid.T) {
				var want int64
				for s := now - windowSlots; s < now; s++ {
					want += model[s]
				}
				if ten, one := w.rates(now); ten != want/windowSlots || one != model[now-1] {
					rt.Fatalf("%d and %d, want %d and %d", ten, one, want/windowSlots, model[now-1])
				}
			},
		})
	})
}
