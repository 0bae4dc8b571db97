package wire

import (
	"bufio"
	"bytes"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fserve/fserve/internal/testenv"
)

func addHeads(f *testing.F) {
	for _, c := range accepted {
		f.Add([]byte(c.head))
	}
	for head := range refusals() {
		f.Add([]byte(head))
	}
	f.Add([]byte(browserHead))
}

// fuzzLimits are small, so that inputs reach them.
var fuzzLimits = Limits{MaxHead: 1 << 10, MaxTarget: 64, MaxFields: 12}

// checkModel compares Parse to the reference model.
func checkModel(t *testing.T, data []byte, lim Limits) {
	t.Helper()
	var h Head
	n, r := h.Parse(data, 0, lim)
	m := readModel(data, lim)
	switch {
	case !m.complete:
		if n != 0 || len(data) >= lim.MaxHead && r == OK {
			t.Fatalf("%q is incomplete: %d, %v", data, n, r)
		}
	case len(m.faults) == 0:
		if n != m.length || r != OK {
			t.Fatalf("%q: %d, %v; want %d", data, n, r, m.length)
		}
		if what := m.differs(&h); what != "" {
			t.Fatalf("%q: %s differs from %+v", data, what, m)
		}
	case r == OK || n != 0 || !m.faults[r.Status()]:
		t.Fatalf("%q: %d, %v (%d); want one of %v", data, n, r, r.Status(), slices.Collect(maps.Keys(m.faults)))
	}
	checkPieces(t, data, lim, n, r)
}

// checkPieces feeds data byte by byte and by halves. A fault of an incomplete
// head may be found late.
func checkPieces(t *testing.T, data []byte, lim Limits, wantN int, wantR Reason) {
	t.Helper()
	var h Head
	half := len(data) / 2
	for _, ends := range [][]int{everyByte(min(len(data), lim.MaxHead)), {half, len(data)}, {half, half, half + (len(data)-half)/2, len(data)}} {
		n, r := feed(&h, data, lim, ends...)
		late := n == 0 && r == OK && wantN == 0 && !bytes.Contains(data, []byte("\r\n\r\n")) && len(data) < lim.MaxHead
		if (n != wantN || r != wantR) && !late {
			t.Fatalf("%q in pieces %v: %d, %v; in one: %d, %v", data, ends, n, r, wantN, wantR)
		}
	}
}

func FuzzModel(f *testing.F) {
	addHeads(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		checkModel(t, data, fuzzLimits)
	})
}

func FuzzNetHTTP(f *testing.F) {
	addHeads(f)
	f.Fuzz(checkNetHTTP)
}

// checkNetHTTP: what Parse accepts, net/http accepts with the same meaning.
// Exceptions:
//
//   - an empty line before the request: RFC 9112 section 2.2 wants it skipped,
//     http.Server does so only after a POST, http.ReadRequest never;
//   - a Trailer field that names Content-Length and the like: the sender may not send
//     it (RFC 9110 section 6.5.1), we drop trailers and so ignore what they are;
//   - Transfer-Encoding, Trailer and Pragma: net/http removes or rewrites them.
func checkNetHTTP(t *testing.T, data []byte) {
	var h Head
	n, _ := h.Parse(data, 0, fuzzLimits)
	if n == 0 {
		return
	}
	head := bytes.TrimPrefix(data[:n], []byte("\r\n"))
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		if strings.Contains(err.Error(), "bad trailer key") {
			return
		}
		t.Fatalf("%q: net/http: %v", head, err)
	}
	if req.Method != string(h.Method()) || req.RequestURI != string(h.Target()) {
		t.Fatalf("%q: net/http: %s %s", head, req.Method, req.RequestURI)
	}
	if req.Host != string(h.Host()) {
		t.Fatalf("%q: host %q, net/http: %q", head, h.Host(), req.Host)
	}
	if req.ProtoMajor != 1 || min(req.ProtoMinor, 1) != int(h.Minor) {
		t.Fatalf("%q: net/http: %s", head, req.Proto)
	}
	if req.Close == h.KeepAlive {
		t.Fatalf("%q: keep-alive %v, net/http: close %v", head, h.KeepAlive, req.Close)
	}
	length := max(h.ContentLength, 0)
	if h.Chunked {
		length = -1
	}
	if req.ContentLength != length {
		t.Fatalf("%q: length %d, net/http: %d", head, length, req.ContentLength)
	}
	compareFields(t, head, &h, req)
}

