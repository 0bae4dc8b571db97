package wire

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// summary says in one line what a head holds, as far as it is not the default of
// a GET with HTTP/1.1.
func summary(h *Head) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", h.Method(), h.Target())
	show := func(ok bool, format string, args ...any) {
		if ok {
			fmt.Fprintf(&b, " "+format, args...)
		}
	}
	show(h.Form != OriginForm, "form=%d", h.Form)
	show(h.Minor != 1, "1.%d", h.Minor)
	show(!bytes.Equal(h.Path(), h.Target()), "path=%s", h.Path())
	show(h.Query() != nil, "query=%s", h.Query())
	show(string(h.Host()) != "h", "host=%s", h.Host())
	show(!h.KeepAlive, "close")
	show(h.ContentLength >= 0, "length=%d", h.ContentLength)
	show(h.Chunked, "chunked")
	show(h.HasBody(), "body")
	show(h.Expect100, "expect")
	for f := noField + 1; f < numField; f++ {
		show(h.Repeated(f), "repeated=%v", f)
	}
	return b.String()
}

const hostLF = "Host: h\r\n"

// accepted are heads that must be taken, with what they mean.
var accepted = []struct{ head, want string }{
	// Request line.
	{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET /"},
	{"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET /"},
	{"get / HTTP/1.1\r\nHost: h\r\n\r\n", "get /"},
	{"!#$%&'*+-.^_`|~09azAZ / HTTP/1.1\r\nHost: h\r\n\r\n", "!#$%&'*+-.^_`|~09azAZ /"},
	{"ABCDEFGHIJABCDEFGHIJABCDEFGHIJAB / HTTP/1.1\r\nHost: h\r\n\r\n", "ABCDEFGHIJABCDEFGHIJABCDEFGHIJAB /"},
	{"GET / HTTP/1.0\r\n\r\n", "GET / 1.0 host= close"},
	{"GET / HTTP/1.2\r\nHost: h\r\n\r\n", "GET /"},
	{"GET / HTTP/1.9\r\nHost: h\r\n\r\n", "GET /"},
	// Targets.
	{"GET /a/b.c?d=e?f&g HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a/b.c?d=e?f&g path=/a/b.c query=d=e?f&g"},
	{"GET /? HTTP/1.1\r\nHost: h\r\n\r\n", "GET /? path=/ query="},
	{"GET //a//b/../c HTTP/1.1\r\nHost: h\r\n\r\n", "GET //a//b/../c"},
	{"GET /%41%2f%00%fF HTTP/1.1\r\nHost: h\r\n\r\n", "GET /%41%2f%00%fF"},
	{"GET /?100% HTTP/1.1\r\nHost: h\r\n\r\n", "GET /?100% path=/ query=100%"},
	{"GET /?a%zz HTTP/1.1\r\nHost: h\r\n\r\n", "GET /?a%zz path=/ query=a%zz"},
	{"GET /[a]^`{|}\\ HTTP/1.1\r\nHost: h\r\n\r\n", "GET /[a]^`{|}\\"},
	{"GET /\xc3\xa9\xff HTTP/1.1\r\nHost: h\r\n\r\n", "GET /\xc3\xa9\xff"},
	{"GET http://o HTTP/1.1\r\nHost: h\r\n\r\n", "GET http://o form=1 path=/ host=o"},
	{"GET http://o/ HTTP/1.1\r\nHost: h\r\n\r\n", "GET http://o/ form=1 path=/ host=o"},
	{"GET http://o?q HTTP/1.1\r\nHost: h\r\n\r\n", "GET http://o?q form=1 path=/ query=q host=o"},
	{"GET http://o:8/p?q HTTP/1.1\r\nHost: h\r\n\r\n", "GET http://o:8/p?q form=1 path=/p query=q host=o:8"},
	{"GET HTTPS://O/p HTTP/1.1\r\nHost: h\r\n\r\n", "GET HTTPS://O/p form=1 path=/p host=O"},
	{"GET http://[::1]:80/p HTTP/1.1\r\nHost:\r\n\r\n", "GET http://[::1]:80/p form=1 path=/p host=[::1]:80"},
	{"GET http://o/p HTTP/1.0\r\n\r\n", "GET http://o/p form=1 1.0 path=/p host=o close"},
	{"GET http://o/a:b@c HTTP/1.1\r\nHost: h\r\n\r\n", "GET http://o/a:b@c form=1 path=/a:b@c host=o"},
	{"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * form=3 path="},
	{"OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS /"},
	{"CONNECT o:443 HTTP/1.1\r\nHost: h\r\n\r\n", "CONNECT o:443 form=2 path= host=o:443"},
	{"CONNECT [::]:1 HTTP/1.1\r\nHost: h\r\n\r\n", "CONNECT [::]:1 form=2 path= host=[::]:1"},
	// Field lines.
	{"GET / HTTP/1.1\r\nhOsT:h\r\n\r\n", "GET /"},
	{"GET / HTTP/1.1\r\nHost: \t h \t\r\n\r\n", "GET /"},
	{"GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / host="},
	{"GET / HTTP/1.1\r\n" + hostLF + "A:\r\nB: \t \r\n!#$%&'*+-.^_`|~9:x\r\n\r\n", "GET /"},
	{"GET / HTTP/1.1\r\n" + hostLF + "A: \x80\xff \t b : c\r\n\r\n", "GET /"},
	// Connection.
	{"GET / HTTP/1.1\r\n" + hostLF + "Connection: CLOSE\r\n\r\n", "GET / close"},
	{"GET / HTTP/1.1\r\n" + hostLF + "Connection: a,\tClose ,b\r\n\r\n", "GET / close"},
	{"GET / HTTP/1.1\r\n" + hostLF + "Connection: closed, xclose, close2\r\n\r\n", "GET /"},
	{"GET / HTTP/1.1\r\n" + hostLF + "Connection:\r\nConnection: ,,close\r\n\r\n", "GET / close repeated=connection"},
	{"GET / HTTP/1.1\r\n" + hostLF + "Connection: keep-alive, close\r\n\r\n", "GET / close"},
	{"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n" + hostLF + "\r\n", "GET / 1.0"},
	{"GET / HTTP/1.0\r\nConnection: te, keep-alive\r\n" + hostLF + "\r\n", "GET / 1.0"},
	{"GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n" + hostLF + "\r\n", "GET / 1.0 close repeated=connection"},
	{"GET / HTTP/1.0\r\nKeep-Alive: 1\r\n" + hostLF + "\r\n", "GET / 1.0 close"},
	// Bodies.
	{"GET / HTTP/1.1\r\n" + hostLF + "Content-Length: 0\r\n\r\n", "GET / length=0"},
	{"PUT / HTTP/1.1\r\n" + hostLF + "Content-Length: 007\r\n\r\n", "PUT / length=7 body"},
	{"PUT / HTTP/1.1\r\n" + hostLF + "content-length:9223372036854775807\r\n\r\n", "PUT / length=9223372036854775807 body"},
	{"PUT / HTTP/1.0\r\n" + hostLF + "Content-Length: 5\r\n\r\n", "PUT / 1.0 close length=5 body"},
	{"PUT / HTTP/1.1\r\n" + hostLF + "Transfer-Encoding: chunked\r\n\r\n", "PUT / chunked body"},
	{"PUT / HTTP/1.1\r\n" + hostLF + "TRANSFER-ENCODING:\tCHUNKED \r\n\r\n", "PUT / chunked body"},
	// Expectations.
	{"PUT / HTTP/1.1\r\n" + hostLF + "Expect: 100-continue\r\n\r\n", "PUT / expect"},
	{"PUT / HTTP/1.1\r\n" + hostLF + "Expect: 100-Continue\r\nExpect: , 100-CONTINUE\r\n\r\n", "PUT / expect repeated=expect"},
	{"PUT / HTTP/1.1\r\n" + hostLF + "Expect:\r\n\r\n", "PUT /"},
	{"PUT / HTTP/1.0\r\n" + hostLF + "Expect: 100-continue\r\n\r\n", "PUT / 1.0 close"},
	{"PUT / HTTP/1.0\r\n" + hostLF + "Expect: fire\r\n\r\n", "PUT / 1.0 close"},
	// Repeated fields.
	{"GET / HTTP/1.1\r\n" + hostLF + "Range: a\r\nrange: b\r\n\r\n", "GET / repeated=range"},
	{"GET / HTTP/1.1\r\n" + hostLF + "X: a\r\nX: b\r\n\r\n", "GET /"},
}

func TestAccepted(t *testing.T) {
	var h Head
	for _, c := range accepted {
		for _, tail := range []string{"", "\r\n\r\n", "GET / HTTP/1.1\r\n", "\x00\xff"} {
			n, r := h.Parse([]byte(c.head+tail), 0, Limits{})
			if n != len(c.head) || r != OK || h.Len() != n {
				t.Errorf("%q + %q: %d, %v; want %d", c.head, tail, n, r, len(c.head))
			} else if got := summary(&h); got != c.want {
				t.Errorf("%q: got  %s\nwant %s", c.head, got, c.want)
			}
		}
	}
}

const requestLF = "GET / HTTP/1.1\r\n"

// refused are heads with a fault.
var refused = []struct {
	head string
	want Reason
}{
	// The beginning.
	{"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", BadMethod},
	{"\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", BareLF},
	{"\rGET / HTTP/1.1\r\nHost: h\r\n\r\n", BareCR},
	{" GET / HTTP/1.1\r\nHost: h\r\n\r\n", BadMethod},
	{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n", BadMethod},
	// Method.
	{"\r\n /\r\n\r\n", BadMethod},
	{"G@T / HTTP/1.1\r\nHost: h\r\n\r\n", BadMethod},
	{"GET\x00 / HTTP/1.1\r\nHost: h\r\n\r\n", BadMethod},
	{"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", BadMethod},
	{"G\xc3\x89T / HTTP/1.1\r\nHost: h\r\n\r\n", BadMethod},
	{"GET\r\nHost: h\r\n\r\n", BadMethod},
	{"GET\nHost: h\r\n\r\n", BareLF},
	{"GET:/ HTTP/1.1\r\nHost: h\r\n\r\n", BadMethod},
	{"ABCDEFGHIJABCDEFGHIJABCDEFGHIJABC / HTTP/1.1\r\nHost: h\r\n\r\n", MethodTooLong},
	// Target.
	{"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET HTTP/1.1\r\nHost: h\r\n\r\n", BadVersion},
	{"GET  HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET \r\nHost: h\r\n\r\n", BadTarget},
	{"GET \t/ HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET /\t HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET /\x00 HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET /\x0b HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET /#f HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET /?#f HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET /\" HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET /<a> HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET /% HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET /%4 HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET /%4g HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET /%g4 HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET /%? HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET a HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET ../a HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET ?a HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET \\a HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET * HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"OPTIONS ** HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"OPTIONS */ HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"options * HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"CONNECT h HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"CONNECT h: HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"CONNECT :1 HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"CONNECT h:1/ HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"CONNECT http://h:1 HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET file:///etc HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET http: HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET http:/ HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET http:// HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET http:/h/ HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET http:/hi/ HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET http:h/i/ HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET http:///p HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET http://?q HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET http://:80/ HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET http://u:p@h/ HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET http://h:x/ HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET http://h\\p HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	{"GET http://[::1/ HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget},
	// Version.
	{"GET /\r\n\r\n", BadVersion},
	{"GET /\n", BareLF},
	{"GET / \r\n\r\n", BadVersion},
	{"GET / a HTTP/1.1\r\nHost: h\r\n\r\n", BadVersion},
	{"GET /  HTTP/1.1\r\nHost: h\r\n\r\n", BadVersion},
	{"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", BadVersion},
	{"GET / HTTP/1.1\t\r\nHost: h\r\n\r\n", BadVersion},
	{"GET / http/1.1\r\nHost: h\r\n\r\n", BadVersion},
	{"GET / HTTP/11\r\nHost: h\r\n\r\n", BadVersion},
	{"GET / HTTP/1\r\nHost: h\r\n\r\n", BadVersion},
	{"GET / HTTP/1.\r\nHost: h\r\n\r\n", BadVersion},
	{"GET / HTTP/1.10\r\nHost: h\r\n\r\n", BadVersion},
	{"GET / HTTP/1.1a\r\nHost: h\r\n\r\n", BadVersion},
	{"GET / HTTP/01.1\r\nHost: h\r\n\r\n", BadVersion},
	{"GET / HTTP/1,1\r\nHost: h\r\n\r\n", BadVersion},
	{"GET / XTTP/1.1\r\nHost: h\r\n\r\n", BadVersion},
	{"GET / HTTP/+1.1\r\nHost: h\r\n\r\n", BadVersion},
	{"GET / HTTP/1.1\nHost: h\r\n\r\n", BareLF},
	{"GET / HTTP/1.1\rHost: h\r\n\r\n", BareCR},
	{"GET / HTTP/1.1\r\r\nHost: h\r\n\r\n", BareCR},
	{"GET / HTTP/0.9\r\n\r\n", UnsupportedVersion},
	{"GET / HTTP/2.0\r\nHost: h\r\n\r\n", UnsupportedVersion},
	{"GET / HTTP/3.1\r\nHost: h\r\n\r\n", UnsupportedVersion},
	{"GET / HTTP/9.9\r\nHost: h\r\n\r\n", UnsupportedVersion},
	{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", UnsupportedVersion},
	// Lines.
	{"GET / HTTP/1.1\r\nHost: h\n\r\n", BareLF},
	{"GET / HTTP/1.1\r\nHost: h\r\n\n", BareLF},
	{"GET / HTTP/1.1\r\nHost: h\r\n\r\r\n", BareCR},
	{"GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", BareCR},
	{"GET / HTTP/1.1\r\nHost: h\ra\r\n\r\n", BareCR},
	{"GET / HTTP/1.1\r\nHost: h\r\n\ra\r\n", BareCR},
	{"GET / HTTP/1.1\r\n Host: h\r\n\r\n", ObsFold},
	{"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", ObsFold},
	{"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\tc: d\r\n\r\n", ObsFold},
	{"GET / HTTP/1.1\r\nHost: h\r\n \r\n\r\n", ObsFold},
	// Host.
	{"GET / HTTP/1.1\r\n\r\n", NoHost},
	{"GET http://h/ HTTP/1.1\r\n\r\n", NoHost},
	{"GET / HTTP/1.1\r\nA: Host: h\r\n\r\n", NoHost},
	{"GET / HTTP/1.2\r\n\r\n", NoHost},
	{"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", RepeatedHost},
	{"GET / HTTP/1.0\r\nHost: h\r\nhost: i\r\n\r\n", RepeatedHost},
	{"GET / HTTP/1.1\r\nHost:\r\nHost: h\r\n\r\n", RepeatedHost},
	{"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", BadHost},
	{"GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", BadHost},
	{"GET http://h/ HTTP/1.1\r\nHost: a/b\r\n\r\n", BadHost},
}

// refusedLines are faults in a line of an otherwise good head.
var refusedLines = []struct {
	line string
	want Reason
}{
	// Names.
	{"A : b", BadFieldName},
	{"A\t: b", BadFieldName},
	{": b", BadFieldName},
	{"A", BadFieldName},
	{"A b: c", BadFieldName},
	{"A(b): c", BadFieldName},
	{"A\"b\": c", BadFieldName},
	{"A/b: c", BadFieldName},
	{"A[0]: c", BadFieldName},
	{"A{0}: c", BadFieldName},
	{"A=b", BadFieldName},
	{"A,b: c", BadFieldName},
	{"A;b: c", BadFieldName},
	{"A@b: c", BadFieldName},
	{"A\\b: c", BadFieldName},
	{"A\x00: b", BadFieldName},
	{"A\x7f: b", BadFieldName},
	{"\xc3\xa9: b", BadFieldName},
	{"A\r: b", BareCR},
	{"A\n: b", BareLF},
	{"GET / HTTP/1.1", BadFieldName},
	// Values.
	{"A: \x00", BadFieldValue},
	{"A:\x01b", BadFieldValue},
	{"A: b\x08", BadFieldValue},
	{"A: \x0b", BadFieldValue},
	{"A: \x0c", BadFieldValue},
	{"A: a long value, with a control\x1f character at its end", BadFieldValue},
	{"A: a long value, with a delete\x7f character in it", BadFieldValue},
	{"A: \x1b[31m", BadFieldValue},
	// Content-Length.
	{"Content-Length:", BadContentLength},
	{"Content-Length: +1", BadContentLength},
	{"Content-Length: -1", BadContentLength},
	{"Content-Length: 1 2", BadContentLength},
	{"Content-Length: 1,1", BadContentLength},
	{"Content-Length: 1, 1", BadContentLength},
	{"Content-Length: 0x1", BadContentLength},
	{"Content-Length: 1.0", BadContentLength},
	{"Content-Length: 1e1", BadContentLength},
	{"Content-Length: 1_0", BadContentLength},
	{"Content-Length: \"1\"", BadContentLength},
	{"Content-Length: \xd9\xa1", BadContentLength},
	{"Content-Length: 9223372036854775808", BadContentLength},
	{"Content-Length: 18446744073709551617", BadContentLength},
	{"Content-Length: 99999999999999999999999999999999", BadContentLength},
	{"Content-Length: 5\r\nContent-Length: 5", RepeatedLength},
	{"Content-Length: 5\r\nContent-Length: 6", RepeatedLength},
	{"Content-Length: 5\r\nContent-length:", RepeatedLength},
	// Expect.
	{"Expect: 200-ok", UnknownExpectation},
	{"Expect: 100-continue2", UnknownExpectation},
	{"Expect: 100-continue, fire", UnknownExpectation},
	{"Expect: 100-continue\r\nExpect: fire", UnknownExpectation},
	{"Expect: 100-continue;q=1", UnknownExpectation},
}

// smuggling are the known ways to make two programs disagree on the length of a
// body, as lines of a request that also has Host.
var smuggling = []struct {
	lines string
	want  Reason
}{
	// CL.TE and TE.CL.
	{"Content-Length: 6\r\nTransfer-Encoding: chunked", LengthAndEncoding},
	{"Transfer-Encoding: chunked\r\nContent-Length: 4", LengthAndEncoding},
	{"Content-Length: 0\r\nTransfer-Encoding: chunked", LengthAndEncoding},
	{"Content-Length: 4\r\nTransfer-Encoding: identity", LengthAndEncoding},
	{"Content-Length: 4\r\nTransfer-Encoding: xchunked", LengthAndEncoding},
	{"Content-Length: 4\r\nTransfer-Encoding:", LengthAndEncoding},
	{"content-length:4\r\ntransfer-encoding:chunked", LengthAndEncoding},
	// CL.CL.
	{"Content-Length: 8\r\nContent-Length: 7", RepeatedLength},
	{"Content-Length: 0\r\nA: b\r\nContent-Length: 44", RepeatedLength},
	{"Content-Length: 8, 7", BadContentLength},
	{"Content-Length: 8\x0b", BadFieldValue},
	{"Content-Length : 8", BadFieldName},
	{"Content-Length\x00: 8", BadFieldName},
	{" Content-Length: 8", ObsFold},
	{"Content-Length:\r\n 8", BadContentLength},
	{"Content-Length: 0 44", BadContentLength},
	// TE.TE: the name.
	{"Transfer-Encoding : chunked", BadFieldName},
	{"Transfer-Encoding\t: chunked", BadFieldName},
	{"Transfer-Encoding\x0b: chunked", BadFieldName},
	{"Transfer-Encoding\x00: chunked", BadFieldName},
	{"Transfer-Encoding\xa0: chunked", BadFieldName},
	{"Transfer-Encoding\r\n : chunked", BadFieldName},
	{"Transfer-Encoding\r\n: chunked", BadFieldName},
	{"Transfer-Encoding\n: chunked", BareLF},
	{" Transfer-Encoding: chunked", ObsFold},
	{"\tTransfer-Encoding: chunked", ObsFold},
	{"\x0bTransfer-Encoding: chunked", BadFieldName},
	{"\xffTransfer-Encoding: chunked", BadFieldName},
	{"A: b\nTransfer-Encoding: chunked", BareLF},
	{"A: b\rTransfer-Encoding: chunked", BareCR},
	{"A: b\r\n Transfer-Encoding: chunked", ObsFold},
	{"A: b\r\n\tTransfer-Encoding: chunked", ObsFold},
	{"A: b\x00Transfer-Encoding: chunked", BadFieldValue},
	{"A\nTransfer-Encoding: chunked", BareLF},
	{"Transfer Encoding: chunked", BadFieldName},
	{"Transfer-Encoding", BadFieldName},
	// TE.TE: the value.
	{"Transfer-Encoding: xchunked", UnknownTransferCoding},
	{"Transfer-Encoding: chunkedx", UnknownTransferCoding},
	{"Transfer-Encoding: chunk", UnknownTransferCoding},
	{"Transfer-Encoding: chunke\xc4\x8f", UnknownTransferCoding},
	{"Transfer-Encoding: identity", UnknownTransferCoding},
	{"Transfer-Encoding: gzip", UnknownTransferCoding},
	{"Transfer-Encoding: gzip, chunked", UnknownTransferCoding},
	{"Transfer-Encoding: identity, chunked", UnknownTransferCoding},
	{"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", UnknownTransferCoding},
	{"Transfer-Encoding: x\r\nTransfer-Encoding: chunked", UnknownTransferCoding},
	{"Transfer-Encoding:", UnknownTransferCoding},
	{"Transfer-Encoding: ,chunked", UnknownTransferCoding},
	{"Transfer-Encoding: chunked;", UnknownTransferCoding},
	{"Transfer-Encoding: chunked;q=1", UnknownTransferCoding},
	{"Transfer-Encoding: \"chunked\"", UnknownTransferCoding},
	{"Transfer-Encoding: 'chunked'", UnknownTransferCoding},
	{"Transfer-Encoding: chunked chunked", UnknownTransferCoding},
	{"Transfer-Encoding: cow chunked", UnknownTransferCoding},
	{"Transfer-Encoding: \xa0chunked", UnknownTransferCoding},
	{"Transfer-Encoding: chunked,", BadTransferEncoding},
	{"Transfer-Encoding: chunked, identity", BadTransferEncoding},
	{"Transfer-Encoding: chunked, chunked", BadTransferEncoding},
	{"Transfer-Encoding: chunked, gzip", BadTransferEncoding},
	{"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", BadTransferEncoding},
	{"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", BadTransferEncoding},
	{"Transfer-Encoding: chunked\r\nTransfer-encoding: cow", BadTransferEncoding},
	{"Transfer-Encoding: chunked\r\nTransfer-Encoding:", BadTransferEncoding},
	{"Transfer-Encoding: \x0bchunked", BadFieldValue},
	{"Transfer-Encoding: \x0cchunked", BadFieldValue},
	{"Transfer-Encoding: \x00chunked", BadFieldValue},
	{"Transfer-Encoding: chunked\x0b", BadFieldValue},
	{"Transfer-Encoding: chunked\x7f", BadFieldValue},
	{"Transfer-Encoding: chun\x08ked", BadFieldValue},
	{"Transfer-Encoding:\r\n chunked", ObsFold},
	{"Transfer-Encoding:\r\n\tchunked", ObsFold},
	{"Transfer-Encoding:\n chunked", BareLF},
	{"Transfer-Encoding: chunked\r", BareCR},
	{"Transfer-Encoding: chunked\r\n identity", ObsFold},
	{"Transfer-Encoding: chunked\nA: b", BareLF},
}

// refusals returns all refused heads, complete, with the reasons.
func refusals() map[string]Reason {
	m := make(map[string]Reason)
	for _, c := range refused {
		m[c.head] = c.want
	}
	for _, c := range refusedLines {
		m[requestLF+hostLF+c.line+"\r\n\r\n"] = c.want
		m[requestLF+"Accept: */*\r\n"+c.line+"\r\n"+hostLF+"\r\n"] = c.want
	}
	for _, c := range smuggling {
		m["POST / HTTP/1.1\r\n"+hostLF+c.lines+"\r\n\r\n0\r\n\r\nG"] = c.want
	}
	for _, coding := range []string{"chunked", "identity", "gzip, chunked", ""} {
		m["POST / HTTP/1.0\r\n"+hostLF+"Transfer-Encoding: "+coding+"\r\n\r\n"] = BadTransferEncoding
	}
	return m
}

func TestRefused(t *testing.T) {
	var h Head
	for head, want := range refusals() {
		if n, r := h.Parse([]byte(head), 0, Limits{}); n != 0 || r != want {
			t.Errorf("%q: %d, %v; want %v", head, n, r, want)
		}
	}
}

func TestReasonsHaveStatus(t *testing.T) {
	seen := make(map[string]Reason)
	for r := OK + 1; r < NumReason; r++ {
		if s := r.Status(); s < 400 || s > 505 {
			t.Errorf("%v: status %d", r, s)
		}
		if other, ok := seen[r.String()]; ok || r.String() == "" {
			t.Errorf("reasons %d and %d have the text %q", other, r, r)
		}
		seen[r.String()] = r
	}
	if OK.Status() != 0 || NumReason.Status() != 400 || NumReason.String() != "unknown" {
		t.Error("OK or NumReason")
	}
}

func TestStatus(t *testing.T) {
	for status, reasons := range map[int][]Reason{
		413: {BodyTooLarge},
		414: {TargetTooLong},
		417: {UnknownExpectation},
		431: {HeadTooLarge, TooManyFields},
		501: {MethodTooLong, UnknownTransferCoding},
		505: {UnsupportedVersion},
	} {
		for _, r := range reasons {
			if r.Status() != status {
				t.Errorf("%v: status %d, want %d", r, r.Status(), status)
			}
		}
	}
}
