package httpfile

import (
	"strings"
	"testing"
)

func TestCompression(t *testing.T) {
	for _, test := range []struct {
		c     *Compression
		typ   string
		size  int64
		level int
	}{
		{nil, "text/html", 2000, 0},
		{&Compression{}, "text/html; charset=utf-8", 2000, 5},
		{&Compression{}, "application/ld+json", 2000, 5},
		{&Compression{}, "image/svg+xml", 2000, 5},
		{&Compression{}, "image/png", 2000, 0},
		{&Compression{}, "application/octet-stream", 2000, 0},
		{&Compression{}, "text/html", 1023, 0},
		{&Compression{}, "text/html", 1024, 5},
		{&Compression{}, "text/html", 1 << 20, 5},
		{&Compression{}, "text/html", 1<<20 + 1, 0},
		{&Compression{Types: []string{"Text/CSS"}, Level: 9}, "text/css", 2000, 9},
		{&Compression{Types: []string{"text/css"}}, "text/html", 2000, 0},
		{&Compression{Types: []string{"*"}, MinSize: 1, MaxSize: 10}, "application/octet-stream", 1, 5},
		{&Compression{Types: []string{"*"}}, "application/zip", 2000, 0},
		{&Compression{Types: []string{"image/*"}}, "image/jpeg", 2000, 0},
		{&Compression{Types: []string{"image/*"}}, "image/bmp", 2000, 5},
		{&Compression{Types: []string{"video/*"}}, "video/mp4", 2000, 0},
	} {
		p, err := NewPolicy(Config{Compress: test.c})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Level(test.typ, test.size); got != test.level {
			t.Errorf("%+v: %s of %d bytes: level %d, want %d", test.c, test.typ, test.size, got, test.level)
		}
	}
	for _, test := range []struct {
		c    Compression
		want string
	}{
		{Compression{MinSize: -1}, "min size -1"},
		{Compression{MaxSize: -1}, "max size -1"},
		{Compression{MaxSize: 100 << 20}, "max size 104857600"},
		{Compression{MinSize: 2 << 20}, "min size 2097152"},
		{Compression{Level: 10}, "level 10"},
		{Compression{Level: -1}, "level -1"},
		{Compression{Types: []string{"text"}}, `type "text"`},
		{Compression{Types: []string{""}}, `type ""`},
		{Compression{Types: []string{"*/*"}}, `type "*/*"`},
		{Compression{Types: []string{"text/html; charset=utf-8"}}, "neither type/subtype"},
		{Compression{Types: []string{"image/png"}}, "compressed already"},
		{Compression{Types: []string{"Font/WOFF2"}}, "compressed already"},
		{Compression{Types: make([]string, 101)}, "number of types 101"},
	} {
		if _, err := NewPolicy(Config{Compress: &test.c}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v", test.c, err)
		}
	}
}
