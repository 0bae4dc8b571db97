package difftest

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
)

// gzOnly is the file of which there is a .gz and nothing else, so that both
// servers can send the same.
const gzOnly = "/coded/gz.txt"

// makeSidecars makes what content negotiation is tested with. The sidecars are
// not really compressed, which neither server looks at: so it shows in an answer
// which of them was sent.
func makeSidecars(t *testing.T, root string) {
	t.Helper()
	for name, content := range map[string]string{
		gzOnly: plainContent, gzOnly + ".gz": "gzip of gz.txt",
		"/coded/all.css": "all", "/coded/all.css.br": "br of all.css", "/coded/all.css.zst": "zstd of all.css",
		"/coded/all.css.gz": "gzip of all.css",
		"/coded/br.js":      "br", "/coded/br.js.br": "br of br.js",
		"/coded/index.html": "<p>coded</p>\n", "/coded/index.html.gz": "gzip of index.html",
		"/coded/large.txt":    string(testenv.NewPattern(4).Bytes(0, 64<<10)),
		"/coded/large.txt.gz": string(testenv.NewPattern(5).Bytes(0, 300<<10)),
		"/coded/void.txt":     "void", "/coded/void.txt.gz": "",
		"/coded/orphan.txt.gz": "gzip of nothing",
		"/coded/young.txt":     "young source", "/coded/young.txt.gz": "gzip of young.txt",
		"/coded/stale.txt": "stale", "/coded/dir.txt": "beside a directory", "/coded/dir.txt.gz/x": "x",
		"/coded/pipe.txt": "beside a pipe", "/coded/out.txt": "beside a link out", "/coded/in.txt": "beside a link",
		"/coded/.dot.txt": "hidden", "/coded/.dot.txt.gz": "gzip of .dot.txt",
		"/coded/photo.jpg": "photo", "/coded/photo.jpg.gz": "gzip of photo.jpg",
	} {
		put(t, filepath.Join(root, name), content, settled)
	}
	put(t, filepath.Join(root, "/coded/stale.txt.gz"), "gzip of stale.txt, once", settled.Add(-time.Nanosecond))
	young := filepath.Join(root, "/coded/young.txt.gz")
	if err := os.Chtimes(young, future, future); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"out.txt.gz": "../../secret.txt", "in.txt.gz": "gz.txt.gz"} {
		if err := os.Symlink(to, filepath.Join(root, "coded", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "coded", "pipe.txt.gz"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// codingCases are requests for files with sidecars.
func codingCases() (out []request) {
	for _, accept := range []string{
		"gzip", "GZIP", "gzip, deflate", "deflate, gzip", "gzip, deflate, br, zstd", "br", "zstd", "br, gzip", "gzip;q=0", "gzip;q=0.0",
		"gzip;q=0.001", "gzip;q=1", "gzip;q=1.000", "gzip; q=0.5", "gzip ;q=0.5", "gzip;Q=0.5", "gzip;q=0.5, identity", "gzip;q=0.5, identity;q=0.5",
		"gzip, identity;q=0", "identity", "identity;q=0", "*", "*;q=0", "*;q=0.5", "gzip;q=0, *", "identity;q=0, *;q=0", "x-gzip", "xgzip", "gzipx",
		"gzip2, br", "deflate", "compress", "", ",", ",gzip,", "gzip;q=2", "gzip;q=-1", "gzip;q=", "gzip;q=abc", "gzip;q=0.0001", "gzip;level=9",
		"gzip;q=0, gzip", "gzip, gzip;q=0", "gzip br", "\tgzip\t", "gzip\t,\tbr",
	} {
		name := "coding gz.txt/" + strings.ReplaceAll(accept, "\t", `\t`)
		out = append(out, ask(name, http.MethodGet, gzOnly, "Accept-Encoding: "+accept))
	}
	for _, accept := range []string{"gzip", "br", "zstd", "gzip, br, zstd", "gzip, br;q=0.5", "*", "identity;q=0", "*;q=0", "identity, br;q=0.9"} {
		out = append(out, ask("coding all.css/"+accept, http.MethodGet, "/coded/all.css", "Accept-Encoding: "+accept))
	}
	for _, target := range []string{
		"/coded/", "/coded/index.html", "/coded/index.html.gz", "/coded/gz.txt.gz", "/coded/gz.txt?query", "/coded/gz%2Etxt", "/coded", "/coded/gz.txt/",
		"/coded/large.txt", "/coded/void.txt", "/coded/orphan.txt", "/coded/orphan.txt.gz", "/coded/young.txt", "/coded/stale.txt",
		"/coded/dir.txt", "/coded/pipe.txt", "/coded/out.txt", "/coded/in.txt", "/coded/.dot.txt", "/coded/photo.jpg", "/coded/missing",
		"/coded/br.js", "/coded/gz.txt.gz.gz", "/coded/gz.txt.", "/f.txt", "/empty.txt", "/two.tar.gz",
	} {
		out = append(out, ask("coding for gzip/"+target, http.MethodGet, target, "Accept-Encoding: gzip"))
	}
	out = append(out, ask("coding of none/"+gzOnly, http.MethodGet, gzOnly),
		ask("coding of none/all.css", http.MethodGet, "/coded/all.css"), ask("coding of none/stale.txt", http.MethodGet, "/coded/stale.txt"),
		ask("coding on two lines/gzip last", http.MethodGet, gzOnly, "Accept-Encoding: br", "Accept-Encoding: gzip"),
		ask("coding on two lines/gzip refused first", http.MethodGet, gzOnly, "Accept-Encoding: gzip;q=0", "Accept-Encoding: br"),
		ask("coding by proxy/Via", http.MethodGet, gzOnly, "Accept-Encoding: gzip", "Via: 1.1 proxy"),
		literal("coding in HTTP/1.0/GET", "GET "+gzOnly+" HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n"),
		ask("coding for an old browser/MSIE 6", http.MethodGet, gzOnly, "Accept-Encoding: gzip", "User-Agent: Mozilla/4.0 (compatible; MSIE 6.0)"))
	for _, method := range []string{"HEAD", "POST", "OPTIONS"} {
		out = append(out, ask("coding "+method+"/gzip", method, gzOnly, "Accept-Encoding: gzip"))
	}
	return append(out, codedRangeCases()...)
}

// codedRangeCases are ranges and preconditions of a sidecar.
func codedRangeCases() (out []request) {
	for _, c := range [][]string{
		{"Range: bytes=0-3"}, {"Range: bytes=-4"}, {"Range: bytes=14-"}, {"Range: bytes=19-"}, {"Range: bytes=0-1,4-5"}, {"Range: bytes=abc"},
		{"Range: bytes=0-3", "If-Range: {gzip-tag}"}, {"Range: bytes=0-3", "If-Range: {source-tag}"}, {"Range: bytes=0-3", "If-Range: {own-tag}"},
		{"Range: bytes=0-3", "If-Range: {date}"}, {"Range: bytes=0-3", "If-Range: {date-1}"},
		{"If-None-Match: {gzip-tag}"}, {"If-None-Match: W/{gzip-tag}"}, {"If-None-Match: {source-tag}"}, {"If-None-Match: *"},
		{"If-Match: {gzip-tag}"}, {"If-Match: {source-tag}"}, {"If-Match: *"}, {"If-Match: \"other\""},
		{"If-Modified-Since: {date}"}, {"If-Modified-Since: {date-1}"}, {"If-Unmodified-Since: {date-1}"},
		{"If-None-Match: {gzip-tag}", "Range: bytes=0-3"},
	} {
		name := "coded/"
		for i, f := range c {
			if i > 0 {
				name += " + "
			}
			name += f
		}
		out = append(out, ask(name, http.MethodGet, gzOnly, append(c, "Accept-Encoding: gzip")...),
			ask("un"+name, http.MethodGet, gzOnly, c...))
	}
	for _, target := range []string{"/coded/large.txt", "/coded/void.txt"} {
		out = append(out, ask("coded range/"+target, http.MethodGet, target, "Accept-Encoding: gzip", "Range: bytes=70000-70009"))
	}
	return out
}
