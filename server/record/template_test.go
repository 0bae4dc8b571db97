package record

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/wire"
)

// requestHead is a head as a client sends it.
const requestHead = "GET /a%20b?q=1 HTTP/1.1\r\nHost: Dl.example.com:8443\r\nUser-Agent: a\"\\\t\xe9\r\nX-Real-Ip: 1.2.3.4\r\nX-Empty:\r\n\r\n"

func TestTemplate(t *testing.T) {
	var h wire.Head
	if _, r := h.Parse([]byte(requestHead), 0, wire.Limits{}.WithDefaults()); r != wire.OK {
		t.Fatal(r)
	}
	q := Request{
		Head: &h, Client: netip.MustParseAddr("192.0.2.1"), Peer: netip.MustParseAddrPort("192.0.2.1:5000"),
		Encrypted: true, Status: 206, HeadLen: 100, Port: 8443,
	}
	o := engine.Outcome{End: engine.Complete, Start: 1_500_000_000, Duration: 1_234_000_000}
	o.Bytes[engine.ViaSendfile] = 1100
	now := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.Local)
	for _, c := range []struct {
		text   string
		escape Escape
		want   string
	}{
		{"$remote_addr:$remote_port $remote_user", EscapeDefault, "192.0.2.1:5000 -"},
		{"[$time_local]", EscapeDefault, "[" + now.Format("02/Jan/2006:15:04:05 -0700") + "]"},
		{"$time_iso8601 $msec", EscapeDefault, now.Format("2006-01-02T15:04:05-07:00") + " " + string(appendSeconds(nil, now.UnixNano()))},
		{`"$request" $request_method $request_uri ${args}x`, EscapeDefault, `"GET /a%20b?q=1 HTTP/1.1" GET /a%20b?q=1 q=1x`},
		{"$scheme://$host:$server_port $server_protocol", EscapeDefault, "https://Dl.example.com:8443 HTTP/1.1"},
		{"$status $body_bytes_sent $bytes_sent $request_time $request_completion", EscapeDefault, "206 1000 1100 1.734 OK"},
		{"$http_user_agent|$http_x_real_ip|$http_x_empty|$http_none", EscapeDefault, `a\x22\x5C\x09\xE9|1.2.3.4|-|-`},
		{`{"ua":"$http_user_agent","none":"$http_none"}`, EscapeJSON, `{"ua":"a\"\\\u0009\ufffd","none":""}`},
		{"$http_user_agent $http_none.", EscapeNone, "a\"\\\t\xe9 ."},
		{"$outcome $sent_by", EscapeDefault, "complete copy"},
	} {
		if c.escape == EscapeJSON {
			c.want = strings.ReplaceAll(c.want, `\ufffd`, "\uFFFD")
		}
		template, err := ParseTemplate(c.text, c.escape)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		var buf strings.Builder
		a := NewAccessLog(&buf)
		a.template = template
		r := NewRecorder(new(Rows).filled())
		rec := Record{Began: 1_000_000_000}
		r.Begin(&rec, a, &q)
		if n := testing.AllocsPerRun(100, func() {
			r.Begin(&rec, a, &q)
			r.End(&rec, &o, now.UnixNano())
		}); n != 0 {
			t.Errorf("%s: %v allocations", c.text, n)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if line, _, _ := strings.Cut(buf.String(), "\n"); line != c.want {
			t.Errorf("%s: %q, want %q", c.text, line, c.want)
		}
	}
}

func (r *Rows) filled() *Rows { r.Assign(nil); return r }

func TestTemplateFaults(t *testing.T) {
	for text, want := range map[string]string{
		"$remote_addr $foo":       "at 14: there is no variable $foo",
		"a $ b":                   "at 3: a $ without the name of a variable",
		"${status":                "at 1: a $ without the name of a variable",
		"$http_":                  "at 1: there is no variable $http_",
		"$status\n":               "at 8: a line of the log has no line feeds in it",
		strings.Repeat("x", 5000): "a format has at most 4096 bytes",
		"$http_a" + fields(16):    "at 113: $http_q is one field too many: a format has 16",
	} {
		if _, err := ParseTemplate(text, EscapeDefault); err == nil || err.Error() != want {
			t.Errorf("%.40s: %v, want %s", text, err, want)
		}
	}
}

// fields are $http_ variables of n names.
func fields(n int) (s string) {
	for i := range n {
		s += "$http_" + string(rune('b'+i))
	}
	return s
}

// Of a place that samples, a part of the successes and all else have a line.
func TestSample(t *testing.T) {
	r, log := NewRecorder(new(Rows).filled()), new(AccessLog)
	count := func(l Logging, status int) (n int) {
		for range 10_000 {
			if r.Wants(&l, status) {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		sample    float64
		status    int
		low, high int
	}{{1, 200, 10_000, 10_000}, {0.1, 200, 700, 1300}, {0.1, 206, 700, 1300}, {-1, 200, 0, 0}, {-1, 404, 10_000, 10_000}, {0.1, 304, 10_000, 10_000}, {0.1, 503, 10_000, 10_000}} {
		if n := count(Logging{log, c.sample}, c.status); n < c.low || n > c.high {
			t.Errorf("%+v: %d of 10000", c, n)
		}
	}
	if n := count(Logging{Sample: 1}, 500); n != 0 {
		t.Errorf("%d without a log", n)
	}
}
