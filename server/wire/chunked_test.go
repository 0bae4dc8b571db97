package wire

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/fserve/fserve/internal/testenv"
)

// chunkedBodies are bodies, what follows them left out. want is the data.
var chunkedBodies = []struct {
	body, want string
	reason     Reason
}{
	// Good ones.
	{"0\r\n\r\n", "", OK},
	{"5\r\nhello\r\n0\r\n\r\n", "hello", OK},
	{"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", OK},
	{"a\r\n0123456789\r\n0\r\n\r\n", "0123456789", OK},
	{"9\r\n012345678\r\n0\r\n\r\n", "012345678", OK},
	{"1F\r\n" + strings.Repeat("x", 31) + "\r\n0\r\n\r\n", strings.Repeat("x", 31), OK},
	{"1f\r\n" + strings.Repeat("x", 31) + "\r\n0\r\n\r\n", strings.Repeat("x", 31), OK},
	{"A\r\n0123456789\r\n000\r\n\r\n", "0123456789", OK},
	{"0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", "hello", OK},
	{"2\r\n\r\n\r\n0\r\n\r\n", "\r\n", OK},
	{"5;a\r\nhello\r\n0;b=c\r\n\r\n", "hello", OK},
	{"5 \t;a=\"b;c\" \r\nhello\r\n0\r\n\r\n", "hello", OK},
	{"5;\r\nhello\r\n0\r\n\r\n", "hello", OK},
	{"0\r\nA: b\r\nC:\r\n\r\n", "", OK},
	{"1\r\nx\r\n0\r\nContent-Length: 5\r\nA:\t\xff \r\n\r\n", "x", OK},
	// Sizes.
	{"\r\n", "", BadChunk},
	{"\n", "", BadChunk},
	{" 5\r\nhello\r\n", "", BadChunk},
	{"5 \r\nhello\r\n", "", BadChunk},
	{"5\t\r\nhello\r\n", "", BadChunk},
	{"5 5\r\nhello\r\n", "", BadChunk},
	{"+5\r\nhello\r\n", "", BadChunk},
	{"-5\r\nhello\r\n", "", BadChunk},
	{"0x5\r\nhello\r\n", "", BadChunk},
	{"5h\r\nhello\r\n", "", BadChunk},
	{"g\r\n", "", BadChunk},
	{"5_0\r\n", "", BadChunk},
	{"5,5\r\n", "", BadChunk},
	{"5\x00\r\n", "", BadChunk},
	{"\x0b5\r\n", "", BadChunk},
	{";a\r\n", "", BadChunk},
	{"00000000000000005\r\n", "", BadChunk},
	{"8000000000000000\r\n", "", BadChunk},
	{"ffffffffffffffff\r\n", "", BadChunk},
	{"10000000000000005\r\nhello\r\n", "", BadChunk},
	{"1\r\nx\r\n7fffffffffffffff\r\n", "x", BadChunk},
	// Line ends.
	{"5\nhello\r\n0\r\n\r\n", "", BadChunk},
	{"5\rhello\r\n0\r\n\r\n", "", BadChunk},
	{"5\r\r\nhello\r\n0\r\n\r\n", "", BadChunk},
	{"5\r\nhello\n0\r\n\r\n", "hello", BadChunk},
	{"5\r\nhello\r0\r\n\r\n", "hello", BadChunk},
	{"5\r\nhello0\r\n\r\n", "hello", BadChunk},
	{"5\r\nhello!\r\n0\r\n\r\n", "hello", BadChunk},
	{"5\r\nhell\r\n0\r\n\r\n", "hell\r", BadChunk},
	{"5\r\nhelloXX0\r\n\r\n", "hello", BadChunk},
	{"0\n\n", "", BadChunk},
	{"0\r\n\n", "", BadTrailer},
	{"0\r\n\r\r\n", "", BadChunk},
	// Extensions.
	{"5;a\nhello\r\n0\r\n\r\n", "", BadChunk},
	{"5;a\rb\r\nhello\r\n", "", BadChunk},
	{"5;\x00\r\nhello\r\n", "", BadChunk},
	{"5;\x7f\r\nhello\r\n", "", BadChunk},
	{"5 ;\n0\r\n", "", BadChunk},
	{"5 \n0\r\n", "", BadChunk},
	// Trailers.
	{"0\r\n A: b\r\n\r\n", "", BadTrailer},
	{"0\r\nA : b\r\n\r\n", "", BadTrailer},
	{"0\r\n: b\r\n\r\n", "", BadTrailer},
	{"0\r\nA\r\n\r\n", "", BadTrailer},
	{"0\r\nA: b\n\r\n", "", BadTrailer},
	{"0\r\nA: b\rc\r\n\r\n", "", BadTrailer},
	{"0\r\nA: b\r\n c\r\n\r\n", "", BadTrailer},
	{"0\r\nA: \x00\r\n\r\n", "", BadTrailer},
	{"0\r\nGET / HTTP/1.1\r\n\r\n", "", BadTrailer},
}

