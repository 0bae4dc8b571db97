package wire

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestCharClasses(t *testing.T) {
	const token = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	const hostname = "-._~!$&'()*+,;=0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for c := range 256 {
		b := byte(c)
		for _, class := range []struct {
			name string
			bit  uint8
			want bool
		}{
			{"token", isToken, strings.IndexByte(token, b) >= 0},
			{"host", isHost, strings.IndexByte(hostname, b) >= 0},
			{"value", isValue, b == '\t' || b >= 0x20 && b != 0x7f},
			{"plain", isPlain, b > 0x20 && b != 0x7f && strings.IndexByte("\"#<>?%", b) < 0},
			{"hex", isHex, strings.IndexByte("0123456789abcdefABCDEF", b) >= 0},
		} {
			if got := charClass[b]&class.bit != 0; got != class.want {
				t.Errorf("%q is %s: %v", b, class.name, got)
			}
		}
	}
}

func TestScanText(t *testing.T) {
	slow := func(b []byte, i int) int {
		for i < len(b) && (b[i] == '\t' || b[i] >= 0x20 && b[i] != 0x7f) {
			i++
		}
		return i
	}
	text := []byte(strings.Repeat("a\x80 \t~\xff", 6))
	for length := range len(text) {
		for at := range length {
			for c := range 256 {
				b := bytes.Clone(text[:length])
				b[at] = byte(c)
				for _, start := range []int{0, 1, at, at + 1} {
					if got, want := scanText(b, start), slow(b, start); got != want {
						t.Fatalf("%q from %d: %d, want %d", b, start, got, want)
					}
				}
			}
		}
	}
	// Two control characters: a borrow must not move the first one.
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		b := make([]byte, 24)
		for i := range b {
			b[i] = "\x00\x1f\x20\x21\x7e\x7f\x80\xff\taaaaaaaaaa"[rng.IntN(19)]
		}
		if got, want := scanText(b, 0), slow(b, 0); got != want {
			t.Fatalf("%q: %d, want %d", b, got, want)
		}
	}
}

func TestLookup(t *testing.T) {
	for f := noField + 1; f < numField; f++ {
		name := f.String()
		for _, s := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:]} {
			if got := lookup([]byte(s)); got != f {
				t.Errorf("%s: %v, want %v", s, got, f)
			}
		}
		// Any other byte anywhere makes it another name.
		for i := range name {
			for c := range 256 {
				if charClass[c]&isToken == 0 {
					continue
				}
				other := []byte(name)
				other[i] = byte(c)
				if strings.EqualFold(string(other), name) {
					continue
				}
				if got := lookup(other); got == f {
					t.Errorf("%q is taken for %v", other, f)
				}
			}
		}
		for _, other := range []string{name + "x", "x" + name, name[1:], name[:len(name)-1]} {
			if got := lookup([]byte(other)); got == f {
				t.Errorf("%q is taken for %v", other, f)
			}
		}
	}
	for _, name := range []string{"", "a", strings.Repeat("a", 19), strings.Repeat("a", 100)} {
		if got := lookup([]byte(name)); got != noField {
			t.Errorf("%q is taken for %v", name, got)
		}
	}
	if noField.String() != "" || numField.String() != "unknown" {
		t.Errorf("%q, %q", noField, numField)
	}
}

func TestAuthority(t *testing.T) {
	for _, c := range []struct {
		text     string
		ok, port bool
	}{
		{"", true, false},
		{"h", true, false},
		{"h:", true, false},
		{"h:0", true, true},
		{"h:80", true, true},
		{"h:9", true, true},
		{"h:65535", true, true},
		{"h:065535", true, true},
		{"127.0.0.1:8080", true, true},
		{"a-b_c.d~e!$&'()*+,;=", true, false},
		{"[::1]", true, false},
		{"[::1]:", true, false},
		{"[::1]:8", true, true},
		{":", false, false},
		{":80", false, false},
		{"h:65536", false, false},
		{"h:99999999999999999999", false, false},
		{"h:8a", false, false},
		{"h:-1", false, false},
		{"h:+1", false, false},
		{"h: 1", false, false},
		{"h:1:2", false, false},
		{"::1", false, false},
		{"u@h", false, false},
		{"u:p@h", false, false},
		{"h/", false, false},
		{"h?", false, false},
		{"h#", false, false},
		{"h\\", false, false},
		{"a b", false, false},
		{"a\tb", false, false},
		{"h%41", false, false},
		{"<h>", false, false},
		{"h\x00", false, false},
		{"h\xc3\xa9", false, false},
		{"[", false, false},
		{"[]", false, false},
		{"[::1", false, false},
		{"::1]", false, false},
		{"[::1]x", false, false},
		{"[::1]80", false, false},
		{"[::1]]", false, false},
		{"x[::1]", false, false},
		{"[fe80::1%25eth0]", true, false},
		{"[fe80::1%eth0]", true, false},
		{"[fe80::1%eth0]:8080", true, true},
		{"[fe80::1%]", false, false},
		{"[fe80::1%a b]", false, false},
		{"[fe80::1%a/b]", false, false},
		{"[%eth0]", false, false},
		{"[127.0.0.1%eth0]", false, false},
		{"[v1.a:b]", false, false},
		{"[127.0.0.1]", false, false},
		{"[h]", false, false},
	} {
		if ok, port := validAuthority([]byte(c.text)); ok != c.ok || ok && port != c.port {
			t.Errorf("%q: %v, port %v; want %v, %v", c.text, ok, port, c.ok, c.port)
		}
	}
}

