package proxyproto

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
)

// v2 renders a header of version 2 with its length set to that of the rest.
func v2(command, family byte, rest string) string {
	return string(proxyproto.SIGV2) + string([]byte{command, family, byte(len(rest) >> 8), byte(len(rest))}) + rest
}

func TestParseProxyHeader(t *testing.T) {
	const tcp4 = "\x01\x02\x03\x04\x0a\x00\x00\x01\x16\x2e\x00\x50"
	tcp6 := strings.Repeat("\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07", 2) + "\x16\x2e\x00\x50"
	for _, test := range []struct{ name, header, client string }{
		{"v1 TCP4", "PROXY TCP4 1.2.3.4 10.0.0.1 5678 80\r\n", "1.2.3.4:5678"},
		{"v1 TCP6", "PROXY TCP6 2001:db8::7 2001:db8::1 5678 80\r\n", "[2001:db8::7]:5678"},
		{"v1 mapped", "PROXY TCP6 ::ffff:1.2.3.4 2001:db8::1 5678 80\r\n", "1.2.3.4:5678"},
		{"v1 unknown", "PROXY UNKNOWN\r\n", "-"},
		{"v1 unknown, with addresses", "PROXY UNKNOWN 1.2.3.4 10.0.0.1 1 2\r\n", "-"},
		{"v2 TCP4", v2(0x21, 0x11, tcp4), "1.2.3.4:5678"},
		{"v2 TCP6", v2(0x21, 0x21, tcp6), "[2001:db8::7]:5678"},
		{"v2 with more fields", v2(0x21, 0x11, tcp4+"\x03\x00\x04abcd"), "1.2.3.4:5678"},
		{"v2 Unix", v2(0x21, 0x31, strings.Repeat("a", 216)), "invalid AddrPort"},
		{"v2 not specified", v2(0x21, 0x00, ""), "-"},
		{"v2 not specified, with more fields", v2(0x21, 0x00, "\x03\x00\x04abcd"), "-"},
		{"v2 local", v2(0x20, 0x00, ""), "-"},
		{"v2 local, with an address", v2(0x20, 0x11, tcp4), "-"},
		{"v2 longest", v2(0x20, 0x00, strings.Repeat("\x00", maxV2)), "-"},
	} {
		t.Run(test.name, func(t *testing.T) {
			whole := []byte(test.header)
			for n := range whole {
				if n, _, _, err := Parse(whole[:n]); n != 0 || err != nil {
					t.Fatalf("the first %d bytes are taken for a header of %d: %v", len(whole[:n]), n, err)
				}
			}
			n, client, named, err := Parse(append(whole, "GET"...))
			if err != nil || n != len(whole) {
				t.Fatalf("%d, %v; want %d", n, err, len(whole))
			}
			if named && client.String() != test.client || !named && (test.client != "-" || client != netip.AddrPort{}) {
				t.Errorf("client %v %v, want %s", client, named, test.client)
			}
		})
	}
}

func TestBadProxyHeader(t *testing.T) {
	for name, header := range map[string]string{
		"a request":                "GET / HTTP/1.1\r\n",
		"almost v1":                "PROXX",
		"almost v2":                "\r\n\r\n\x00\r\nQUIX",
		"v1 without end":           "PROXY TCP4 " + strings.Repeat("1", maxV1-len("PROXY TCP4 ")),
		"v1 LF alone":              "PROXY TCP4 1.2.3.4 10.0.0.1 5678 80\n",
		"v1 port":                  "PROXY TCP4 1.2.3.4 10.0.0.1 65536 80\r\n",
		"v1 IPv6 in TCP4":          "PROXY TCP4 2001:db8::7 10.0.0.1 5678 80\r\n",
		"v1 family":                "PROXY UDP4 1.2.3.4 10.0.0.1 5678 80\r\n",
		"v1 word":                  "PROXYx TCP4 1.2.3.4 10.0.0.1 5678 80\r\n",
		"v2 version 1":             v2(0x11, 0x11, strings.Repeat("a", 12)),
		"v2 command":               v2(0x22, 0x11, strings.Repeat("a", 12)),
		"v2 family":                v2(0x21, 0x41, strings.Repeat("a", 12)),
		"v2 address cut off":       v2(0x21, 0x11, "\x01\x02"),
		"v2 datagram":              v2(0x21, 0x12, strings.Repeat("a", 12)),
		"v2 too long to be honest": v2(0x21, 0x11, strings.Repeat("\x00", maxV2+1)),
	} {
		if n, client, named, err := Parse([]byte(header)); err == nil {
			t.Errorf("%s: %d bytes, %v %v", name, n, client, named)
		}
	}
}

// Whatever comes, a header is taken as what it is or refused, and a part of it is
// never refused if the whole is taken.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 1.2.3.4 10.0.0.1 5678 80\r\nGET"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(v2(0x21, 0x11, "\x01\x02\x03\x04\x0a\x00\x00\x01\x16\x2e\x00\x50") + "GET"))
	f.Add([]byte(v2(0x20, 0x00, "")))
	f.Fuzz(func(t *testing.T, p []byte) {
		kept := bytes.Clone(p)
		n, _, _, err := Parse(p)
		if !bytes.Equal(p, kept) || n > len(p) || n > maxV2+fixedV2 || n > 0 && err != nil {
			t.Fatalf("%q: %d, %v", p, n, err)
		}
		if n == 0 {
			return
		}
		for i := range n {
			if m, _, _, err := Parse(p[:i]); m != 0 || err != nil {
				t.Fatalf("%q: the first %d bytes give %d, %v", p, i, m, err)
			}
		}
	})
}