func TestChunked(t *testing.T) {
	for _, c := range chunkedBodies {
		var d Chunked
		tail := "GET /"
		out, n, r := d.Append(nil, []byte(c.body+tail), 1<<20)
		if string(out) != c.want || r != c.reason || d.Size() != int64(len(c.want)) {
			t.Errorf("%q: %q, %v (size %d); want %q, %v", c.body, out, r, d.Size(), c.want, c.reason)
		}
		if d.Done() != (c.reason == OK) || d.Done() && n != len(c.body) {
			t.Errorf("%q: done %v after %d bytes", c.body, d.Done(), n)
		}
	}
}

func TestChunkedInPieces(t *testing.T) {
	for _, c := range chunkedBodies {
		for size := 1; size < len(c.body); size++ {
			var keep, drop Chunked
			var out []byte
			var r, dropped Reason
			for src := []byte(c.body); len(src) > 0 && r == OK && !keep.Done(); {
				piece := src[:min(size, len(src))]
				var n, m int
				out, n, r = keep.Append(out, bytes.Clone(piece), 1<<20)
				m, dropped = drop.Discard(bytes.Clone(piece))
				if n != m || dropped != r || r == OK && n != len(piece) && !keep.Done() {
					t.Fatalf("%q by %d: Append %d, %v; Discard %d, %v", c.body, size, n, r, m, dropped)
				}
				src = src[len(piece):]
			}
			if string(out) != c.want || r != c.reason || keep != drop {
				t.Errorf("%q by %d: %q, %v; want %q, %v", c.body, size, out, r, c.want, c.reason)
			}
		}
	}
}

// TestChunkedPrefixes: no beginning of a good body is the whole or a fault.
func TestChunkedPrefixes(t *testing.T) {
	for _, c := range chunkedBodies {
		for i := range len(c.body) {
			var d Chunked
			n, r := d.Discard([]byte(c.body[:i]))
			if c.reason == OK && (n != i || r != OK || d.Done()) {
				t.Errorf("%q: %d, %v, done %v", c.body[:i], n, r, d.Done())
			}
		}
	}
}

func TestChunkedLimits(t *testing.T) {
	body := func(data int) string {
		return strconv.FormatInt(int64(data), 16) + "\r\n" + strings.Repeat("x", data) + "\r\n0\r\n\r\n"
	}
	ext := func(n int) string { return "0;" + strings.Repeat("x", n-1) + "\r\n\r\n" }
	trailer := func(n int) string { return "0\r\nA:" + strings.Repeat("x", n-4) + "\r\n\r\n" }
	for _, c := range []struct {
		body string
		max  int
		want Reason
	}{
		{body(10), 10, OK},
		{body(11), 10, BodyTooLarge},
		{body(0), 0, OK},
		{"1\r\nx\r\n", 0, BodyTooLarge},
		{strings.Repeat("1\r\nx\r\n", 10) + "0\r\n\r\n", 10, OK},
		{strings.Repeat("1\r\nx\r\n", 11), 10, BodyTooLarge},
		{ext(MaxChunkOverhead), 0, OK},
		{ext(MaxChunkOverhead + 1), 0, ChunkOverhead},
		{trailer(MaxChunkOverhead), 0, OK},
		{trailer(MaxChunkOverhead + 1), 0, ChunkOverhead},
		{strings.Repeat("1;a\r\nx\r\n", MaxChunkOverhead/2) + "0\r\n\r\n", 1 << 20, OK},
		{strings.Repeat("1;a\r\nx\r\n", MaxChunkOverhead/2+1) + "0\r\n\r\n", 1 << 20, ChunkOverhead},
		{strings.Repeat("1   ;\r\nx\r\n", MaxChunkOverhead/4+1) + "0\r\n\r\n", 1 << 20, ChunkOverhead},
	} {
		var d Chunked
		out, _, r := d.Append(nil, []byte(c.body), c.max)
		if r != c.want || len(out) > c.max || d.Done() != (r == OK) {
			t.Errorf("%.20q (%d bytes): %d bytes, %v; want %v", c.body, len(c.body), len(out), r, c.want)
		}
	}
}

// TestChunkedAppendsToPrefix: max counts what dst held before.
func TestChunkedAppendsToPrefix(t *testing.T) {
	var d Chunked
	if out, _, r := d.Append([]byte("abc"), []byte("2\r\nde\r\n0\r\n\r\n"), 5); string(out) != "abcde" || r != OK {
		t.Errorf("%q, %v", out, r)
	}
	d = Chunked{}
	if out, _, r := d.Append([]byte("abc"), []byte("2\r\nde\r\n0\r\n\r\n"), 4); string(out) != "abc" || r != BodyTooLarge {
		t.Errorf("%q, %v", out, r)
	}
}

