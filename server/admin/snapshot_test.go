package admin

import (
	"iter"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
)

// The histogram that is made of plain counters is the one that client_golang
// makes of the same times.
func TestHistogramIsPrometheus(t *testing.T) {
	var bounds []float64
	for i := 0; server.HistogramIndex(i) <= 8*classicTo; i += 8 {
		bounds = append(bounds, server.HistogramBound(i))
	}
	theirs := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "x", Help: "x", Buckets: bounds,
		NativeHistogramBucketFactor: 1.1, NativeHistogramZeroThreshold: server.HistogramBound(0),
	})
	var ours server.Histogram
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		ns := int64(1) << r.IntN(47) // up to a day and a half
		ns += r.Int64N(ns)
		if r.IntN(10) == 0 {
			ns = 0
		}
		ns = min(ns, int64(server.HistogramBound(server.HistogramBuckets-1)*1e9))
		ours.Observe(time.Duration(ns))
		theirs.Observe(time.Duration(ns).Seconds())
	}
	ch := make(chan prometheus.Metric, 1)
	m := histogram("x", "x", nil)
	(emitter{ch, &m}).histogram(&ours)
	var got, want dto.Metric
	if err := (<-ch).Write(&got); err != nil {
		t.Fatal(err)
	}
	if err := theirs.Write(&want); err != nil {
		t.Fatal(err)
	}
	g, w := got.Histogram, want.Histogram
	if g.GetSampleCount() != w.GetSampleCount() || g.GetZeroCount() != w.GetZeroCount() || g.GetSchema() != w.GetSchema() || g.GetZeroThreshold() != w.GetZeroThreshold() {
		t.Errorf("count %d, zero %d, schema %d, threshold %v; want %d, %d, %d, %v",
			g.GetSampleCount(), g.GetZeroCount(), g.GetSchema(), g.GetZeroThreshold(),
			w.GetSampleCount(), w.GetZeroCount(), w.GetSchema(), w.GetZeroThreshold())
	}
	if d := g.GetSampleSum()/w.GetSampleSum() - 1; d < -1e-9 || d > 1e-9 {
		t.Errorf("sum %v, want %v", g.GetSampleSum(), w.GetSampleSum())
	}
	if len(g.Bucket) != len(w.Bucket) {
		t.Fatalf("%d classic buckets, want %d", len(g.Bucket), len(w.Bucket))
	}
	for i := range g.Bucket {
		if g.Bucket[i].GetUpperBound() != w.Bucket[i].GetUpperBound() || g.Bucket[i].GetCumulativeCount() != w.Bucket[i].GetCumulativeCount() {
			t.Errorf("bucket %d: %v, want %v", i, g.Bucket[i], w.Bucket[i])
		}
	}
	a, b := unroll(g), unroll(w)
	for i := range b {
		if a[i] != b[i] {
			t.Errorf("native bucket %d: %d, want %d", i, a[i], b[i])
		}
	}
	if len(a) != len(b) {
		t.Errorf("%d native buckets, want %d", len(a), len(b))
	}
}

// unroll returns the counts of the native buckets by index.
func unroll(h *dto.Histogram) map[int]int64 {
	m := make(map[int]int64)
	at, k, n := 0, 0, int64(0)
	for _, s := range h.PositiveSpan {
		at += int(s.GetOffset())
		for range s.GetLength() {
			n += h.PositiveDelta[k]
			if n != 0 {
				m[at] = n
			}
			at, k = at+1, k+1
		}
	}
	return m
}

func TestQuantile(t *testing.T) {
	var before, after server.Histogram
	for range 1000 {
		before.Observe(time.Hour) // what lies before does not count
	}
	after = before
	if q := quantile(0.99, &before, &after); q == q {
		t.Errorf("%v of nothing", q)
	}
	for i := range 1000 {
		after.Observe(time.Duration(i+1) * time.Millisecond)
	}
	for q, want := range map[float64]float64{0.5: 0.5, 0.99: 0.99, 0.1: 0.1} {
		if got := quantile(q, &before, &after); got < want*0.95 || got > want*1.05 {
			t.Errorf("quantile %v is %v, want about %v", q, got, want)
		}
	}
}

// Each counter is added up, and what is a mean is not.
func TestAddCounters(t *testing.T) {
	type inner struct {
		Signed int64
		Each   [2]uint64
	}
	type counters struct {
		Count  uint64
		Now    int
		Mean   float64
		Inner  inner
		hidden uint64
		_      [0]func()
	}
	sum := counters{Count: 1, Now: 2, Mean: 3, Inner: inner{4, [2]uint64{5, 6}}, hidden: 7}
	from := counters{Count: 10, Now: 20, Mean: 30, Inner: inner{-40, [2]uint64{50, 60}}, hidden: 70}
	addCounters(reflect.ValueOf(&sum), reflect.ValueOf(&from))
	if sum.Count != 11 || sum.Now != 22 || sum.Mean != 3 || sum.Inner != (inner{-36, [2]uint64{55, 66}}) || sum.hidden != 7 {
		t.Errorf("%+v", sum)
	}
}

// Every counter of a loop and a session is of a kind that addCounters adds.
func TestCountersCanBeAdded(t *testing.T) {
	for name, typ := range map[string]reflect.Type{"loop": reflect.TypeFor[engine.LoopStats](), "session": reflect.TypeFor[server.SessionStats]()} {
		var visit func(name string, typ reflect.Type)
		visit = func(name string, typ reflect.Type) {
			switch typ.Kind() {
			case reflect.Struct:
				for f := range fieldsOf(typ) {
					visit(name+"."+f.Name, f.Type)
				}
			case reflect.Array:
				visit(name, typ.Elem())
			case reflect.Uint64, reflect.Int, reflect.Int64:
			default:
				if name != "loop.Jitter" {
					t.Errorf("%s: %v is not added up", name, typ)
				}
			}
		}
		visit(name, typ)
	}
}

func fieldsOf(typ reflect.Type) iter.Seq[reflect.StructField] {
	return func(yield func(reflect.StructField) bool) {
		for i := range typ.NumField() {
			if f := typ.Field(i); f.IsExported() && !yield(f) {
				return
			}
		}
	}
}
