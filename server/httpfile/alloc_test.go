package httpfile

import "testing"

// TestAllocs holds the promise of the package comment.
func TestAllocs(t *testing.T) {
	f := testFacts(t, Config{Server: "fserve", DownloadParam: "download"},
		File{Path: "/a/file.txt", Size: 99999, MtimeNs: testMtime, Negotiable: true})
	date := AppendDate(nil, testNow/1_000_000_000)
	head := make([]byte, 0, 1024)
	path := make([]byte, 0, 256)
	var p Plan
	var req Request
	for _, text := range []string{
		"GET", "HEAD", "OPTIONS", "POST", "GET /a/file.txt?download",
		"GET\nRange: bytes=5-9", "GET\nRange: bytes=5-\nIf-Range: " + testTag, "GET\nRange: bytes=99999-",
		"GET\nRange: bytes=0-1,500-501,1000-1001,9-20", "GET\nIf-None-Match: \"a\", W/" + testTag, "GET\nIf-Match: \"a\"",
		"GET\nIf-Modified-Since: " + laterDate, "GET\nIf-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT",
	} {
		parsed := parseRequest(t, text)
		run := func() {
			req = *parsed
			p.Decide(&req, f, testNow, Entropy{1, 2})
			head = p.AppendHead(head[:0], date, ConnImplied)
			head = f.AppendOK(head[:0], date, ConnClose)
		}
		run() // the plan's own memory grows once
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%q: %v allocations", text, n)
		}
	}
	field, value := []byte("If-None-Match"), []byte(testTag)
	target, accept, dir := []byte("/a%20b/../c?d"), []byte("gzip;q=0.5, br"), []byte("/a/file.txt")
	for name, run := range map[string]func(){
		"fields": func() {
			req.Reset()
			req.AddField(field, value)
			req.AddField(field, value)
		},
		"path":      func() { _, _, _ = parsePath(path, target) },
		"negotiate": func() { Negotiate(accept, ServerOrder) },
		"hidden":    func() { f.Policy().Hidden(dir) },
		"redirect": func() {
			req.Path, req.Query = dir, value
			p.RedirectDir(&req, f.Policy())
			head = p.AppendHead(head[:0], date, ConnImplied)
		},
	} {
		run()
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestFirstPlanAllocs: not even the first use of a plan allocates for one range.
func TestFirstPlanAllocs(t *testing.T) {
	f := testFacts(t, Config{}, testFile)
	req := parseRequest(t, "GET\nRange: bytes=5-9")
	plans := make([]Plan, 200)
	head := make([]byte, 0, 1024)
	i := 0
	if n := testing.AllocsPerRun(100, func() {
		plans[i].Decide(req, f, testNow, Entropy{})
		head = plans[i].AppendHead(head[:0], []byte(nowDate), ConnImplied)
		i++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
