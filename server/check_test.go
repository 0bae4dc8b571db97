package server

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Check finds what New would refuse, and leaves nothing open.
func TestCheck(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "404.html"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	before := openDescriptors(t)
	for _, test := range []struct {
		name, want string
		cfg        Config
	}{
		{"good", "", Config{Site: Site{Root: root, ErrorPages: map[int]Page{404: {Path: "/404.html"}}}}},
		{"root", "no such file", Config{Site: Site{Root: root + "/none"}}},
		{"page", "404=/none.html", Config{Site: Site{Root: root, ErrorPages: map[int]Page{404: {Path: "/none.html"}}}}},
		{"header", "Date cannot be set", Config{Site: Site{Root: root, Headers: []HeaderRule{{Match: "/", Name: "Date", Value: "now"}}}}},
		{"certificate", "no such file", Config{Site: Site{Root: root}, TLS: TLS{Listen: []string{":0"}, CertFile: root + "/c", KeyFile: root + "/k"}}},
	} {
		err := Check(test.cfg)
		if (test.want == "") != (err == nil) || err != nil && (!errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	if after := openDescriptors(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
