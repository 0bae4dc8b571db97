package admit_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fserve/fserve/server/admit"
)

func trust(t *testing.T, list ...string) admit.Trust {
	t.Helper()
	tr, err := admit.ParseTrust(list)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestClient(t *testing.T) {
	proxies := trust(t, "10.0.0.0/8", "2001:db8:ffff::/48", "192.0.2.1", "unix")
	const proxy = "10.0.0.1"
	for _, test := range []struct{ name, peer, forwarded, xff, want string }{
		{"nothing said", proxy, "", "", proxy},
		{"peer not trusted", "203.0.113.9", "for=1.2.3.4", "1.2.3.4", "203.0.113.9"},
		{"mapped peer is trusted", "::ffff:10.0.0.1", "", "1.2.3.4", "1.2.3.4"},
		{"mapped peer", "::ffff:203.0.113.9", "", "", "203.0.113.9"},
		{"unix peer", "", "", "1.2.3.4", "1.2.3.4"},
		{"unix peer, nothing said", "", "", "", ""},

		{"one hop", proxy, "", "1.2.3.4", "1.2.3.4"},
		{"right-most untrusted", proxy, "", "9.9.9.9, 1.2.3.4, 10.1.1.1", "1.2.3.4"},
		{"forged to the left", proxy, "", "10.9.9.9, 1.2.3.4", "1.2.3.4"},
		{"all trusted", proxy, "", "10.3.3.3, 10.2.2.2", "10.3.3.3"},
		{"single address trusted", proxy, "", "1.2.3.4,192.0.2.1", "1.2.3.4"},
		{"empty elements", proxy, "", ", 1.2.3.4, ,, 10.1.1.1,", "1.2.3.4"},
		{"only commas", proxy, "", " , ,", proxy},
		{"port", proxy, "", "1.2.3.4:5678", "1.2.3.4"},
		{"bare IPv6", proxy, "", "2001:db8::7", "2001:db8::7"},
		{"IPv6 with brackets", proxy, "", "[2001:db8::7]", "2001:db8::7"},
		{"IPv6 with port", proxy, "", "[2001:db8::7]:443", "2001:db8::7"},
		{"mapped hop", proxy, "", "::ffff:1.2.3.4", "1.2.3.4"},
		{"mapped hop that is trusted", proxy, "", "1.2.3.4, ::ffff:10.1.1.1", "1.2.3.4"},
		{"garbage", proxy, "", "1.2.3.4, nonsense", proxy},
		{"garbage left of a trusted hop", proxy, "", "nonsense, 10.1.1.1", "10.1.1.1"},
		{"garbage left of the client", proxy, "", "no sense, 1.2.3.4", "1.2.3.4"},
		{"half a bracket", proxy, "", "[2001:db8::7", proxy},
		{"other half", proxy, "", "2001:db8::7]", proxy},
		{"IPv4 in brackets", proxy, "", "[1.2.3.4]", proxy},
		{"IPv4 in brackets with port", proxy, "", "[1.2.3.4]:5", proxy},
		{"zone", proxy, "", "fe80::1%eth0", proxy},
		{"port too long", proxy, "", "1.2.3.4:123456", proxy},
		{"no port", proxy, "", "1.2.3.4:", proxy},
		{"very long", proxy, "", "1.2.3.4:_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", proxy},

		{"forwarded", proxy, "for=1.2.3.4", "", "1.2.3.4"},
		{"forwarded, names in any case", proxy, "proto=https;FOR=1.2.3.4;By=10.0.0.1", "", "1.2.3.4"},
		{"forwarded, quoted IPv6", proxy, `for="[2001:db8::7]"`, "", "2001:db8::7"},
		{"forwarded, quoted IPv6 and port", proxy, `for="[2001:db8::7]:4711"`, "", "2001:db8::7"},
		{"forwarded, obfuscated port", proxy, `for="1.2.3.4:_p.o-r_t"`, "", "1.2.3.4"},
		{"forwarded, bad obfuscated port", proxy, `for="1.2.3.4:_p o"`, "", proxy},
		{"forwarded, list", proxy, `for=9.9.9.9, for=1.2.3.4;proto=http, for=10.1.1.1`, "", "1.2.3.4"},
		{"forwarded, unknown", proxy, "for=1.2.3.4, for=unknown", "", proxy},
		{"forwarded, obfuscated", proxy, "for=1.2.3.4, for=_hidden, for=10.1.1.1", "", "10.1.1.1"},
		{"forwarded without for", proxy, "for=1.2.3.4, proto=https", "", proxy},
		{"forwarded, two fors", proxy, "for=1.2.3.4;for=5.6.7.8", "", proxy},
		{"forwarded, for without value", proxy, "for=", "", proxy},
		{"forwarded, for alone", proxy, "for", "", proxy},
		{"forwarded, separators in quotes", proxy, `for=1.2.3.4;host="a,b;for=6.6.6.6"`, "", "1.2.3.4"},
		{"forwarded, escaped quote", proxy, `for=1.2.3.4;host="a\",for=6.6.6.6"`, "", "1.2.3.4"},
		{"forwarded, quote without end", proxy, `for=1.2.3.4, for="5.6.7.8, for=6.6.6.6`, "", proxy},
		{"forwarded, escape in a node", proxy, `for="1.2.3.\4"`, "", proxy},
		{"forwarded, empty elements", proxy, `, for=1.2.3.4 ,,`, "", "1.2.3.4"},

		{"more hops than there can be", proxy, "", "1.2.3.4" + strings.Repeat(",10.1.1.1", 31), "1.2.3.4"},
		{"and more", proxy, "", "1.2.3.4" + strings.Repeat(",10.1.1.1", 32), "10.1.1.1"},
		{"both agree", proxy, "for=1.2.3.4", "1.2.3.4", "1.2.3.4"},
		{"both disagree", proxy, "for=6.6.6.6", "1.2.3.4", proxy},
	} {
		t.Run(test.name, func(t *testing.T) {
			var peer netip.Addr
			if test.peer != "" {
				peer = netip.MustParseAddr(test.peer)
			}
			got := proxies.Client(peer, test.peer == "", field(test.forwarded), field(test.xff), nil)
			if want := test.want; got.IsValid() && got.String() != want || !got.IsValid() && want != "" {
				t.Errorf("%v, want %q", got, want)
			}
		})
	}
}

// field returns a value as package wire does: nil if the field is not there.
func field(v string) []byte {
	if v == "" {
		return nil
	}
	return []byte(v)
}

func TestClientFieldIsChosen(t *testing.T) {
	tr := trust(t, "10.0.0.0/8")
	proxy := netip.MustParseAddr("10.0.0.1")
	forwarded, xff := []byte("for=6.6.6.6"), []byte("1.2.3.4")
	for _, test := range []struct {
		field          admit.ClientField
		forwarded, xff []byte
		want           string
	}{
		{admit.ClientFieldXFF, forwarded, xff, "1.2.3.4"},
		{admit.ClientFieldXFF, forwarded, nil, "10.0.0.1"},
		{admit.ClientFieldForwarded, forwarded, xff, "6.6.6.6"},
		{admit.ClientFieldForwarded, nil, xff, "10.0.0.1"},
	} {
		tr.Field = test.field
		if got := tr.Client(proxy, false, test.forwarded, test.xff, nil); got.String() != test.want {
			t.Errorf("field %d, %q, %q: %v, want %s", test.field, test.forwarded, test.xff, got, test.want)
		}
	}
}

func TestNobodyIsTrustedByDefault(t *testing.T) {
	var nobody admit.Trust
	for peer, unix := range map[string]bool{"127.0.0.1": false, "::1": false, "": true} {
		a, _ := netip.ParseAddr(peer)
		if got := nobody.Client(a, unix, []byte("for=1.2.3.4"), []byte("1.2.3.4"), []byte("1.2.3.4")); got != a {
			t.Errorf("peer %q: %v", peer, got)
		}
	}
	// A TCP peer that is gone has no address either, and is not on a Unix socket.
	tr := trust(t, "unix")
	if got := tr.Client(netip.Addr{}, false, nil, []byte("1.2.3.4"), nil); got.IsValid() {
		t.Errorf("a peer without an address is believed: %v", got)
	}
}

func TestParseTrust(t *testing.T) {
	for _, bad := range []string{"", "10.0.0.0/33", "ten", "10.0.0.0-10.0.0.9", "Unix"} {
		if tr, err := admit.ParseTrust([]string{"10.0.0.0/8", bad}); err == nil {
			t.Errorf("%q: %+v", bad, tr)
		}
	}
	for network, in := range map[string]string{
		"10.1.2.3/8": "10.9.9.9", "::ffff:10.0.0.0/104": "10.9.9.9", "::ffff:192.0.2.1": "192.0.2.1",
		"2001:db8::/32": "2001:db8:1::1", "0.0.0.0/0": "8.8.8.8",
	} {
		if tr := trust(t, network); !tr.Contains(netip.MustParseAddr(in)) {
			t.Errorf("%s does not contain %s", network, in)
		} else if tr.Contains(netip.MustParseAddr("fe80::1")) {
			t.Errorf("%s contains fe80::1", network)
		}
	}
}

// Whatever fields say, the client is the peer or an address that they contain, and
// never one to the left of an untrusted one.
func FuzzClient(f *testing.F) {
	f.Add("for=1.2.3.4, for=\"[2001:db8::7]:_x\";by=a, for=10.0.0.2", "1.2.3.4, [::1]:5, 10.0.0.3")
	f.Add("for=\"", "[")
	f.Add("for=\"\\", ":")
	peer := netip.MustParseAddr("10.0.0.1")
	nets := netip.MustParsePrefix("10.0.0.0/8")
	f.Fuzz(func(t *testing.T, forwarded, xff string) {
		for _, choice := range []admit.ClientField{admit.ClientFieldAuto, admit.ClientFieldForwarded, admit.ClientFieldXFF} {
			tr := admit.Trust{Networks: []netip.Prefix{nets}, Field: choice}
			base := tr.Client(peer, false, []byte(forwarded), []byte(xff), nil)
			if !base.IsValid() || base.Zone() != "" || base.Is4In6() {
				t.Fatalf("%q, %q: %v", forwarded, xff, base)
			}
			// What a client puts in front of a field changes nothing, unless all
			// that came behind it was trusted.
			forged := tr.Client(peer, false, []byte("for=6.6.6.6,"+forwarded), []byte("6.6.6.6,"+xff), nil)
			if !nets.Contains(base) && forged != base && strings.Count(forwarded, `"`) == 0 {
				t.Fatalf("%q, %q: %v becomes %v", forwarded, xff, base, forged)
			}
		}
	})
}

// The longest fields that a head can hold, of which every part must be looked at.
func BenchmarkClient(b *testing.B) {
	const size = 15 << 10
	tr := admit.Trust{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Field: admit.ClientFieldForwarded}
	for name, field := range map[string]string{
		"hops":    strings.Repeat(`for="[2001:db8::7]",`, (size-40*13)/20) + strings.Repeat("for=10.0.0.1,", 40),
		"padded":  `by="` + strings.Repeat("a", size-40*13) + `"` + strings.Repeat(",for=10.0.0.1", 40),
		"pairs":   strings.Repeat("a=b;", size/4),
		"nothing": strings.Repeat(",", size),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tr.Client(netip.MustParseAddr("10.0.0.9"), false, []byte(field), nil, nil)
			}
		})
	}
}

func TestRealIP(t *testing.T) {
	proxy := netip.MustParseAddr("10.0.0.1")
	tr := admit.Trust{Networks: []netip.Prefix{netip.PrefixFrom(proxy, 32)}, Field: admit.ClientFieldXRealIP}
	for value, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", " 2001:db8::1 ": "2001:db8::1", "[2001:db8::1]:80": "2001:db8::1", "192.0.2.1:80": "192.0.2.1",
		"": "10.0.0.1", "unknown": "10.0.0.1", "192.0.2.1, 192.0.2.2": "10.0.0.1",
	} {
		if got := tr.Client(proxy, false, []byte("for=1.2.3.4"), []byte("1.2.3.4"), []byte(value)); got.String() != want {
			t.Errorf("%q: %v, want %s", value, got, want)
		}
	}
	if got := tr.Client(netip.MustParseAddr("10.0.0.2"), false, nil, nil, []byte("192.0.2.1")); got.String() != "10.0.0.2" {
		t.Errorf("the word of somebody else is taken: %v", got)
	}
	tr.Field = admit.ClientFieldAuto
	if got := tr.Client(proxy, false, nil, nil, []byte("192.0.2.1")); got != proxy {
		t.Errorf("it is taken unasked: %v", got)
	}
}
