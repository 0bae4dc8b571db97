package wire

import (
	"bytes"
	"testing"
)

const (
	wrkHead     = "GET /files/1k.bin HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: wrk\r\n\r\n"
	browserHead = "GET /downloads/archive-2.4.1.tar.gz?source=mirror HTTP/1.1\r\n" +
		"Host: downloads.example.org\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n" +
		"Accept-Language: en-US,en;q=0.5\r\n" +
		"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
		"Connection: keep-alive\r\n" +
		"Referer: https://www.example.org/downloads/index.html\r\n" +
		"If-None-Match: \"18e3f1a2b4c5d6e7-1f4000\"\r\n" +
		"If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n" +
		"Upgrade-Insecure-Requests: 1\r\n" +
		"\r\n"
	repeatedHead = "GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n" +
		"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\nConnection: te\r\nConnection: close\r\n\r\n"
)

func TestNothingIsAllocated(t *testing.T) {
	lim := Limits{}.WithDefaults()
	var h Head
	for name, head := range map[string]string{
		"wrk":     wrkHead,
		"browser": browserHead,
		// The first one makes the scratch buffer, which AllocsPerRun does not count.
		"repeated": repeatedHead,
		"refused":  "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
		"partial":  browserHead[:len(browserHead)-2],
	} {
		buf := []byte(head)
		size := 0
		allocs := testing.AllocsPerRun(100, func() {
			n, r := h.Parse(buf, 0, lim)
			for seen := 1; n == 0 && r == OK && seen < len(buf); seen++ {
				n, r = h.Parse(buf[:seen+1], seen, lim)
			}
			for f := noField + 1; f < numField; f++ {
				size += len(h.Get(f))
			}
			for name, value := range h.Fields {
				size += len(name) + len(value)
			}
			size += len(h.Host()) + len(h.Path()) + len(h.Query()) + len(r.String()) + r.Status()
		})
		if allocs != 0 || size == 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
	body := []byte("5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n")
	dst := make([]byte, 0, 16)
	if allocs := testing.AllocsPerRun(100, func() {
		var keep, drop Chunked
		keep.Append(dst, body, 16)
		drop.Discard(body)
	}); allocs != 0 {
		t.Errorf("chunked: %v allocations", allocs)
	}
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, head string }{
		{"wrk", wrkHead},
		{"browser", browserHead},
		{"repeated", repeatedHead},
	} {
		b.Run(c.name, func(b *testing.B) {
			buf := []byte(c.head)
			var h Head
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				if n, r := h.Parse(buf, 0, Limits{}); n != len(buf) || r != OK {
					b.Fatal(n, r)
				}
			}
		})
	}
}

// BenchmarkByteByByte is the cost of a whole head that arrives in single bytes.
func BenchmarkByteByByte(b *testing.B) {
	buf := []byte(browserHead)
	var h Head
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		for i := range buf {
			if _, r := h.Parse(buf[:i+1], i, Limits{}); r != OK {
				b.Fatal(r)
			}
		}
	}
}

func BenchmarkFields(b *testing.B) {
	var h Head
	if _, r := h.Parse([]byte(browserHead), 0, Limits{}); r != OK {
		b.Fatal(r)
	}
	b.SetBytes(int64(len(browserHead)))
	for b.Loop() {
		count := 0
		for range h.Fields {
			count++
		}
		if count != 10 {
			b.Fatal(count)
		}
	}
}

func BenchmarkChunked(b *testing.B) {
	for _, c := range []struct{ name, body string }{
		{"1B", "1\r\nx\r\n"},
		{"4KiB", "1000\r\n" + string(bytes.Repeat([]byte("x"), 4<<10)) + "\r\n"},
	} {
		b.Run(c.name, func(b *testing.B) {
			buf := []byte(c.body)
			var d Chunked
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				if n, r := d.Discard(buf); n != len(buf) || r != OK {
					b.Fatal(n, r)
				}
			}
		})
	}
}
