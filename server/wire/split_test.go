package wire

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
)

// feed gives a head to Parse as a connection would that received pieces ending
// at the given lengths.
func feed(h *Head, data []byte, lim Limits, ends ...int) (int, Reason) {
	seen := 0
	for _, end := range ends {
		// A copy without spare room: nothing beyond the piece may be read.
		if n, r := h.Parse(bytes.Clone(data[:end]), seen, lim); n > 0 || r != OK {
			return n, r
		}
		seen = end
	}
	return 0, OK
}

func everyByte(n int) []int {
	ends := make([]int, n)
	for i := range ends {
		ends[i] = i + 1
	}
	return ends
}

func TestPrefixesNeedMore(t *testing.T) {
	var h Head
	for _, c := range accepted {
		head := []byte(c.head)
		for i := range head {
			if n, r := h.Parse(head[:i:i], 0, Limits{}); n != 0 || r != OK {
				t.Errorf("%q: %d, %v", head[:i], n, r)
			}
			n, r := feed(&h, head, Limits{}, i, len(head))
			if n != len(head) || r != OK {
				t.Errorf("%q + %q: %d, %v", head[:i], head[i:], n, r)
			} else if got := summary(&h); got != c.want {
				t.Errorf("%q + %q: %s", head[:i], head[i:], got)
			}
		}
		if n, r := feed(&h, head, Limits{}, everyByte(len(head))...); n != len(head) || r != OK {
			t.Errorf("%q byte by byte: %d, %v", head, n, r)
		}
	}
}

func TestRefusedInPieces(t *testing.T) {
	var h Head
	for head, want := range refusals() {
		data := []byte(head)
		if n, r := feed(&h, data, Limits{}, everyByte(len(data))...); n != 0 || r != want {
			t.Errorf("%q byte by byte: %d, %v; want %v", head, n, r, want)
		}
		for i := range data {
			if n, r := feed(&h, data, Limits{}, i, len(data)); n != 0 || r != want {
				t.Errorf("%q + %q: %d, %v; want %v", head[:i], head[i:], n, r, want)
			}
		}
	}
}

// TestFaultsAreFoundEarly: a fault in a line does not wait for the end of the head.
func TestFaultsAreFoundEarly(t *testing.T) {
	var h Head
	for _, c := range []struct {
		data string
		want Reason
	}{
		{"\x16\x03\x01", BadMethod},
		{"\n", BareLF},
		{"GET /\x01", BadTarget},
		{"GET / FTP\r\n", BadVersion},
		{"GET: / HTTP/1.1\r\n", BadMethod},
		{"\r\nGET: / HTTP/1.1\r\n", BadMethod},
		{"GET / HTTP/1.1\r\nA: \x00", BadFieldValue},
		{"GET / HTTP/1.1\r\nA B: c\r\n", BadFieldName},
		{"GET / HTTP/1.1\r\nA: b\n", BareLF},
		{"GET / HTTP/1.1\r\nA: b\rc", BareCR},
		{"GET / HTTP/1.1\r\nA: b\r\n c: d\r\n", ObsFold},
		{"GET / HTTP/1.1\r\nHost: a b\r\nA\x00", BadHost},
	} {
		data := []byte(c.data)
		if n, r := h.Parse(data, 0, Limits{}); n != 0 || r != c.want {
			t.Errorf("%q: %d, %v; want %v", data, n, r, c.want)
		}
		if n, r := feed(&h, data, Limits{}, everyByte(len(data))...); n != 0 || r != c.want {
			t.Errorf("%q byte by byte: %d, %v; want %v", data, n, r, c.want)
		}
	}
}

