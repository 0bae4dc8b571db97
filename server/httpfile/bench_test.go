package httpfile

import "testing"

// benchPlan measures planning and rendering one request from its field lines on.
func benchPlan(b *testing.B, fields ...string) {
	f := testFacts(b, Config{Server: "fserve"}, File{Path: "/a/file.txt", Size: 20, MtimeNs: testMtime})
	date := AppendDate(nil, testNow/1e9)
	var req Request
	var plan Plan
	lines := make([][2][]byte, 0, len(fields)/2)
	for i := 0; i < len(fields); i += 2 {
		lines = append(lines, [2][]byte{[]byte(fields[i]), []byte(fields[i+1])})
	}
	head := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		req.Reset()
		req.Method = MethodGet
		for i := range lines {
			req.AddField(lines[i][0], lines[i][1])
		}
		plan.Decide(&req, f, testNow, Entropy{1, 2})
		head = plan.AppendHead(head[:0], date, ConnImplied)
	}
}

func BenchmarkPlanPlain(b *testing.B) { benchPlan(b, "Accept-Encoding", "gzip, br") }
func BenchmarkPlanRange(b *testing.B) { benchPlan(b, "Range", "bytes=5-9") }
func BenchmarkPlanResume(b *testing.B) {
	benchPlan(b, "Range", "bytes=5-", "If-Range", testTag)
}
func BenchmarkPlanManyRanges(b *testing.B) { benchPlan(b, "Range", "bytes=0-1,5-6,9-9,12-13") }
func BenchmarkPlan304Tag(b *testing.B)     { benchPlan(b, "If-None-Match", testTag) }
func BenchmarkPlan304Date(b *testing.B) {
	benchPlan(b, "If-Modified-Since", "Sun, 06 Nov 1994 08:49:38 GMT")
}

func BenchmarkAppendOK(b *testing.B) {
	f := testFacts(b, Config{Server: "fserve"}, File{Path: "/a/file.txt", Size: 20, MtimeNs: testMtime})
	date := AppendDate(nil, testNow/1e9)
	req := Request{Method: MethodGet}
	head := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		if !req.Plain() {
			b.Fatal("not plain")
		}
		head = f.AppendOK(head[:0], date, ConnImplied)
	}
}

func BenchmarkNormalizePath(b *testing.B) {
	for _, bench := range []struct{ name, target string }{
		{"clean", "/assets/images/2026/photo-0001.jpg"},
		{"escaped", "/assets/images/my%20photo.jpg?v=3"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			target, dst := []byte(bench.target), make([]byte, 0, 128)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := parsePath(dst, target); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkHidden(b *testing.B) {
	pol, path := testPolicy(b, Config{}), []byte("/assets/images/2026/photo-0001.jpg")
	b.ReportAllocs()
	for b.Loop() {
		if pol.Hidden(path) {
			b.Fatal("hidden")
		}
	}
}

func BenchmarkNegotiate(b *testing.B) {
	field := []byte("gzip, deflate, br, zstd")
	b.ReportAllocs()
	for b.Loop() {
		Negotiate(field, ServerOrder)
	}
}
