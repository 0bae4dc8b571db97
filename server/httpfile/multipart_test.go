package httpfile

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"testing"
)

// content returns what a client of the plan receives, with data as the file.
func content(p *Plan, data []byte) []byte {
	var out []byte
	for _, s := range p.Segments() {
		if s.Kind == SegmentFile {
			out = append(out, data[s.Off:s.Off+s.N]...)
		} else {
			out = append(out, s.Mem...)
		}
	}
	return out
}

// TestMultipart reads multipart answers back with mime/multipart and compares every part.
func TestMultipart(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 40000)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	var p Plan
	for _, ranges := range []int{2, 3, 4, 9, 16, 2} {
		for range 20 {
			field, want := "bytes=", []span(nil)
			for i := range ranges { // apart from each other and in descending order
				off := int64((ranges - 1 - i) * 2000)
				s := span{off + rng.Int64N(900), off + 901 + rng.Int64N(900)}
				want = append(want, s)
				field += fmt.Sprintf("%d-%d,", s.off, s.end-1)
			}
			f := testFacts(t, Config{}, File{Path: "/a.bin", Size: int64(len(data)), MtimeNs: testMtime})
			req := &Request{Method: MethodGet, Range: []byte(field)}
			p.Decide(req, f, testNow, Entropy{rng.Uint64(), rng.Uint64()})
			r := rendered(t, &p, req)
			if p.Parts != ranges || r.fields.Get("Content-Range") != "" {
				t.Fatalf("%s: %d parts, %v", field, p.Parts, r)
			}
			checkParts(t, r, content(&p, data), data, want)
		}
	}
}

// checkParts parses body and compares it with the spans of data.
func checkParts(t *testing.T, r response, body, data []byte, want []span) {
	t.Helper()
	typ, params, err := mime.ParseMediaType(r.fields.Get("Content-Type"))
	if err != nil || typ != "multipart/byteranges" {
		t.Fatalf("%q, %v", typ, err)
	}
	if fmt.Sprint(len(body)) != r.fields.Get("Content-Length") {
		t.Fatalf("%d bytes, Content-Length %s", len(body), r.fields.Get("Content-Length"))
	}
	whole := bytes.NewReader(body)
	parts := multipart.NewReader(whole, params["boundary"])
	for _, s := range want {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		if got := part.Header.Get("Content-Range"); got != fmt.Sprintf("bytes %d-%d/%d", s.off, s.end-1, len(data)) {
			t.Fatalf("part of %v: Content-Range %q", s, got)
		}
		if got := part.Header.Get("Content-Type"); got != "application/octet-stream" {
			t.Fatalf("part of %v: Content-Type %q", s, got)
		}
		got, err := io.ReadAll(part)
		if err != nil || !bytes.Equal(got, data[s.off:s.end]) {
			t.Fatalf("part of %v: %d bytes differ, %v", s, len(got), err)
		}
	}
	if _, err := parts.NextRawPart(); err != io.EOF {
		t.Fatalf("after the last part: %v", err)
	}
	boundary := []byte("\r\n--" + params["boundary"])
	if !bytes.HasPrefix(body, append(boundary, "\r\n"...)) || !bytes.HasSuffix(body, append(boundary, "--\r\n"...)) {
		t.Fatalf("begins with %q, ends with %q", body[:50], body[len(body)-50:])
	}
}

func TestBoundary(t *testing.T) {
	f := testFacts(t, Config{}, testFile)
	var p Plan
	seen := map[string]bool{}
	for i := range uint64(64) {
		for _, e := range []Entropy{{1 << i, 0}, {0, 1 << i}} {
			p.Decide(parseRequest(t, "GET\nRange: bytes=0-1,5-6"), f, testNow, e)
			seen[string(p.boundary[:])] = true
		}
	}
	if len(seen) != 128 {
		t.Errorf("%d boundaries from 128 values: not every bit counts", len(seen))
	}
}

// TestLongParts checks that one allocation is enough for the headers of the
// largest numbers, since segments must not be left in outgrown memory.
func TestLongParts(t *testing.T) {
	const size = 1<<63 - 1
	f := testFacts(t, Config{}, File{Path: "/a.bin", Size: size, MtimeNs: testMtime})
	req := &Request{Method: MethodGet, Range: []byte("bytes=9223372036854775000-9223372036854775001,9223372036854775805-9223372036854775805")}
	var p Plan
	p.Decide(req, f, testNow, Entropy{})
	rendered(t, &p, req)
	if got := p.partHeaderMax() * (p.Parts + 1); got != cap(p.mem) {
		t.Errorf("room for %d bytes, first made %d", cap(p.mem), got)
	}
	want := []span{{9223372036854775000, 9223372036854775002}, {9223372036854775805, 9223372036854775806}}
	if got := fileSpans(&p); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("sends %v", got)
	}
}