func TestJoinedLists(t *testing.T) {
	head := "GET / HTTP/1.1\r\nHost: h\r\n" +
		"Accept-Encoding: gzip\r\nIf-None-Match: \"a\"\r\nX-Forwarded-For: 1.1.1.1\r\nRange: bytes=0-1\r\n" +
		"accept-encoding:\r\nIF-NONE-MATCH:W/\"b\" \r\nx-forwarded-for: 2.2.2.2,3.3.3.3\r\nRange: bytes=2-3\r\n" +
		"Accept-Encoding: br\r\nUser-Agent: one\r\n\r\n"
	single := "GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: zstd\r\n\r\n"
	var h Head
	for range 2 {
		if _, r := h.Parse([]byte(head), 0, Limits{}); r != OK {
			t.Fatal(r)
		}
		for f, want := range map[Field]string{
			AcceptEncoding: "gzip, , br",
			IfNoneMatch:    "\"a\", W/\"b\"",
			XForwardedFor:  "1.1.1.1, 2.2.2.2,3.3.3.3",
			Range:          "bytes=0-1",
			UserAgent:      "one",
		} {
			if got := string(h.Get(f)); got != want {
				t.Errorf("%v: %q, want %q", f, got, want)
			}
			if h.Repeated(f) != (f != UserAgent) {
				t.Errorf("%v: repeated %v", f, h.Repeated(f))
			}
		}
		if h.Get(Referer) != nil {
			t.Errorf("referer: %q", h.Get(Referer))
		}
		if _, r := h.Parse([]byte(single), 0, Limits{}); r != OK || string(h.Get(AcceptEncoding)) != "zstd" || h.Repeated(Range) {
			t.Errorf("the next head: %v, %q", r, h.Get(AcceptEncoding))
		}
	}
}

func TestUnconditional(t *testing.T) {
	var h Head
	for f := noField + 1; f < numField; f++ {
		if f == ContentLength || f == TransferEncoding || f == Expect {
			continue // not with this value
		}
		head := "GET / HTTP/1.0\r\n" + f.String() + ": x\r\n\r\n"
		if n, r := h.Parse([]byte(head+"rest"), 0, Limits{}); r != OK || string(h.Raw()) != head {
			t.Fatalf("%q: %d, %v, raw %q", head, n, r, h.Raw())
		}
		conditional := f == Range || strings.HasPrefix(f.String(), "if-")
		if h.Unconditional() == conditional {
			t.Errorf("%v: unconditional %v", f, h.Unconditional())
		}
	}
}

func TestFieldsStopsEarly(t *testing.T) {
	var h Head
	if _, r := h.Parse([]byte(browserHead), 0, Limits{}); r != OK {
		t.Fatal(r)
	}
	count := 0
	for name, value := range h.Fields {
		if count++; count == 2 {
			if string(name) != "User-Agent" || !bytes.HasPrefix(value, []byte("Mozilla/5.0 (")) {
				t.Errorf("%s: %s", name, value)
			}
			break
		}
	}
	if count != 2 {
		t.Errorf("%d fields", count)
	}
}

// TestRefusedHead: what was read before the fault is there, nothing else.
func TestRefusedHead(t *testing.T) {
	for _, c := range []struct {
		head, method, target string
		fields               int
	}{
		{"GET: / HTTP/1.1\r\nHost: h\r\n\r\n", "", "", 0},
		{"GET /# HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "", 0},
		{"GET / HTTP/2.0\r\nHost: h\r\n\r\n", "GET", "/", 0},
		{"GET / HTTP/1.1\r\nHost: h\r\nA : b\r\nC: d\r\n\r\n", "GET", "/", 1},
		{"GET / HTTP/1.1\r\nA: b\r\nC: d\r\n\r\n", "GET", "/", 2},
	} {
		var h Head
		if _, r := h.Parse([]byte(c.head), 0, Limits{}); r == OK {
			t.Errorf("%q is taken", c.head)
		}
		fields := 0
		for range h.Fields {
			fields++
		}
		if string(h.Method()) != c.method || string(h.Target()) != c.target || fields != c.fields {
			t.Errorf("%q: %q, %q, %d fields", c.head, h.Method(), h.Target(), fields)
		}
	}
}

// TestViewsCannotGrow: appending to a view must not overwrite the input.
func TestViewsCannotGrow(t *testing.T) {
	buf := []byte("GET /a?b HTTP/1.1\r\nHost: h\r\nAccept: x\r\n\r\n")
	before := bytes.Clone(buf)
	var h Head
	if _, r := h.Parse(buf, 0, Limits{}); r != OK {
		t.Fatal(r)
	}
	for _, view := range [][]byte{h.Method(), h.Target(), h.Path(), h.Query(), h.Host(), h.Get(Accept)} {
		_ = append(view, "!!"...)
	}
	for name, value := range h.Fields {
		_, _ = append(name, '!'), append(value, '!')
	}
	if !bytes.Equal(buf, before) {
		t.Errorf("%q", buf)
	}
}

// TestZeroHead: before the first Parse all is empty.
func TestZeroHead(t *testing.T) {
	var h Head
	for range h.Fields {
		t.Error("a field")
	}
	if h.Method() != nil || h.Target() != nil || h.Path() != nil || h.Host() != nil || h.Get(Range) != nil || h.HasBody() || h.Len() != 0 {
		t.Error("not empty")
	}
	if n, r := h.Parse(nil, 0, Limits{}); n != 0 || r != OK {
		t.Error(n, r)
	}
}
