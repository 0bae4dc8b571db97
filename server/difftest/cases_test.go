package difftest

import (
	"fmt"
	"net/http"
	"strings"
)

// allRequests returns the requests of all tables. Names are group/what and
// unique. Placeholders in braces are filled in by facts.
func allRequests() []request {
	var all []request
	for _, group := range [][]request{
		methodCases(), pathCases(), rangeCases(), conditionalCases(), ifRangeCases(), codingCases(),
		versionCases(), hygieneCases(), framingCases(), bodyCases(), pipelineCases(), limitCases(),
	} {
		all = append(all, group...)
	}
	for i := range all { // in DIFFERENCES.md these mean something else
		all[i].name = notInNames.Replace(all[i].name)
	}
	return all
}

var notInNames = strings.NewReplacer("*", "any", "|", "pipe", "`", "quote")

// ask makes one request; fields are complete lines without their ends.
func ask(name, method, target string, fields ...string) request {
	return request{name: name, raw: raw(method, target, fields...), methods: []string{method}}
}

func raw(method, target string, fields ...string) string {
	lines := append([]string{method + " " + target + " HTTP/1.1", "Host: {host}"}, fields...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// literal makes a request of bytes as they are.
func literal(name, raw string) request {
	method, _, _ := strings.Cut(strings.TrimLeft(raw, "\r\n "), " ")
	return request{name: name, raw: raw, methods: []string{method}}
}

func methodCases() (out []request) {
	for _, target := range []string{plain, "/missing", "/sub", "/sub/", "/indexed/", "/empty.txt"} {
		for _, m := range []string{
			"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "BREW", "get",
		} {
			out = append(out, ask("method/"+m+" "+target, m, target))
		}
	}
	return append(out,
		literal("method/OPTIONS of the server", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"),
		literal("method/CONNECT", "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n"),
		literal("method/CONNECT to a path", "CONNECT /f.txt HTTP/1.1\r\nHost: h\r\n\r\n"),
		literal("method/GET of the server", "GET * HTTP/1.1\r\nHost: h\r\n\r\n"),
		literal("method/very long", strings.Repeat("G", 40)+" /f.txt HTTP/1.1\r\nHost: h\r\n\r\n"),
		literal("method/with an at sign", "G@T /f.txt HTTP/1.1\r\nHost: h\r\n\r\n"),
		literal("method/with a hyphen", "M-SEARCH /f.txt HTTP/1.1\r\nHost: h\r\n\r\n"),
	)
}

func pathCases() (out []request) {
	for _, target := range []string{
		// Types and sizes, on both sides of the ways to send.
		"/", plain, "/empty.txt", "/one", "/page.html", "/data.json", "/x.unknown", "/UPPER.TXT", "/two.tar.gz",
		"/8k.bin", "/8k1.bin", "/300k.bin", "/young.txt",
		// Directories.
		"/sub", "/sub?a=b", "/sub/", "/indexed", "/indexed/", "/indexed/?x", "/indexed?x=/y//z", "/bare/", "/sub/deep",
		"/sp%20dir", "//sub", "/sub//", "/sub/.", "/sub/deep/..", "/.", "/linkdir",
		// What is not there.
		"/missing", "/missing/", "/missing/x", "/f.txt/", "/f.txt/x", "/F.TXT", "/f.txt.", "/f.txt%20",
		"/" + strings.Repeat("a", 300), "/" + strings.Repeat("a/", 2100) + "f",
		// Escapes.
		"/%66.txt", "/f%2Etxt", "/f%2etxt?", "/sp%20ace.txt", "/per%25cent.txt", "/%C3%BCn%C3%AF.txt", "/ünï.txt",
		"/q%3Fm.txt", "/q?m.txt", "/semi;colon.txt", "/plus+.txt", "/plus%2B.txt", "/tilde~.txt", "/tilde%7E.txt",
		"/f.txt?", "/f.txt?a=b&c", "/f.txt?%zz", "/f.txt?/../..", "/f.txt;v=1", "/%2Ff.txt", "/sub%2Fg.txt",
		"/f.txt%", "/f.txt%2", "/f.txt%zz", "/f.txt%00", "/f.txt%00.html", "/f.txt%0d%0aX:%20y", "/f.txt%7f", "/f.txt%5c",
		"/f.txt#fragment", "/f.txt%23x", "/f.txt\\", "/f\"<>.txt", "/f.txt|x", "/f.txt{}", "/f.txt^",
		// Out of the root and back.
		"/../secret.txt", "/sub/../../secret.txt", "/sub/../f.txt", "/./f.txt", "/sub/./g.txt", "/sub//g.txt", "//f.txt", "///f.txt",
		"/%2e%2e/secret.txt", "/%2E./secret.txt", "/sub/%2e%2e/f.txt", "/sub/%2e/g.txt", "/..%2fsecret.txt", "/%2e%2e%2fsecret.txt",
		"/..%5csecret.txt", "/..\\secret.txt", "/%252e%252e/secret.txt", "/%c0%ae%c0%ae/secret.txt", "/..;/secret.txt",
		"/....//secret.txt", "/...", "/..two", "/..", "/sub/..", "/../root/f.txt",
		// Dotfiles and links.
		"/.hidden", "/.git/config", "/.git", "/.missing", "/sub/.secret", "/.well-known/security.txt", "/.well-known/missing",
		"/inside", "/outside", "/absolute", "/loop", "/dangling", "/linkdir/g.txt", "/parent/secret.txt",
		"/fifo", "/fifo/",
	} {
		name := target
		if len(name) > 40 {
			name = fmt.Sprintf("%.20s… of %d bytes", target, len(target))
		}
		out = append(out, ask("path/"+name, http.MethodGet, target))
	}
	return append(out,
		ask("path/empty Host", "GET", plain), ask("path/HEAD of 300k", "HEAD", "/300k.bin"),
		ask("path/accepting gzip", "GET", "/page.html", "Accept-Encoding: gzip, br, zstd"),
		ask("path/Accept of another type", "GET", plain, "Accept: image/png"),
		ask("path/absolute", "GET", "http://{host}/f.txt"), ask("path/absolute directory", "GET", "http://other.example/sub?q"),
		ask("path/absolute without a path", "GET", "http://{host}"), ask("path/absolute https", "GET", "https://{host}/f.txt"),
		ask("path/absolute in capitals", "GET", "HTTP://{host}/f.txt"), ask("path/absolute with userinfo", "GET", "http://a:b@h/f.txt"),
		ask("path/absolute out of the root", "GET", "http://h/../secret.txt"), ask("path/ftp", "GET", "ftp://h/f.txt"),
		ask("path/relative", "GET", "f.txt"), ask("path/authority", "GET", "h:80"),
	)
}

func rangeCases() (out []request) {
	for _, v := range []string{
		"bytes=0-4", "bytes=0-0", "bytes=5-", "bytes=19-", "bytes=-5", "bytes=-1", "bytes=-20", "bytes=-100", "bytes=0-19", "bytes=0-",
		"bytes=0-100", "bytes=19-19", "bytes=0-99999999999999999999", "bytes=-99999999999999999999", "bytes=00000-00004",
		"bytes=-0", "bytes=20-", "bytes=20-25", "bytes=100-", "bytes=99999999999999999999-", "bytes=5-2",
		"BYTES=0-4", "Bytes=0-4", "bytes = 0-4", "bytes= 0-4", "bytes=0 - 4", "bytes=0-4 ", "bytes:0-4", "bytes", "bytes=", "bytes=,", "bytes=-",
		"bytes=abc", "bytes=a-4", "bytes=0-b", "bytes=0--1", "bytes=--1", "bytes=+0-4", "bytes=0x0-4", "bytes=1.0-4", "bytes=0-4-5", "bytes=4",
		"items=0-4", "items=0-4,bytes=0-4", "seconds=1-", "none=", "0-4", "",
		"bytes=0-1,5-6", "bytes=0-1, 5-6", "bytes=0-1 ,5-6", "bytes=,0-1,,5-6,", "bytes=5-6,0-1", "bytes=-2,0-1", "bytes=0-1,5-6,10-",
		"bytes=0-1,30-40", "bytes=30-40,0-1", "bytes=30-40,50-60", "bytes=-0,0-1", "bytes=0-1,abc", "bytes=0-1,5-2", "bytes=0-1,-",
		"bytes=0-5,3-9", "bytes=0-0,0-0", "bytes=0-,0-", "bytes=0-9,10-19", "bytes=0-19,0-1", "bytes=0-9,0-9,0-9",
		"bytes=" + strings.TrimSuffix(repeat(20, func(i int) string { return fmt.Sprintf("%d-%d,", i, i) }), ","),
	} {
		name := v
		if len(v) > 40 {
			name = "twenty of one byte"
		}
		out = append(out, ask("range/"+name, "GET", plain, "Range: "+v))
	}
	for _, v := range []string{"bytes=0-4", "bytes=-1", "bytes=-0", "bytes=0-", "bytes=20-", "bytes=abc", "bytes=0-1,5-6", "items=0-4"} {
		out = append(out,
			ask("range HEAD/"+v, "HEAD", plain, "Range: "+v),
			ask("range empty/"+v, "GET", "/empty.txt", "Range: "+v),
			ask("range young/"+v, "GET", "/young.txt", "Range: "+v),
			ask("range missing/"+v, "GET", "/missing", "Range: "+v),
			literal("range 1.0/"+v, "GET /f.txt HTTP/1.0\r\nRange: "+v+"\r\n\r\n"))
	}
	for _, v := range []string{"bytes=100-200", "bytes=8000-", "bytes=-8192", "bytes=0-8191", "bytes=10-19,4000-4009,-10",
		"bytes=0-99,150-199", "bytes=" + strings.TrimSuffix(repeat(65, func(i int) string { return fmt.Sprintf("%d-%d,", i*100, i*100+9) }), ","),
		"bytes=" + strings.TrimSuffix(repeat(64, func(i int) string { return fmt.Sprintf("%d-%d,", i*100, i*100+9) }), ",")} {
		name := v
		if len(v) > 40 {
			name = fmt.Sprintf("%d apart", strings.Count(v, ",")+1)
		}
		for _, target := range []string{"/8k.bin", "/8k1.bin", "/300k.bin"} {
			out = append(out, ask("range "+target[1:]+"/"+name, "GET", target, "Range: "+v))
		}
	}
	return append(out,
		ask("range/two fields", "GET", plain, "Range: bytes=0-4", "Range: bytes=5-9"),
		ask("range/on a redirect", "GET", "/sub", "Range: bytes=0-4"),
		ask("range/on POST", "POST", plain, "Range: bytes=0-4", "Content-Length: 0"))
}

func conditionalCases() (out []request) {
	tags := []string{
		"{tag}", "W/{tag}", `"other"`, `W/"other"`, "*", `"other", {tag}`, `"a","b" , W/{tag}`, `"other", "third"`, `{tag}, nonsense`,
		"nonsense", `nonsense, {tag}`, "", `""`, `"unclosed`, "w/{tag}", ", {tag}", "*, {tag}", `"a b", {tag}`,
	}
	for _, v := range tags {
		out = append(out, ask("If-None-Match/"+v, "GET", plain, "If-None-Match: "+v), ask("If-Match/"+v, "GET", plain, "If-Match: "+v))
	}
	dates := []string{
		"{date}", "{date-1}", "{date+1}", "{now}", "{far}", "{date-rfc850}", "{date-asctime}",
		"nonsense", "", "0", "Fri, 99 May 2024 10:20:30 GMT", "2024-05-17T10:20:30Z", "Thu, 01 Jan 1970 00:00:00 GMT",
	}
	for _, v := range dates {
		out = append(out, ask("If-Modified-Since/"+v, "GET", plain, "If-Modified-Since: "+v),
			ask("If-Unmodified-Since/"+v, "GET", plain, "If-Unmodified-Since: "+v))
	}
	for _, c := range [][2]string{
		{"If-None-Match: {tag}", "If-Modified-Since: {date-1}"}, {"If-None-Match: {tag}", "If-Modified-Since: {date}"},
		{`If-None-Match: "other"`, "If-Modified-Since: {date}"}, {`If-None-Match: "other"`, "If-Modified-Since: {date-1}"},
		{"If-Match: {tag}", "If-Unmodified-Since: {date-1}"}, {"If-Match: {tag}", "If-Unmodified-Since: {date}"},
		{`If-Match: "other"`, "If-Unmodified-Since: {date}"}, {"If-Match: {tag}", "If-None-Match: {tag}"},
		{`If-Match: "other"`, "If-None-Match: {tag}"}, {"If-Match: *", "If-None-Match: *"},
		{"If-Unmodified-Since: {date-1}", "If-None-Match: {tag}"}, {"If-Unmodified-Since: {date}", "If-Modified-Since: {date}"},
		{"If-Match: {tag}", "If-Modified-Since: {date}"},
		{"If-None-Match: {tag}", "Range: bytes=0-4"}, {`If-None-Match: "other"`, "Range: bytes=0-4"}, {"If-None-Match: {tag}", "Range: bytes=20-"},
		{"If-Modified-Since: {date}", "Range: bytes=0-4"}, {"If-Match: {tag}", "Range: bytes=0-4"}, {`If-Match: "other"`, "Range: bytes=0-4"},
		{`If-Match: "other"`, "Range: bytes=20-"}, {"If-Unmodified-Since: {date-1}", "Range: bytes=0-4"},
		{`If-None-Match: "other"`, "If-None-Match: {tag}"}, {"If-Modified-Since: {date-1}", "If-Modified-Since: {date}"},
	} {
		out = append(out, ask("both/"+c[0]+" + "+c[1], "GET", plain, c[0], c[1]))
	}
	for _, m := range []string{"HEAD", "POST", "OPTIONS"} {
		for _, v := range []string{"If-None-Match: {tag}", "If-None-Match: *", `If-Match: "other"`, "If-Modified-Since: {date}", "If-Unmodified-Since: {date-1}"} {
			out = append(out, ask("conditional "+m+"/"+v, m, plain, v))
		}
	}
	for _, target := range []string{"/missing", "/sub", "/sub/"} {
		for _, v := range []string{"If-None-Match: *", "If-Match: *", "If-Match: {tag}", "If-Modified-Since: {far}"} {
			out = append(out, ask("conditional "+target+"/"+v, "GET", target, v))
		}
	}
	for _, v := range []string{"If-None-Match: {young-tag}", "If-None-Match: W/{young-tag}", "If-Match: {young-tag}", "If-Match: W/{young-tag}",
		"If-Match: *", "If-Modified-Since: {young-date}", "If-Modified-Since: {now}", "If-Unmodified-Since: {now}", "If-Unmodified-Since: {young-date}"} {
		out = append(out, ask("conditional young/"+v, "GET", "/young.txt", v))
	}
	return append(out, ask("conditional empty/If-None-Match", "GET", "/empty.txt", "If-None-Match: {empty-tag}"))
}

func ifRangeCases() (out []request) {
	for _, v := range []string{"{tag}", "W/{tag}", `"other"`, "{date}", "{date+1}", "{date-1}", "{date-rfc850}", "{date-asctime}", "{far}",
		"nonsense", "", "*", `{tag}, "other"`, " {tag} "} {
		out = append(out, ask("If-Range/"+v, "GET", plain, "If-Range: "+v, "Range: bytes=0-4"))
	}
	return append(out,
		ask("If-Range/without Range", "GET", plain, `If-Range: "other"`),
		ask("If-Range/before an unsatisfiable range", "GET", plain, `If-Range: "other"`, "Range: bytes=20-"),
		ask("If-Range/holds for an unsatisfiable range", "GET", plain, `If-Range: {tag}`, "Range: bytes=20-"),
		ask("If-Range/several ranges", "GET", plain, "If-Range: {tag}", "Range: bytes=0-1,5-6"),
		ask("If-Range/several ranges of another version", "GET", plain, `If-Range: "other"`, "Range: bytes=0-1,5-6"),
		ask("If-Range/twice", "GET", plain, `If-Range: "other"`, "If-Range: {tag}", "Range: bytes=0-4"),
		ask("If-Range/HEAD", "HEAD", plain, "If-Range: {tag}", "Range: bytes=0-4"),
		ask("If-Range/young by tag", "GET", "/young.txt", "If-Range: {young-tag}", "Range: bytes=0-4"),
		ask("If-Range/young by weak tag", "GET", "/young.txt", "If-Range: W/{young-tag}", "Range: bytes=0-4"),
		ask("If-Range/young by date", "GET", "/young.txt", "If-Range: {young-date}", "Range: bytes=0-4"),
		ask("If-Range/with If-None-Match", "GET", plain, "If-Range: {tag}", "If-None-Match: {tag}", "Range: bytes=0-4"),
	)
}

func versionCases() (out []request) {
	for _, version := range []string{"HTTP/1.0", "HTTP/1.1", "HTTP/1.2", "HTTP/1.9"} {
		for _, c := range []string{"", "close", "Close", "CLOSE", "keep-alive", "Keep-Alive", "close, keep-alive", "keep-alive, close",
			"foo", "foo, close", "TE, close", "close,", "Upgrade"} {
			field, name := "", "no field"
			if c != "" {
				field, name = "Connection: "+c+"\r\n", c
			}
			out = append(out, literal("connection "+version+"/"+name, "GET /f.txt "+version+"\r\nHost: h\r\n"+field+"\r\n"))
		}
		out = append(out, literal("connection "+version+"/close on two lines",
			"GET /f.txt "+version+"\r\nHost: h\r\nConnection: foo\r\nConnection: close\r\n\r\n"),
			literal("connection "+version+"/HEAD", "HEAD /f.txt "+version+"\r\nHost: h\r\n\r\n"),
			literal("connection "+version+"/404", "GET /missing "+version+"\r\nHost: h\r\n\r\n"))
	}
	out = append(out, literal("connection HTTP/1.0/keep-alive and HEAD", "HEAD /f.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
		literal("connection HTTP/1.0/keep-alive and 304", "GET /f.txt HTTP/1.0\r\nConnection: keep-alive\r\nIf-None-Match: {tag}\r\n\r\n"),
		literal("connection HTTP/1.0/without Host", "GET /f.txt HTTP/1.0\r\n\r\n"),
		literal("connection HTTP/1.0/directory without Host", "GET /sub HTTP/1.0\r\n\r\n"),
		literal("connection HTTP/1.1/Upgrade to h2c", "GET /f.txt HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"),
		literal("connection HTTP/1.1/Proxy-Connection", "GET /f.txt HTTP/1.1\r\nHost: h\r\nProxy-Connection: close\r\n\r\n"))
	for _, v := range []string{"HTTP/0.9", "HTTP/2.0", "HTTP/3", "HTTP/9.9", "HTTP/1.10", "HTTP/01.1", "HTTP/1", "HTTP/1.", "HTTP/.1", "HTTP/1.1x", "http/1.1", "HTTPS/1.1", "HTTP 1.1"} {
		out = append(out, literal("version/"+v, "GET /f.txt "+v+"\r\nHost: h\r\n\r\n"))
	}
	return append(out,
		literal("version/none", "GET /f.txt\r\n"), literal("version/none, HEAD", "HEAD /f.txt\r\n"),
		literal("version/HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
}
