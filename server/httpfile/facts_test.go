package httpfile

import (
	"strings"
	"testing"
)

func TestETag(t *testing.T) {
	for _, c := range []struct {
		file File
		want string
	}{
		{File{MtimeNs: testMtime, Size: 20}, testTag},
		{File{MtimeNs: testMtime + 1, Size: 20}, `"ae1b981da166f01-14"`}, // every nanosecond counts
		{File{MtimeNs: testMtime, Size: 21}, `"ae1b981da166f00-15"`},
		{File{MtimeNs: testMtime, Size: 20, Coding: Brotli}, `"ae1b981da166f00-14-br"`},
		{File{MtimeNs: testMtime, Size: 20, Coding: Zstd}, `"ae1b981da166f00-14-zst"`},
		{File{MtimeNs: testMtime, Size: 20, Coding: Gzip}, `"ae1b981da166f00-14-gz"`},
		{File{MtimeNs: 0, Size: 0}, `"0-0"`},
		{File{MtimeNs: -5, Size: 1<<63 - 1}, `"-5-7fffffffffffffff"`},
		{File{MtimeNs: testMtime, Size: 20, Hash: "sha256:abc+/="}, `"sha256:abc+/="`},
		{File{MtimeNs: testMtime, Size: 20, Hash: "abc", Coding: Gzip}, `"abc-gz"`},
		// What would break the tag is not used.
		{File{MtimeNs: testMtime, Size: 20, Hash: `a"b`}, testTag},
		{File{MtimeNs: testMtime, Size: 20, Hash: "a b"}, testTag},
		{File{MtimeNs: testMtime, Size: 20, Hash: "a\r\nX: y"}, testTag},
		{File{MtimeNs: testMtime, Size: 20, Hash: "\xff"}, testTag},
		{File{MtimeNs: testMtime, Size: 20, Hash: "a\x7f"}, testTag},
		{File{MtimeNs: testMtime, Size: 20, Hash: strings.Repeat("a", 257)}, testTag},
		{File{MtimeNs: testMtime, Size: 20, Hash: strings.Repeat("a", 256)}, `"` + strings.Repeat("a", 256) + `"`},
	} {
		c.file.Path = "/f"
		f := testFacts(t, Config{}, c.file)
		if f.ETag != c.want {
			t.Errorf("%+v: %s, want %s", c.file, f.ETag, c.want)
		}
		if n := opaqueTagLen([]byte(f.ETag)); n != len(f.ETag) {
			t.Errorf("%s is no entity tag", f.ETag)
		}
	}
}

func TestFacts(t *testing.T) {
	pol := testPolicy(t, Config{CacheControl: []Rule{{"/a/*.js", "no-cache"}}})
	f := pol.MakeFacts(File{Path: "/a/x.js", Size: 5, MtimeNs: testMtime, Coding: Gzip, Negotiable: true})
	if f.Size != 5 || f.MtimeNs != testMtime || f.Coding != Gzip || !f.Negotiable || f.LastModified != testDate ||
		f.ContentType != "text/javascript; charset=utf-8" || f.CacheControl != "no-cache" || f.Policy() != pol {
		t.Errorf("%+v", f)
	}
	if f.SettledAt() != testMtime+2e9 {
		t.Errorf("settled at %d", f.SettledAt())
	}
	if old := pol.MakeFacts(File{Path: "/f", MtimeNs: -1}); old.LastModified != "Wed, 31 Dec 1969 23:59:59 GMT" {
		t.Errorf("before 1970: %s", old.LastModified)
	}
}
