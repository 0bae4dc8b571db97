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
		{File{MtimeNs: 0, Size: 0}, `"0-0-0-0"`},
		{File{MtimeNs: 1, Size: 0}, `"1-0"`},
		{File{MtimeNs: 1e9, Size: 20, Inode: 0xab, CtimeNs: 0xcd}, `"3b9aca00-14-ab-cd"`},
		{File{MtimeNs: 1e9, Size: 20, Inode: 0xab, CtimeNs: 0xcd, Coding: Gzip}, `"3b9aca00-14-ab-cd-gz"`},
		{File{MtimeNs: testMtime, Size: 20, Indistinct: true}, ""},
		{File{MtimeNs: testMtime, Size: 20, Indistinct: true, Hash: "abc"}, ""},
		{File{MtimeNs: testMtime, Size: 20, ByContent: true}, ""},
		{File{MtimeNs: 0, Size: 20, ByContent: true, Hash: "abc"}, `"abc"`},
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
		if f.ETag == "" {
			continue
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
	if old := pol.MakeFacts(File{Path: "/f", MtimeNs: -1}); old.LastModified != "Wed, 31 Dec 1969 23:59:59 GMT" {
		t.Errorf("before 1970: %s", old.LastModified)
	}
}

// The date of a file is of what is known when it is opened, and stays.
func TestLastModified(t *testing.T) {
	const sec = int64(1e9)
	for _, c := range []struct {
		name string
		file File
		want string
	}{
		{"usual", File{MtimeNs: testMtime, CtimeNs: testMtime + sec, SeenNs: testNow}, testDate},
		{"seen in its second", File{MtimeNs: testMtime, SeenNs: testMtime - 1}, testDate},
		{"in the future when it was set", File{MtimeNs: testMtime + 3600*sec, CtimeNs: testMtime, SeenNs: testNow}, testDate},
		{"and that is past now", File{MtimeNs: testMtime + 3600*sec, CtimeNs: testMtime, SeenNs: testNow + 3600*sec}, testDate},
		{"changed in the future", File{MtimeNs: testMtime, CtimeNs: testMtime, SeenNs: testMtime - sec}, ""},
		{"the epoch", File{MtimeNs: 0, CtimeNs: testMtime}, ""},
		{"a store", File{MtimeNs: sec, CtimeNs: testMtime}, ""},
		{"zip, west of Greenwich", File{MtimeNs: (315532800 + 8*3600) * sec, CtimeNs: testMtime}, ""},
		{"npm", File{MtimeNs: 499162500 * sec, CtimeNs: testMtime}, ""},
		{"1985, and no such time", File{MtimeNs: (499162500 - 86400) * sec, CtimeNs: testMtime}, "Fri, 25 Oct 1985 08:15:00 GMT"},
	} {
		c.file.Path = "/f"
		if got := testFacts(t, Config{}, c.file).LastModified; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
