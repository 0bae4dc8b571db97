package main_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A second server at an address of the first does not start, whichever of its listeners
// that is for; what was bound is said as it is.
func TestAddressInUse(t *testing.T) {
	root, _, _ := site(t)
	cert, key := writePair(t, t.TempDir())
	socket := "unix:" + filepath.Join(t.TempDir(), "s")
	first := serve(t, nil, "--root", root, "--listen", "0.0.0.0:0,"+socket, "--tls-listen", "127.0.0.1:0", "--tls-cert", cert,
		"--tls-key", key, "--admin", "127.0.0.1:0", "--workers=2")
	first.wantLog("admin listener on")
	if !strings.HasPrefix(first.addrs[1], "0.0.0.0:") {
		t.Errorf("the start line has %q", first.addrs[1])
	}
	admin := regexp.MustCompile(`admin listener on http://(\S+)`).FindStringSubmatch(first.errors())[1]
	secure := strings.TrimPrefix(first.addrs[3], "https://")
	for _, taken := range []string{first.addrs[1], socket, secure, admin} {
		for _, args := range [][]string{
			{"--listen", taken},
			{"--listen", "127.0.0.1:0", "--admin", taken},
			{"--listen", "127.0.0.1:0", "--tls-listen", taken, "--tls-cert", cert, "--tls-key", key},
		} {
			if len(args) > 4 && taken == socket {
				continue // TLS is for TCP
			}
			r := fserve(t, []string{"FSERVE_ADMIN_TOKEN=x"}, append([]string{"--root", root, "--workers=2"}, args...)...)
			if r.code != 69 || !strings.Contains(r.stderr, "address already in use") {
				t.Errorf("%q: code %d, %s", args, r.code, r.stderr)
			}
		}
	}
}