func compareFields(t *testing.T, head []byte, h *Head, req *http.Request) {
	ours := make(http.Header)
	for name, value := range h.Fields {
		ours.Add(string(name), string(value))
	}
	if ours.Get("Pragma") == "no-cache" {
		req.Header.Del("Cache-Control")
		ours.Del("Cache-Control")
	}
	for _, name := range []string{"Host", "Transfer-Encoding", "Trailer"} {
		req.Header.Del(name)
		ours.Del(name)
	}
	if !maps.EqualFunc(ours, req.Header, slices.Equal) {
		t.Fatalf("%q: fields %q, net/http: %q", head, ours, req.Header)
	}
}

// parts of random heads: good ones first, then some that are not.
var (
	someMethods = []string{"GET", "HEAD", "OPTIONS", "CONNECT", "POST", "get", "G(T", "", strings.Repeat("M", 32), strings.Repeat("M", 33)}
	someTargets = []string{"/", "/a/b?c", "/%41?%", "*", "http://o/p?q", "http://o:80", "o:80", "/%4", "/#", "", "o",
		"http://", "http://u@o/", "/" + strings.Repeat("x", 63), "/" + strings.Repeat("x", 64)}
	someVersions = []string{"HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/1.10", "http/1.1", ""}
	someNames    = []string{"Host", "host", "Connection", "Content-Length", "Transfer-Encoding", "Expect", "Range", "If-Match",
		"ACCEPT-ENCODING", "X", "if-unmodified-since", "Accept-Language", "Connectioz", "Hos", "Host ", "", "a b", "\x00"}
	someValues = []string{"", "h", "h:80", "[::1]", "close", "keep-alive, x", "x,Close", "0", "12", "012", "+1", "chunked", "Chunked",
		"chunked, x", "identity", "100-continue", "a\tb", "\xff", "\x00", "\x7f", "a b", "h:", ":80", strings.Repeat("v", 200)}
	someSpaces = []string{" ", " ", " ", "", "\t", "  ", "\r\n "}
	someEnds   = []string{"\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", " \r\n"}
)

func randomHead(rng *rand.Rand) []byte {
	// pick prefers the first entries, so that about half of all heads are good.
	pick := func(from []string) string {
		if rng.IntN(4) > 0 {
			return from[rng.IntN((len(from)+1)/2)]
		}
		return from[rng.IntN(len(from))]
	}
	end := func() string {
		if rng.IntN(20) > 0 {
			return "\r\n"
		}
		return pick(someEnds)
	}
	var b strings.Builder
	if rng.IntN(20) == 0 {
		b.WriteString(end())
	}
	b.WriteString(pick(someMethods[:1+rng.IntN(len(someMethods))]) + " " + pick(someTargets[:1+rng.IntN(len(someTargets))]) + " " +
		pick(someVersions[:1+rng.IntN(len(someVersions))]) + end())
	if rng.IntN(10) > 0 {
		b.WriteString("Host: h" + end())
	}
	for range rng.IntN(8) {
		b.WriteString(pick(someNames[2:]) + ":" + pick(someSpaces) + pick(someValues) + end())
	}
	b.WriteString(end() + "rest")
	return []byte(b.String())
}

// TestRandomHeads puts heads together from parts that matter, which reaches
// combinations that mutation of bytes seldom does.
func TestRandomHeads(t *testing.T) {
	seed := testenv.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	taken, complete := 0, 0
	for range 30_000 {
		data := randomHead(rng)
		checkModel(t, data, fuzzLimits)
		checkNetHTTP(t, data)
		m := readModel(data, fuzzLimits)
		if m.complete {
			complete++
		}
		if m.complete && len(m.faults) == 0 {
			taken++
		}
	}
	if taken < 1000 || complete-taken < 1000 {
		t.Errorf("%d heads taken, %d refused: too few to tell", taken, complete-taken)
	}
	t.Logf("%d taken, %d refused", taken, complete-taken)
}
