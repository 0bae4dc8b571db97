package load

import (
	"strings"
	"testing"
)

func TestParseHead(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     head
		ok       bool
		err      string // part of it
	}{
		{"complete", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde", head{200, 5, 38}, true, ""},
		{"any case", "HTTP/1.1 206 Partial Content\r\ncontent-LENGTH:7\r\n\r\n", head{206, 7, 50}, true, ""},
		{"no reason", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", head{200, 0, 35}, true, ""},
		{"no end yet", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r", head{}, false, ""},
		{"nothing yet", "", head{}, false, ""},
		{"no length", "HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", head{}, false, "without Content-Length"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", head{}, false, "header line"},
		{"negative length", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", head{}, false, "header line"},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", head{}, false, "Transfer-Encoding"},
		{"line without colon", "HTTP/1.1 200 OK\r\nwhat\r\n\r\n", head{}, false, "header line"},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", head{}, false, "status line"},
		{"four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\n", head{}, false, "status line"},
		{"no number", "HTTP/1.1 abc OK\r\nContent-Length: 5\r\n\r\n", head{}, false, "status line"},
		{"too long", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHead), head{}, false, "over"},
	} {
		h, ok, err := parseHead([]byte(tc.in))
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: error %v, want %q", tc.name, err, tc.err)
			}
			continue
		}
		if err != nil || ok != tc.ok || (ok && h != tc.want) {
			t.Errorf("%s: %+v %v %v, want %+v %v", tc.name, h, ok, err, tc.want, tc.ok)
		}
	}
}