func TestLimits(t *testing.T) {
	target := func(n int) string { return "/" + strings.Repeat("a", n-1) }
	fields := func(n int) string { return strings.Repeat("A: b\r\n", n) }
	pad := func(n int) string { // a head of n bytes
		head := requestLF + hostLF + "A: \r\n\r\n"
		return strings.Replace(head, "A: ", "A: "+strings.Repeat("b", n-len(head)), 1)
	}
	small := Limits{MaxHead: 200, MaxTarget: 20, MaxFields: 3}
	for _, c := range []struct {
		lim  Limits
		head string
		want Reason
	}{
		{Limits{}, pad(16 << 10), OK},
		{Limits{}, pad(16<<10 + 1), HeadTooLarge},
		{Limits{}, "\r\n" + pad(16<<10-2), OK},
		{Limits{}, "\r\n" + pad(16<<10-1), HeadTooLarge},
		{Limits{}, "GET " + target(8<<10) + " HTTP/1.1\r\nHost: h\r\n\r\n", OK},
		{Limits{}, "GET " + target(8<<10+1) + " HTTP/1.1\r\nHost: h\r\n\r\n", TargetTooLong},
		{Limits{}, "GET " + target(64<<10), TargetTooLong},
		{Limits{}, "GET " + target(8<<10+1) + "#", TargetTooLong},
		{Limits{}, requestLF + hostLF + fields(99) + "\r\n", OK},
		{Limits{}, requestLF + hostLF + fields(100) + "\r\n", TooManyFields},
		{Limits{}, requestLF + strings.Repeat("a", 32<<10), HeadTooLarge},
		{Limits{}, requestLF + hostLF + "A: " + strings.Repeat(" ", 32<<10), HeadTooLarge},
		{Limits{}, strings.Repeat("a", 64<<10), MethodTooLong},
		{small, pad(200), OK},
		{small, pad(201), HeadTooLarge},
		{small, "GET " + target(20) + " HTTP/1.1\r\nHost: h\r\n\r\n", OK},
		{small, "GET " + target(21) + " HTTP/1.1\r\nHost: h\r\n\r\n", TargetTooLong},
		{small, "OPTIONS " + target(21), TargetTooLong},
		{small, "\r\nGET " + target(21), TargetTooLong},
		{small, requestLF + hostLF + fields(2) + "\r\n", OK},
		{small, requestLF + hostLF + fields(3) + "\r\n", TooManyFields},
		{Limits{MaxHead: 100}, "GET " + target(200), HeadTooLarge},
		{Limits{MaxHead: 1}, "GET / HTTP/1.1", HeadTooLarge},
		{Limits{MaxHead: 20}, "GET / HTTP/1.0\r\nA: b", HeadTooLarge},
		{Limits{MaxHead: 21}, "GET / HTTP/1.0\r\nA: b", OK}, // more may come
		{Limits{MaxTarget: 1}, "GET / HTTP/1.0\r\n\r\n", OK},
		{Limits{MaxTarget: 1}, "GET /a", TargetTooLong},
		{Limits{MaxTarget: 1}, "GET /\r\n", BadVersion},
		{Limits{MaxTarget: 1}, "GET /\ra", BareCR},
		{Limits{MaxTarget: 1}, "GET /\n", BareLF},
		{Limits{MaxTarget: 1}, "GET /#", BadTarget},
		{Limits{MaxTarget: 1}, "GET /a#", TargetTooLong},
		{Limits{MaxTarget: 2}, "GET /%\r\n", BadTarget},
		{Limits{MaxTarget: 2}, "GET /%\ra", BareCR},
		{Limits{MaxTarget: 2}, "GET /%g", BadTarget},
		{Limits{MaxTarget: 2}, "GET /%4g", TargetTooLong},
		{Limits{MaxTarget: 3}, "GET /%4g", BadTarget},
		{Limits{MaxTarget: 3}, "GET /%41 HTTP", TargetTooLong},
		{Limits{MaxTarget: 4}, "GET /%41 HTTP/1.0\r\n\r\n", OK},
		{Limits{MaxTarget: math.MaxInt, MaxHead: math.MaxInt, MaxFields: math.MaxInt}, pad(100), OK},
	} {
		var h Head
		want := 0
		if c.want == OK && strings.HasSuffix(c.head, "\r\n\r\n") {
			want = len(c.head)
		}
		if n, r := h.Parse([]byte(c.head), 0, c.lim); n != want || r != c.want {
			t.Errorf("%+v %.40q (%d bytes): %d, %v; want %v", c.lim, c.head, len(c.head), n, r, c.want)
		}
		if n, r := feed(&h, []byte(c.head), c.lim, everyByte(len(c.head))...); n != want || r != c.want {
			t.Errorf("%+v %.40q (%d bytes) byte by byte: %d, %v; want %v", c.lim, c.head, len(c.head), n, r, c.want)
		}
	}
}

// TestByteByByteIsLinear feeds heads of 1 MiB byte by byte. A parser that looked
// at everything again each time would take minutes; this takes some 20 ms each.
func TestByteByByteIsLinear(t *testing.T) {
	const size = 1 << 20
	lim := Limits{MaxHead: size, MaxTarget: size, MaxFields: size}
	for name, head := range map[string]string{
		"one line":    requestLF + hostLF + "A: " + strings.Repeat("b", size-64) + "\r\n\r\n",
		"short lines": requestLF + hostLF + strings.Repeat("Accept: b\r\n", size/11-16) + "\r\n",
		"target":      "GET /" + strings.Repeat("a", size-64) + " HTTP/1.0\r\n\r\n",
		"name":        requestLF + hostLF + strings.Repeat("a", size-64) + ": b\r\n\r\n",
	} {
		var h Head
		data := []byte(head)
		n, start := 0, time.Now()
		for i := range data {
			if i%(64<<10) == 0 && time.Since(start) > 20*time.Second {
				t.Fatalf("%s: only %d bytes after 20 s", name, i)
			}
			var r Reason
			if n, r = h.Parse(data[:i+1], i, lim); r != OK || n != 0 && i+1 != len(data) {
				t.Fatalf("%s: %d, %v after %d bytes", name, n, r, i+1)
			}
		}
		if n != len(data) {
			t.Errorf("%s: %d, want %d", name, n, len(data))
		}
	}
}

// TestRandomPieces: pieces of any size give what one piece gives.
func TestRandomPieces(t *testing.T) {
	seed := testenv.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	heads := make([]string, 0, 512)
	for _, c := range accepted {
		heads = append(heads, c.head)
	}
	for head := range refusals() {
		heads = append(heads, head)
	}
	var whole, pieces Head
	for range 20_000 {
		data := []byte(heads[rng.IntN(len(heads))])
		var ends []int
		for end := 0; end < len(data); {
			end = min(len(data), end+1+rng.IntN(len(data)))
			ends = append(ends, end)
		}
		wantN, wantR := whole.Parse(data, 0, Limits{})
		n, r := feed(&pieces, data, Limits{}, ends...)
		if n != wantN || r != wantR {
			t.Fatalf("seed %d: %q in pieces %v: %d, %v; want %d, %v", seed, data, ends, n, r, wantN, wantR)
		}
	}
}
