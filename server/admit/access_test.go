package admit_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fserve/fserve/server/admit"
)

func access(t testing.TB, allow, deny string) (a admit.Access) {
	t.Helper()
	var err error
	if a.Allow, err = admit.ParseNetworks(strings.Fields(allow)); err != nil {
		t.Fatal(err)
	}
	if a.Deny, err = admit.ParseNetworks(strings.Fields(deny)); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAccess(t *testing.T) {
	for _, test := range []struct {
		allow, deny string
		client      string // empty: not known; unix: not known, on a Unix socket
		want        bool
	}{
		{"", "", "192.0.2.1", true},
		{"", "", "", true},
		{"192.0.2.0/24", "", "192.0.2.1", true},
		{"192.0.2.0/24", "", "192.0.3.1", false},
		{"192.0.2.0/24", "", "::ffff:192.0.2.1", true},
		{"::ffff:192.0.2.0/120", "", "192.0.2.1", true},
		{"192.0.2.0/24", "", "2001:db8::1", false},
		{"192.0.2.0/24", "", "", false},
		{"192.0.2.0/24", "", "unix", false},
		{"unix", "", "unix", true},
		{"unix", "", "", false},
		{"unix", "", "192.0.2.1", false},
		{"all", "", "192.0.2.1", true},
		{"all", "", "2001:db8::1", true},
		{"all", "", "unix", true},
		{"all", "", "", true},
		{"0.0.0.0/0 ::/0", "", "", false},
		{"", "192.0.2.0/24", "", false},
		{"", "unix", "", false},
		{"all", "192.0.2.0/24", "", false},
		{"", "192.0.2.0/24", "192.0.2.1", false},
		{"", "192.0.2.0/24", "192.0.3.1", true},
		{"", "192.0.2.0/24", "unix", true},
		{"", "unix", "unix", false},
		{"", "all", "2001:db8::1", false},
		{"", "fe80::/10", "fe80::1%eth0", false},
		{"192.0.2.1", "192.0.2.0/24", "192.0.2.1", true}, // the smaller one
		{"192.0.2.1", "192.0.2.0/24", "192.0.2.2", false},
		{"192.0.2.0/24", "192.0.2.1", "192.0.2.1", false},
		{"192.0.2.0/24", "192.0.2.1", "192.0.2.2", true},
		{"192.0.2.0/24", "192.0.2.0/24", "192.0.2.2", false}, // both
		{"192.0.2.1 all", "192.0.2.0/24", "198.51.100.1", true},
	} {
		a, addr := access(t, test.allow, test.deny), netip.Addr{}
		if test.client != "" && test.client != "unix" {
			addr = netip.MustParseAddr(test.client)
		}
		if got := a.Allows(addr, test.client == "unix"); got != test.want {
			t.Errorf("allow %q, deny %q: %q is %t", test.allow, test.deny, test.client, got)
		}
	}
	for _, bad := range []string{"", "x", "192.0.2.0/33", "192.0.2", "192.0.2.1:80"} {
		if _, err := admit.ParseNetworks([]string{bad}); err == nil {
			t.Errorf("%q is a network", bad)
		}
	}
}
