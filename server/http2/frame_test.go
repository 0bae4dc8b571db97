package http2

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// Frames are read as they were made, and none before it is whole.
func TestFrames(t *testing.T) {
	p := appendFrame(nil, frameData, flagEndStream, 5, []byte("content"))
	for n := range len(p) {
		if _, k := parseFrame(p[:n]); k != 0 {
			t.Errorf("a frame in %d of its bytes", n)
		}
	}
	f, n := parseFrame(append(slices.Clone(p), "next"...))
	if n != len(p) || f.typ != frameData || f.stream != 5 || !f.has(flagEndStream) || string(f.payload) != "content" {
		t.Errorf("%d %+v", n, f)
	}
	if _, n := parseFrame([]byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1}); n <= headLen+frameSize {
		t.Errorf("a frame that is too long has %d bytes", n)
	}
	for payload, want := range map[string]string{"\x02ab..": "ab", "\x00ab": "ab", "\x02..": "", "\x03..": "-", "": "-"} {
		f := frame{flags: flagPadded, payload: []byte(payload)}
		if ok := f.unpad(); ok != (want != "-") || ok && string(f.payload) != want {
			t.Errorf("%q: %q %v", payload, f.payload, ok)
		}
	}
}

// What a decoder of fields reads is what was to be said.
func TestFields(t *testing.T) {
	long := strings.Repeat("v", 70_000)
	lines := "Server: fserve\r\nContent-Length:  12 \r\nConnection: close\r\nX-Own: a:b\r\nX-Long: " + long + "\r\nETag: \"x\"\r\nTransfer-Encoding: chunked\r\n"
	for status, said := range map[int]string{200: "200", 206: "206", 404: "404", 416: "416", 100: "100"} {
		block, length, chunked := appendFields(appendStatus(nil, status), []byte(lines))
		if length != 12 || !chunked {
			t.Errorf("length %d, in chunks %v", length, chunked)
		}
		var got []string
		d := hpack.NewDecoder(0, func(f hpack.HeaderField) { got = append(got, f.Name+"="+f.Value) })
		_, err := d.Write(append([]byte{emptyTable}, block...))
		want := []string{":status=" + said, "server=fserve", "content-length=12", "x-own=a:b", "x-long=" + long, "etag=\"x\""}
		if err != nil || d.Close() != nil || !slices.Equal(got, want) {
			t.Errorf("%d: %.200v %v", status, got, err)
		}
	}
	for name, i := range static {
		var got string
		d := hpack.NewDecoder(0, func(f hpack.HeaderField) { got = f.Name })
		if _, err := d.Write(appendField(nil, []byte(name), nil)); err != nil || got != name {
			t.Errorf("%s is the %dth field, which is %s, %v", name, i, got, err)
		}
	}
}

// A head that is longer than a frame goes out in several, which follow each other.
func TestLongHeads(t *testing.T) {
	for _, n := range []int{10, frameSize, frameSize + 1, 3*frameSize + 5} {
		block := bytes.Repeat([]byte("x"), n)
		var whole []byte
		rest := appendBlock(nil, block, flagEndHeaders|flagEndStream, 7)
		for i := 0; len(rest) > 0; i++ {
			f, k := parseFrame(rest)
			if k == 0 || f.stream != 7 || (f.typ == frameHeaders) != (i == 0) || f.typ == frameHeaders && !f.has(flagEndStream) {
				t.Fatalf("%d: frame %d is %+v", n, i, f)
			}
			whole = append(whole, f.payload...)
			if rest = rest[k:]; f.has(flagEndHeaders) != (len(rest) == 0) {
				t.Errorf("%d: the end of the head is not in the last frame", n)
			}
		}
		if !bytes.Equal(whole, block) {
			t.Errorf("%d: %d bytes", n, len(whole))
		}
	}
}

// What was used is given back in large pieces, and all of it.
func TestWindow(t *testing.T) {
	w := window{in: 100}
	w.in -= 60
	if a, b := w.giveBack(30, 50), w.giveBack(30, 50); a != 0 || b != 60 || w.in != 100 {
		t.Errorf("%d, %d, %d", a, b, w.in)
	}
}