func TestChunkedAfterEnd(t *testing.T) {
	var d Chunked
	if n, r := d.Discard([]byte("0\r\n\r\n")); n != 5 || r != OK || !d.Done() {
		t.Fatal(n, r)
	}
	if data, n, r := d.Next([]byte("0\r\n\r\n")); data != nil || n != 0 || r != OK {
		t.Errorf("%q, %d, %v", data, n, r)
	}
}

// TestChunkedHuge: sizes that do not fit in an int of data are only counted.
func TestChunkedHuge(t *testing.T) {
	var d Chunked
	head := []byte("7fffffffffffffff\r\n")
	if n, r := d.Discard(append(head, "xyz"...)); n != len(head)+3 || r != OK || d.Size() != 3 {
		t.Errorf("%d, %v, size %d", n, r, d.Size())
	}
}

// decodeModel decodes a whole body by cutting it at its line ends. ok is false
// when the body is bad or incomplete; bad tells which.
func decodeModel(s string) (data string, rest string, ok, bad bool) {
	for {
		line, after, found := strings.Cut(s, "\r\n")
		if !found {
			return data, "", false, false
		}
		size, ext, _ := strings.Cut(line, ";")
		if len(size) < len(line) {
			size = strings.TrimRight(size, " \t")
		}
		n, err := strconv.ParseUint(size, 16, 63)
		if err != nil || len(size) > 16 || strings.ContainsAny(size, "+-_xX") || !goodText(ext) {
			return data, "", false, true
		}
		s = after
		if n == 0 {
			break
		}
		if n > uint64(len(s)) {
			return data, "", false, false
		}
		data, s = data+s[:n], s[n:]
		if len(s) < 2 {
			return data, "", false, s != "" && s != "\r"
		}
		if s[:2] != "\r\n" {
			return data, "", false, true
		}
		s = s[2:]
	}
	for {
		line, after, found := strings.Cut(s, "\r\n")
		if !found {
			return data, "", false, false
		}
		s = after
		if line == "" {
			return data, s, true, false
		}
		name, value, found := strings.Cut(line, ":")
		if !found || !tokenRE.MatchString(name) || !goodText(value) {
			return data, "", false, true
		}
	}
}

func goodText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// checkChunked compares the decoder to the model, and what it accepts to
// net/http. Exceptions:
//
//   - white space before ';', which RFC 9112 section 7.1.1 wants parsed and removed;
//   - bodies over 2000 bytes: net/http wants trailers to fit in its buffer, and
//     sets extensions in proportion to the data.
func checkChunked(t *testing.T, body []byte) {
	t.Helper()
	var d Chunked
	out, n, r := d.Append(nil, body, 1<<20)
	data, rest, ok, bad := decodeModel(string(body))
	switch {
	case ok:
		if !d.Done() || r != OK || string(out) != data || n != len(body)-len(rest) {
			t.Fatalf("%q: %q, %d, %v; want %q, %d", body, out, n, r, data, len(body)-len(rest))
		}
	case d.Done() || bad && r == OK:
		t.Fatalf("%q: done %v, %v; model: bad %v", body, d.Done(), r, bad)
	}
	if !d.Done() || n > 2000 || spaceBeforeExt.Match(body) {
		return
	}
	const head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
	req, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(head), bytes.NewReader(body[:n]))))
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err := io.ReadAll(req.Body); err != nil || !bytes.Equal(theirs, out) {
		t.Fatalf("%q: %q, net/http: %q, %v", body, out, theirs, err)
	}
}

var spaceBeforeExt = regexp.MustCompile(`[0-9a-fA-F][ \t]+;`)

func FuzzChunked(f *testing.F) {
	for _, c := range chunkedBodies {
		f.Add([]byte(c.body))
	}
	f.Fuzz(checkChunked)
}

func TestRandomChunked(t *testing.T) {
	seed := testenv.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	parts := []string{"5\r\nhello\r\n", "1;a=b\r\n;\r\n", "0\r\n", "\r\n", "A: b\r\n", "0", "f", "\n", "\r", " ", ";", ":", "x", "\x00", "2\r\n\r\n\r\n"}
	done := 0
	for range 30_000 {
		var b strings.Builder
		for range rng.IntN(4) {
			b.WriteString(parts[rng.IntN(2)])
		}
		for range rng.IntN(4) {
			b.WriteString(parts[rng.IntN(len(parts))])
		}
		b.WriteString("0\r\n\r\n")
		checkChunked(t, []byte(b.String()))
		if _, _, ok, _ := decodeModel(b.String()); ok {
			done++
		}
	}
	if done < 1000 {
		t.Errorf("only %d good bodies", done)
	}
}
