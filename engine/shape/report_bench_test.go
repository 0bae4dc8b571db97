package shape

import (
	"fmt"
	"testing"
)

// BenchmarkReport is what a look at 10,000 clients with a response each costs the
// loop that is asked.
func BenchmarkReport(b *testing.B) {
	s, err := New(Config{Client: Limit{Rate: 1 << 20}, Paths: []PathLimit{{Prefix: "/a/", Limit: Limit{Rate: 1 << 30}}}})
	if err != nil {
		b.Fatal(err)
	}
	t := s.Tree(0)
	class := s.Class([]byte("/a/f"))
	flows := make([]Flow, 10_000)
	for i := range flows {
		t.JoinBytes(&flows[i], class, fmt.Appendf(nil, "10.0.%d.%d", i/256, i%256), 1)
		t.Take(&flows[i], int64(1000+i), 1)
	}
	var r Report
	for b.Loop() {
		t.Report(2e9, 50, &r)
	}
	if len(r.Clients) != 50 || r.Flows != len(flows) {
		b.Fatalf("%d clients, %d flows", len(r.Clients), r.Flows)
	}
}

// BenchmarkSurvey is what one turn of the loop is held up by it, of several.
func BenchmarkSurvey(b *testing.B) {
	s, err := New(Config{Client: Limit{Rate: 1 << 20}})
	if err != nil {
		b.Fatal(err)
	}
	t := s.Tree(0)
	flows := make([]Flow, 10_000)
	for i := range flows {
		t.JoinBytes(&flows[i], nil, fmt.Appendf(nil, "10.0.%d.%d", i/256, i%256), 1)
		t.Take(&flows[i], int64(1000+i), 1)
	}
	for b.Loop() {
		var v Survey
		b.StopTimer()
		v.Step(t, 2e9, 0)
		b.StartTimer()
		v.Step(t, 2e9, 2048)
	}
}
