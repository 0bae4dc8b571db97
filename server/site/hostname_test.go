package site

import (
	"net/netip"
	"strings"
	"testing"
)

func TestHostName(t *testing.T) {
	long := strings.Repeat("a.", 126) + "a"
	for _, test := range []struct{ host, want string }{
		{"", ""},
		{"example.com", "example.com"},
		{"EXAMPLE.Com", "example.com"},
		{"example.com:80", "example.com"},
		{"example.com:", "example.com"},
		{"example.com.", "example.com"},
		{"Example.COM.:8080", "example.com"},
		{"example.com..", ""},
		{".", ""},
		{"192.0.2.1:80", "192.0.2.1"},
		{"[2001:DB8:0::1]", "[2001:db8::1]"},
		{"[2001:db8:0:0:0:0:0:1]:443", "[2001:db8::1]"},
		{"[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]"},
		{"[::1", ""},
		{"[::1]x", ""},
		{"[::1]:8x", ""},
		{"[fe80::1%25eth0]", "[fe80::1]"},
		{"[fe80::1%eth0]:8080", "[fe80::1]"},
		{"[fe80::1%" + strings.Repeat("a", 100) + "]", "[fe80::1]"},
		{"[192.0.2.1]", ""},
		{"[" + strings.Repeat("0", 200) + "]", ""},
		{"example.com:8o", ""},
		{"a:b:c", ""},
		{"under_score", "under_score"},
		{long, long},
		{long + "a", ""},
	} {
		if got := string(appendHostName([]byte("x"), []byte(test.host))); got != "x"+test.want {
			t.Errorf("%q: %q, want %q", test.host, got[1:], test.want)
		}
	}
}

func TestCheckHostName(t *testing.T) {
	for _, test := range []struct{ name, same, fault string }{
		{"example.com", "example.com", ""},
		{"Example.com.", "example.com", ""},
		{"*.Example.com", "*.example.com", ""},
		{"localhost", "localhost", ""},
		{"[::1]", "[::1]", ""},
		{"[0:0::1]", "[::1]", ""},
		{"192.0.2.1", "192.0.2.1", ""},
		{"xn--bcher-kva.example", "xn--bcher-kva.example", ""},
		{"", "", "needs a name"},
		{"*", "", "first labels"},
		{"a.*.com", "", "first labels"},
		{"*.*.com", "", "first labels"},
		{"*.", "", "not the name"},
		{"*.[::1]", "", "not the name"},
		{"bücher.example", "", "ASCII"},
		{"example.com:80", "", "without port"},
		{"[::1]:80", "", "without port"},
		{"[fe80::1%eth0]", "", "without port and zone"},
		{"::1", "", "brackets"},
		{"a..b", "", "not the name"},
		{".example.com", "", "not the name"},
		{"a b", "", "not the name"},
		{"http://a", "", "without port"},
		{"a/b", "", "not the name"},
		{strings.Repeat("a", 64), "", "not the name"},
	} {
		same, err := CheckHostName(test.name)
		if same != test.same || (err == nil) != (test.fault == "") {
			t.Errorf("%q: %q, %v", test.name, same, err)
		}
		if err != nil && !strings.Contains(err.Error(), test.fault) {
			t.Errorf("%q: %v, want %q", test.name, err, test.fault)
		}
	}
}

// A normalised name is normalised; how a request writes the name makes no
// difference; and what can be configured is found.
func FuzzHostName(f *testing.F) {
	for _, s := range []string{"", "a", "A.b.:80", "[::1]:80", "[2001:DB8::]", "a..", "*.a.b", "[::ffff:1.2.3.4]", "a:1:2", "::1", "a\x00b", "ü.de", "\u212a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		name := string(appendHostName(nil, []byte(host)))
		if again := string(appendHostName(nil, []byte(name))); again != name {
			t.Fatalf("%q is %q, which is %q", host, name, again)
		}
		if strings.ContainsFunc(name, func(r rune) bool { return 'A' <= r && r <= 'Z' }) || strings.HasSuffix(name, ".") {
			t.Fatalf("%q is %q", host, name)
		}
		if literal, ok := strings.CutPrefix(name, "["); ok {
			a, err := netip.ParseAddr(strings.TrimSuffix(literal, "]"))
			if err != nil || "["+a.String()+"]" != name {
				t.Fatalf("%q is %q: %v", host, name, err)
			}
		}
		if short := string(withoutPort([]byte(host))); short != name && string(appendHostName(nil, []byte(short))) == short {
			t.Fatalf("%q is found by %q without being normalised, and is %q", host, short, name)
		}
		same, err := CheckHostName(host)
		if err != nil || strings.HasPrefix(same, "*") {
			return
		}
		for _, written := range []string{host, same, strings.ToUpper(same), same + ":8080", same + ":"} {
			if got := string(appendHostName(nil, []byte(written))); got != same {
				t.Fatalf("%q is configured as %q, and found by %q, of %q", host, same, got, written)
			}
		}
	})
}
