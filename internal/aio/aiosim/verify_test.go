package aiosim

import (
	"bytes"
	"testing"
)

func TestContent(t *testing.T) {
	c := Content(7)
	whole := make([]byte, 100)
	c.Fill(whole, 0)
	for from := range 20 {
		for n := range 40 {
			p := make([]byte, n)
			c.Fill(p, int64(from))
			if !bytes.Equal(p, whole[from:from+n]) {
				t.Fatalf("bytes %d to %d differ from those of the whole", from, from+n)
			}
		}
	}
	other := make([]byte, 100)
	Content(8).Fill(other, 0)
	if bytes.Equal(whole[:8], other[:8]) || bytes.Equal(whole[:8], whole[8:16]) {
		t.Error("the pattern repeats")
	}
}

func TestWarm(t *testing.T) {
	w := New(Config{})
	f := w.AddFile("f", 100)
	f.Evict()
	f.warm(10, 20)
	f.warm(50, 10)
	for _, c := range []struct{ off, n, want int64 }{
		{0, 100, 0}, {10, 90, 20}, {15, 5, 5}, {29, 10, 1}, {30, 1, 0}, {50, 50, 10}, {59, 1, 1}, {99, 1, 0},
	} {
		if got := clear(f.cold, c.off, c.n); got != c.want {
			t.Errorf("of %d bytes from %d, %d are warm, want %d", c.n, c.off, got, c.want)
		}
	}
}

func mem(s string) chunk { return memory([]byte(s)) }

func text(s ...string) [][]Piece {
	var all [][]Piece
	for _, s := range s {
		all = append(all, []Piece{Bytes([]byte(s))})
	}
	return all
}

func TestVerifier(t *testing.T) {
	for _, c := range []struct {
		name     string
		expected [][][]Piece // responses, each of several
		got      string
		whole    int
		wrongAt  int64
		body     bool // a wrong body
		extra    bool
	}{
		{"nothing expected", nil, "abc", 0, -1, false, false},
		{"part", [][][]Piece{text("abc")}, "ab", 0, -1, false, false},
		{"whole", [][][]Piece{text("abc")}, "abc", 1, -1, false, false},
		{"two", [][][]Piece{text("abc"), text("de")}, "abcde", 2, -1, false, false},
		{"two pieces", [][][]Piece{{{Bytes([]byte("a")), Any(2), Bytes([]byte("d"))}}}, "a??d", 1, -1, false, false},
		{"extra", [][][]Piece{text("abc")}, "abcd", 1, 3, false, true},
		{"wrong part", [][][]Piece{text("abc")}, "aX", 0, 1, false, false},
		{"wrong whole", [][][]Piece{text("abc")}, "aXc", 0, 1, true, false},
		{"wrong second", [][][]Piece{text("abc"), text("de")}, "abcXe", 1, 3, true, false},
		{"first choice", [][][]Piece{text("abc", "xyz")}, "abc", 1, -1, false, false},
		{"second choice", [][][]Piece{text("abc", "xyz")}, "xyz", 1, -1, false, false},
		{"mixed choices", [][][]Piece{text("abc", "xyz")}, "xbc", 0, 1, true, false},
		{"longest match counts", [][][]Piece{text("abcdef", "ax")}, "abX", 0, 2, false, false},
		{"prefix then next", [][][]Piece{text("ab", "abab"), text("z")}, "ababz", 2, -1, false, false},
		{"prefix alone", [][][]Piece{text("ab", "abab"), text("z")}, "abz", 2, -1, false, false},
		{"empty response", [][][]Piece{{nil}, text("a")}, "a", 2, -1, false, false},
	} {
		for step := 1; step <= 3; step++ {
			v := verifier{w: New(Config{}), wrongAt: -1}
			for _, r := range c.expected {
				v.expected = append(v.expected, response{late: func() [][]Piece { return r }})
			}
			for p := c.got; len(p) > 0; {
				n := min(step, len(p))
				v.take(mem(p[:n]))
				p = p[n:]
			}
			if v.whole != c.whole || v.wrongAt != c.wrongAt || v.wrongBody != c.body || v.extra != c.extra || v.pos != int64(len(c.got)) {
				t.Errorf("%s, by %d: %d whole, wrong at %d, wrong body %v, extra %v", c.name, step, v.whole, v.wrongAt, v.wrongBody, v.extra)
			}
		}
	}
}

// TestVerifierContent compares ranges with ranges, and with bytes in memory.
func TestVerifierContent(t *testing.T) {
	w := New(Config{})
	old := Version{Content: 1, Size: 10_000}
	file := func(c Content, off, n int64) chunk { return chunk{content: c, off: off, n: n, isFile: true} }
	inMemory := func(c Content, off, n int64) chunk {
		p := make([]byte, n)
		c.Fill(p, off)
		return memory(p)
	}
	for _, c := range []struct {
		name    string
		got     []chunk
		whole   int
		wrongAt int64
	}{
		{"range", []chunk{file(1, 0, 10_000)}, 1, -1},
		{"ranges", []chunk{file(1, 0, 1), file(1, 1, 9_999)}, 1, -1},
		{"memory", []chunk{inMemory(1, 0, 7777), file(1, 7777, 2223)}, 1, -1},
		{"other offset", []chunk{file(1, 0, 5000), file(1, 5008, 10)}, 0, 5000},
		{"other content", []chunk{file(1, 0, 5000), file(2, 5000, 5000)}, 0, 5000},
		{"other memory", []chunk{file(1, 0, 5000), inMemory(2, 5000, 5000)}, 0, 5000},
	} {
		v := verifier{w: w, wrongAt: -1, expected: []response{{either: [][]Piece{{old.Whole()}}}}}
		for _, ch := range c.got {
			v.take(ch)
		}
		if v.whole != c.whole || v.wrongAt != c.wrongAt {
			t.Errorf("%s: %d whole, wrong at %d", c.name, v.whole, v.wrongAt)
		}
	}
}
