package server

import (
	"errors"
	"io/fs"
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
		{"good", "", Config{Site: Site{Root: root, ErrorPages: map[int]string{404: "/404.html"}}}},
		{"root", "no such file", Config{Site: Site{Root: root + "/none"}}},
		{"page", "404=/none.html", Config{Site: Site{Root: root, ErrorPages: map[int]string{404: "/none.html"}}}},
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

// A log that is moved goes on in the new file, also when that is opened anew;
// one that cannot be moved stays where it is.
func TestAccessLogMove(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "1"), filepath.Join(dir, "2")
	log, err := OpenAccessLog(LogCombined, first)
	if err != nil {
		t.Fatal(err)
	}
	b := log.newBuffer()
	say := func(line string) { b.add(append(b.room(len(line)), line...)) }
	say("one\n")
	if err := log.Move(filepath.Join(dir, "none", "3")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("moved to nowhere: %v", err)
	}
	if err := log.Move(second); err != nil {
		t.Fatal(err)
	}
	say("two\n")
	if err := errors.Join(os.Rename(second, second+".old"), log.Reopen()); err != nil {
		t.Fatal(err)
	}
	say("three\n")
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{first: "one\n", second + ".old": "two\n", second: "three\n"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
}
