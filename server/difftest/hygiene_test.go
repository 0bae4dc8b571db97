package difftest

import (
	"fmt"
	"strings"
)

// hygieneCases are heads that are malformed, or look so.
func hygieneCases() (out []request) {
	line := func(s string) string { return "GET /f.txt HTTP/1.1\r\nHost: h\r\n" + s + "\r\n\r\n" }
	for _, c := range [][2]string{
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"},
		{"SSH", "SSH-2.0-OpenSSH_9.6\r\n"},
		{"two spaces before the version", "GET /f.txt  HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"two spaces before the target", "GET  /f.txt HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"tab before the target", "GET\t/f.txt HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"tab before the version", "GET /f.txt\tHTTP/1.1\r\nHost: h\r\n\r\n"},
		{"space before the method", " GET /f.txt HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"space behind the version", "GET /f.txt HTTP/1.1 \r\nHost: h\r\n\r\n"},
		{"space in the target", "GET /f .txt HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"no method", "/f.txt HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"no target", "GET HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"NUL in the target", "GET /f\x00.txt HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"DEL in the target", "GET /f\x7f.txt HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"control in the target", "GET /f\x01.txt HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"empty line before", "\r\nGET /f.txt HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"two empty lines before", "\r\n\r\nGET /f.txt HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"LF before", "\nGET /f.txt HTTP/1.1\r\nHost: h\r\n\r\n"},

		{"LF everywhere", "GET /f.txt HTTP/1.1\nHost: h\n\n"},
		{"LF behind the request line", "GET /f.txt HTTP/1.1\nHost: h\r\n\r\n"},
		{"LF behind a field", "GET /f.txt HTTP/1.1\r\nHost: h\nX: y\r\n\r\n"},
		{"LF at the end", "GET /f.txt HTTP/1.1\r\nHost: h\r\n\n"},
		{"CR in the request line", "GET /f.txt\rHTTP/1.1\r\nHost: h\r\n\r\n"},
		{"CR in a value", line("X: a\rb")},
		{"CR before the name", line("\rX: a")},
		{"CR CR LF", "GET /f.txt HTTP/1.1\r\r\nHost: h\r\n\r\n"},
		{"NUL in a value", line("X: a\x00b")},
		{"control in a value", line("X: a\x01b")},
		{"DEL in a value", line("X: a\x7fb")},
		{"bytes over 127 in a value", line("X: \xff\xfe")},
		{"tab in a value", line("X: a\tb")},

		{"space before the colon", "GET /f.txt HTTP/1.1\r\nHost : h\r\n\r\n"},
		{"space before the colon of another", line("X : y")},
		{"tab before the colon", line("X\t: y")},
		{"space in a name", line("X Y: z")},
		{"no colon", line("nonsense")},
		{"no name", line(": x")},
		{"underscore in a name", line("X_Y: z")},
		{"bad byte in a name", line("X(Y): z")},
		{"at sign in a name", line("X@Y: z")},
		{"byte over 127 in a name", line("X\xff: z")},
		{"NUL in a name", line("X\x00: z")},
		{"folded line", line("X: a\r\n b")},
		{"folded by a tab", line("X: a\r\n\tb")},
		{"folded first line", "GET /f.txt HTTP/1.1\r\n Host: h\r\n\r\n"},
		{"no value", line("X:")},
		{"no space behind the colon", line("X:y")},
		{"white space around a value", line("X: \t y \t ")},
		{"names in odd case", "GET /f.txt HTTP/1.1\r\nhOsT:h\r\nCONNECTION: Keep-Alive\r\n\r\n"},

		{"no Host", "GET /f.txt HTTP/1.1\r\n\r\n"},
		{"empty Host", "GET /f.txt HTTP/1.1\r\nHost:\r\n\r\n"},
		{"two Hosts", "GET /f.txt HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
		{"the same Host twice", "GET /f.txt HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"},
		{"two Hosts in one", "GET /f.txt HTTP/1.1\r\nHost: a, b\r\n\r\n"},
		{"Host with a path", "GET /f.txt HTTP/1.1\r\nHost: a/b\r\n\r\n"},
		{"Host with userinfo", "GET /f.txt HTTP/1.1\r\nHost: u@a\r\n\r\n"},
		{"Host with a great port", "GET /f.txt HTTP/1.1\r\nHost: a:99999\r\n\r\n"},
		{"Host with a bad port", "GET /f.txt HTTP/1.1\r\nHost: a:b\r\n\r\n"},
		{"Host with no port", "GET /f.txt HTTP/1.1\r\nHost: a:\r\n\r\n"},
		{"Host of IPv6", "GET /f.txt HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"},
		{"Host of half IPv6", "GET /f.txt HTTP/1.1\r\nHost: [::1\r\n\r\n"},
		{"Host with a space", "GET /f.txt HTTP/1.1\r\nHost: a b\r\n\r\n"},
		{"Host of dots", "GET /f.txt HTTP/1.1\r\nHost: ..\r\n\r\n"},
		{"Host with NUL", "GET /f.txt HTTP/1.1\r\nHost: a\x00b\r\n\r\n"},
		{"no Host but an absolute target", "GET http://h/f.txt HTTP/1.1\r\n\r\n"},
		{"another Host than the target", "GET http://h/f.txt HTTP/1.1\r\nHost: other\r\n\r\n"},

		{"expectation that is not known", line("Expect: 200-ok")},
		{"expectation without a body", line("Expect: 100-continue")},
	} {
		out = append(out, literal("head/"+c[0], c[1]))
	}
	// What never becomes a whole head: the client ends its side.
	for _, c := range [][2]string{
		{"nothing", ""}, {"half a method", "GE"}, {"half a line", "GET /f.txt HT"}, {"a line", "GET /f.txt HTTP/1.1\r\n"},
		{"half a head", "GET /f.txt HTTP/1.1\r\nHost: h\r\n"}, {"empty lines", "\r\n"},
		{"a request", "GET /f.txt HTTP/1.1\r\nHost: h\r\n\r\n"}, {"half a body", "GET /f.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab"},
		{"a request and a half", "GET /f.txt HTTP/1.1\r\nHost: h\r\n\r\nGET /f.t"},
	} {
		q := literal("end of input/"+c[0], c[1])
		q.ends = true
		out = append(out, q)
	}
	return out
}

// framingCases are requests of which programs may disagree where they end.
func framingCases() (out []request) {
	for _, c := range [][2]string{
		{"two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n\r\nAAAAA"},
		{"two equal lengths", "Content-Length: 5\r\nContent-Length: 5\r\n\r\nAAAAA"},
		{"list of equal lengths", "Content-Length: 5, 5\r\n\r\nAAAAA"},
		{"negative length", "Content-Length: -1\r\n\r\n"},
		{"signed length", "Content-Length: +5\r\n\r\nAAAAA"},
		{"hexadecimal length", "Content-Length: 0x5\r\n\r\nAAAAA"},
		{"length with a space", "Content-Length: 1 0\r\n\r\nAAAAA"},
		{"length with leading zeros", "Content-Length: 0000000000000000000000000000000000005\r\n\r\nAAAAA"},
		{"length over 63 bits", "Content-Length: 9223372036854775808\r\n\r\n"},
		{"empty length", "Content-Length:\r\n\r\n"},
		{"length and chunked", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"chunked and length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"},
		{"chunked twice", "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"},
		{"chunked on two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"chunked not last", "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"},
		{"identity", "Transfer-Encoding: identity\r\n\r\n"},
		{"gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
		{"xchunked", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"},
		{"empty coding", "Transfer-Encoding:\r\n\r\n"},
		{"Chunked in capitals", "Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n"},
		{"vertical tab before chunked", "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n"},
		{"tab in the name of the coding's field", "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"},
	} {
		for _, m := range []string{"GET", "POST"} {
			out = append(out, literal("framing "+m+"/"+c[0], m+" /f.txt HTTP/1.1\r\nHost: h\r\n"+c[1]))
		}
	}
	return append(out, literal("framing GET/chunked in HTTP/1.0", "GET /f.txt HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
}

// bodyCases are bodies that nobody asked for.
func bodyCases() (out []request) {
	length := func(n int) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", n, strings.Repeat("b", n)) }
	const chunks = "Transfer-Encoding: chunked\r\n\r\n"
	for _, c := range [][2]string{
		{"none", "\r\n"}, {"length 0", length(0)}, {"5 bytes", length(5)}, {"60,000 bytes", length(60_000)},
		{"100,000 bytes", length(100_000)}, {"2 MiB", length(2 << 20)},
		{"a request", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(keptRequest), keptRequest)},
		{"chunks", chunks + "5\r\nAAAAA\r\n3\r\nBBB\r\n0\r\n\r\n"}, {"no chunk", chunks + "0\r\n\r\n"},
		{"chunk with extension", chunks + "5;a=b;c\r\nAAAAA\r\n0\r\n\r\n"}, {"chunk in capitals", chunks + "A\r\nAAAAAAAAAA\r\n0\r\n\r\n"},
		{"trailer", chunks + "5\r\nAAAAA\r\n0\r\nX: y\r\n\r\n"},
		{"bad chunk size", chunks + "ZZ\r\n"}, {"negative chunk size", chunks + "-1\r\n"}, {"hexadecimal chunk size", chunks + "0x5\r\nAAAAA\r\n0\r\n\r\n"},
		{"chunk size with a space", chunks + "5 \r\nAAAAA\r\n0\r\n\r\n"}, {"LF behind a chunk size", chunks + "5\nAAAAA\r\n0\r\n\r\n"},
		{"chunk longer than its size", chunks + "5\r\nAAAAAA\r\n0\r\n\r\n"}, {"huge chunk size", chunks + "FFFFFFFFFFFFFFFFF\r\n"},
		{"bad trailer", chunks + "0\r\nbad trailer\r\n\r\n"},
		{"expected", "Expect: 100-continue\r\n" + length(5)}, {"expected chunks", "Expect: 100-continue\r\n" + chunks + "5\r\nAAAAA\r\n0\r\n\r\n"},
	} {
		for _, target := range []string{plain, "/missing"} {
			out = append(out, literal("body GET "+target+"/"+c[0], "GET "+target+" HTTP/1.1\r\nHost: h\r\n"+c[1]))
		}
		out = append(out, literal("body POST/"+c[0], "POST /f.txt HTTP/1.1\r\nHost: h\r\n"+c[1]))
	}
	return append(out,
		literal("body HTTP/1.0/length", "GET /f.txt HTTP/1.0\r\nConnection: keep-alive\r\n"+length(3)),
		literal("body HTTP/1.0/expected", "GET /f.txt HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n"+length(3)),
		literal("body HEAD/5 bytes", "HEAD /f.txt HTTP/1.1\r\nHost: h\r\n"+length(5)))
}

// pipelineCases are several requests in one packet.
func pipelineCases() []request {
	of := func(name string, raws ...string) request {
		q := request{name: "pipeline/" + name, raw: strings.Join(raws, "")}
		for _, r := range raws {
			q.methods = append(q.methods, literal("", r).methods...)
		}
		return q
	}
	get, head, big := raw("GET", plain), raw("HEAD", plain), raw("GET", "/300k.bin")
	return []request{
		of("two", get, get), of("HEAD first", head, get), of("HEADs", head, head, raw("HEAD", "/300k.bin"), get),
		of("ten", strings.Split(strings.Repeat(get+"\x1f", 9)+get, "\x1f")...),
		of("great ones", big, get, big, raw("GET", "/8k.bin"), raw("GET", "/8k1.bin")),
		of("ranges", raw("GET", plain, "Range: bytes=0-4"), raw("GET", "/300k.bin", "Range: bytes=-5"), raw("GET", plain, "Range: bytes=0-1,5-6")),
		of("404 between", get, raw("GET", "/missing"), get), of("304 between", get, raw("GET", plain, "If-None-Match: {tag}"), get),
		of("416 between", get, raw("GET", plain, "Range: bytes=20-"), get), of("412 between", get, raw("GET", plain, `If-Match: "other"`), get),
		of("OPTIONS between", get, raw("OPTIONS", plain), get), of("POST between", get, raw("POST", plain, "Content-Length: 0"), get),
		of("redirect between", get, raw("GET", "/sub"), get),
		of("bodies between", get, raw("GET", plain, "Content-Length: 3")+"abc", raw("GET", plain, "Transfer-Encoding: chunked")+"1\r\na\r\n0\r\n\r\n", get),
		of("empty line between", get, "\r\n"+get), of("close first", raw("GET", plain, "Connection: close"), get),
		of("close last", get, raw("GET", "/300k.bin", "Connection: close")), of("malformed last", get, big, "GET /f.txt HTTP/1.1\r\n\r\n"),
		of("malformed first", "GET /f.txt HTTP/1.1\r\n\r\n", get), of("HTTP/1.0 last", get, "GET /f.txt HTTP/1.0\r\n\r\n"),
		of("HTTP/1.0 first", "GET /f.txt HTTP/1.0\r\n\r\n", get),
	}
}

// limitCases are heads that are long but not endless.
func limitCases() []request {
	long := func(n int) string { return strings.Repeat("a", n) }
	return []request{
		ask("limit/target of 4,000 bytes", "GET", plain+"?"+long(4000)), ask("limit/target of 8,000 bytes", "GET", plain+"?"+long(8000)),
		ask("limit/target of 9,000 bytes", "GET", plain+"?"+long(9000)), ask("limit/target of 40,000 bytes", "GET", plain+"?"+long(40_000)),
		ask("limit/field of 4,000 bytes", "GET", plain, "X: "+long(4000)), ask("limit/field of 9,000 bytes", "GET", plain, "X: "+long(9000)),
		ask("limit/field of 17,000 bytes", "GET", plain, "X: "+long(17_000)), ask("limit/name of 9,000 bytes", "GET", plain, long(9000)+": x"),
		ask("limit/three fields of 5,000 bytes", "GET", plain, "X: "+long(5000), "Y: "+long(5000), "Z: "+long(5000)),
		ask("limit/six fields of 5,000 bytes", "GET", plain, "A: "+long(5000), "B: "+long(5000), "C: "+long(5000), "D: "+long(5000), "E: "+long(5000), "F: "+long(5000)),
		ask("limit/90 fields", "GET", plain, strings.TrimSpace(strings.Repeat("X: y\r\n", 90))),
		ask("limit/200 fields", "GET", plain, strings.TrimSpace(strings.Repeat("X: y\r\n", 200))),
	}
}
