package admit

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func name(i uint64) []byte { return binary.LittleEndian.AppendUint64(nil, i) }

func TestRateIsRefused(t *testing.T) {
	for _, r := range []Rate{
		{}, {Requests: -1, Per: time.Second}, {Requests: 1}, {Requests: 1, Per: -1}, {Requests: 1, Per: time.Second, Burst: -1},
		{Requests: math.MaxInt64, Per: time.Second}, {Requests: 1, Per: math.MaxInt64}, {Requests: 1, Per: 24 * time.Hour, Burst: math.MaxInt64},
	} {
		if r.Validate() == nil {
			t.Errorf("%+v is taken", r)
		}
	}
	for _, r := range []Rate{{Requests: 1, Per: time.Second}, {Requests: 1e9, Per: time.Second, Burst: 1e9}, {Requests: 1, Per: 24 * time.Hour, Burst: 10}} {
		if err := r.Validate(); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// TestTake: so many at once, then as many as time pays for, and a wait that is exact.
func TestTake(t *testing.T) {
	table := NewTable(64)
	r := table.Rule("a", Rate{Requests: 10, Per: time.Second, Burst: 3})
	k := table.Key(r, []byte("client"))
	now := int64(1e12)
	for i := range 3 {
		if _, ok := table.Take(r, k, now); !ok {
			t.Fatalf("request %d of a burst of 3 is refused", i)
		}
	}
	wait, ok := table.Take(r, k, now)
	if ok || wait != 100e6 {
		t.Fatalf("one more: %v, wait %v", ok, time.Duration(wait))
	}
	if _, ok := table.Take(r, k, now+wait-1); ok {
		t.Error("a ns too soon")
	}
	if _, ok := table.Take(r, k, now+wait); !ok {
		t.Error("refused when the wait is over")
	}
	table.GiveBack(r, k)
	if _, ok := table.Take(r, k, now+wait); !ok {
		t.Error("what was given back cannot be taken")
	}
	if _, ok := table.Take(r, table.Key(r, []byte("other")), now); !ok {
		t.Error("another client is refused")
	}
	// The debts outlive a change of the rate.
	r = table.Rule("a", Rate{Requests: 20, Per: time.Second, Burst: 1})
	if _, ok := table.Take(r, table.Key(r, []byte("client")), now+wait); ok {
		t.Error("another rate has forgotten the debts")
	}
}

// TestTakeAsAModel: whatever comes, decisions are those of a map that forgets nothing.
func TestTakeAsAModel(t *testing.T) {
	const clients = 40
	table := NewTable(256)
	rates := []Rate{{Requests: 3, Per: time.Second, Burst: 2}, {Requests: 100, Per: time.Second, Burst: 20}, {Requests: 1, Per: time.Minute}}
	var rules []*Rule
	for i, r := range rates {
		rules = append(rules, table.Rule(strconv.Itoa(i), r))
	}
	type id struct{ rule, client int }
	model := map[id]int64{}
	random := rand.New(rand.NewPCG(1, 2))
	now := int64(1e15)
	refused := 0
	for range 200_000 {
		now += random.Int64N(2e6)
		at := id{random.IntN(len(rules)), random.IntN(clients)}
		r := rules[at.rule]
		owed := max(model[at]-now, 0)
		want := owed <= r.burst
		wait, ok := table.Take(r, table.Key(r, name(uint64(at.client))), now)
		if ok != want || !ok && wait != owed-r.burst {
			t.Fatalf("%+v: %v, wait %d, want %v, %d", at, ok, wait, want, owed-r.burst)
		}
		if want {
			model[at] = now + owed + r.interval
		} else {
			refused++
		}
	}
	if refused < 10_000 || table.Overflows() > 0 {
		t.Errorf("%d refused, %d overflows", refused, table.Overflows())
	}
}

// TestFlood: however many clients there are, none gets more than its rate, and a client that
// is not new no less.
func TestFlood(t *testing.T) {
	table := NewTable(4096)
	r := table.Rule("", Rate{Requests: 1, Per: time.Second, Burst: 20})
	attacker := table.Key(r, []byte("attacker"))
	got := 0
	now := int64(1e15)
	for i := range uint64(1_000_000) { // in ten seconds
		now += 10_000
		table.Take(r, table.Key(r, name(i)), now)
		if i%100 == 0 {
			if _, ok := table.Take(r, attacker, now); ok {
				got++
			}
		}
	}
	if got < 29 || got > 30 {
		t.Errorf("an attacker has %d requests, want 20 and one a second", got)
	}
	if table.Overflows() == 0 {
		t.Error("the table was never full")
	}
}

// TestTakeTogether: loops that take for the same clients at a time give them no more than the
// rate, whether the clients are known or new.
func TestTakeTogether(t *testing.T) {
	const burst, clients = 5, 20_000
	table := NewTable(4 * clients)
	r := table.Rule("", Rate{Requests: 1, Per: time.Hour, Burst: burst})
	var got [clients]atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range got {
				for range burst {
					if _, ok := table.Take(r, table.Key(r, name(uint64(i))), 1e15); ok {
						got[i].Add(1)
					}
				}
				if i%64 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	all.Wait()
	for i := range got {
		if n := got[i].Load(); n != burst {
			t.Fatalf("client %d has %d requests, want %d (%d overflows)", i, n, burst, table.Overflows())
		}
	}
}

func TestTakeDoesNotAllocate(t *testing.T) {
	table := NewTable(64)
	r := table.Rule("", Rate{Requests: 1, Per: time.Second})
	now := int64(0)
	if n := testing.AllocsPerRun(100, func() {
		now++
		table.Take(r, table.Key(r, []byte("client")), now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTake(b *testing.B) {
	for _, keys := range []uint64{1, 1_000_000} {
		b.Run(strconv.FormatUint(keys, 10), func(b *testing.B) {
			table := NewTable(2_000_000)
			r := table.Rule("", Rate{Requests: 1e6, Per: time.Second, Burst: 1e6})
			random := rand.New(rand.NewPCG(1, 2))
			var buf [8]byte
			now := int64(1e15)
			for key := range keys { // they have been there
				binary.LittleEndian.PutUint64(buf[:], key)
				table.Take(r, table.Key(r, buf[:]), now)
			}
			for b.Loop() {
				now += 1000
				binary.LittleEndian.PutUint64(buf[:], random.Uint64N(keys))
				table.Take(r, table.Key(r, buf[:]), now)
			}
		})
	}
}

// What a client owes beside its requests is paid by time, too, and does not grow beyond all bounds.
func TestOwe(t *testing.T) {
	table := NewTable(64)
	r := table.Rule("client", Rate{Requests: 10, Per: time.Second, Burst: 20})
	k, now := table.Key(r, []byte("192.0.2.7")), int64(time.Hour)
	table.Owe(r, k, 9, now)
	n := 0
	for ; n < 30; n++ {
		if _, ok := table.Take(r, k, now); !ok {
			break
		}
	}
	if n != 11 {
		t.Errorf("%d of 20 requests are answered after 9 that are owed", n)
	}
	for range 1000 {
		table.Owe(r, k, 9, now)
	}
	if wait, ok := table.Take(r, k, now); ok || wait > int64(time.Second) {
		t.Errorf("after many it is answered in %v", time.Duration(wait))
	}
}
