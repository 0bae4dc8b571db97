package server_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

func hashOf(content string) string {
	h := sha256.Sum256([]byte(content))
	return hex.EncodeToString(h[:])
}

// The hash of the content is the tag where somebody has said it of this version, with
// other times on another origin too. Elsewhere there is none.
func TestContentTags(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		root := t.TempDir()
		put := func(name, content string, at time.Time) {
			writeFile(t, filepath.Join(root, name), []byte(content))
			if err := os.Chtimes(filepath.Join(root, name), at, at); err != nil {
				t.Fatal(err)
			}
		}
		later := settled.Add(time.Second)
		put("plain.txt", hello, settled)
		put("404.html", "none", settled)
		put("sum.txt", hello, settled)
		put("sum.txt.sha256", hashOf(hello)+"  sum.txt\n", settled)
		put("sum.txt.gz", "packed", settled)
		put("sum.txt.gz.sha256", strings.ToUpper(hashOf("packed"))+"\n", later)
		put("bsd.txt", hello, later)
		put("bsd.txt.sha256", "SHA256 (bsd.txt) = "+hashOf(hello)+"\n", later)
		put("old.txt", hello, later)
		put("old.txt.sha256", hashOf("before")+"  old.txt\n", settled)
		put("bad.txt", hello, settled)
		put("bad.txt.sha256", strings.Repeat("x", 64)+"  bad.txt\n", settled)
		put("attr.txt", hello, settled)
		put("stale.txt", hello, later)
		attributes := setXattrs(t, filepath.Join(root, "attr.txt"), hashOf(hello), settled) &&
			setXattrs(t, filepath.Join(root, "stale.txt"), hashOf("before"), settled)

		g := start(t, d, server.Config{Site: server.Site{
			Root: root, ContentTags: true, Precompressed: true, ErrorPages: map[int]server.Page{404: {Path: "/404.html"}},
		}})
		tag := `"` + hashOf(hello) + `"`
		for name, want := range map[string]string{
			"plain.txt": "", "sum.txt": tag, "bsd.txt": tag, "old.txt": "", "bad.txt": "", "attr.txt": tag, "stale.txt": "",
		} {
			if want != "" && name == "attr.txt" && !attributes {
				continue
			}
			for range 2 { // opened, and from the cache
				r := g.once(http.MethodGet, "/"+name)
				r.want(t, 200, hello)
				r.wantField(t, "Etag", want)
			}
		}
		g.once(http.MethodGet, "/sum.txt", "If-None-Match: "+tag).want(t, 304)
		g.once(http.MethodGet, "/sum.txt", "Accept-Encoding: gzip").wantField(t, "Etag", `"`+hashOf("packed")+`-gz"`)
		g.once(http.MethodGet, "/none").want(t, 404, "none")
		put("sum.txt.sha256", hashOf("other")+"  sum.txt\n", later)
		if !testenv.Eventually(patience, func() bool { return g.once(http.MethodGet, "/sum.txt").get("Etag") == `"`+hashOf("other")+`"` }) {
			t.Error("a hash that is replaced is not seen")
		}
	})
}

// setXattrs says the hash of a file as shatag does; false: the file system has no attributes.
func setXattrs(t *testing.T, path, hash string, at time.Time) bool {
	t.Helper()
	ts := fmt.Sprintf("%d.%09d", at.Unix(), at.Nanosecond())
	for name, value := range map[string]string{"user.shatag.sha256": hash, "user.shatag.ts": ts} {
		if err := unix.Setxattr(path, name, []byte(value), 0); err != nil {
			t.Logf("attributes are left out: %v", err)
			return false
		}
	}
	return true
}
