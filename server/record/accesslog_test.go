package record

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A log that is opened anew goes on in the new file; one that cannot be stays where it is.
func TestAccessLogReopen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "logs", "1")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	log, err := OpenAccessLog(Target{File: path})
	if err != nil {
		t.Fatal(err)
	}
	b := log.newBuffer()
	say := func(line string) { b.add(append(b.room(len(line)), line...)) }
	say("one\n")
	moved := filepath.Join(dir, "moved")
	if err := os.Rename(filepath.Dir(path), moved); err != nil {
		t.Fatal(err)
	}
	if err := log.Reopen(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opened in a directory that is not there: %v", err)
	}
	say("two\n")
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o755), log.Reopen()); err != nil {
		t.Fatal(err)
	}
	say("three\n")
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{filepath.Join(moved, "1"): "one\ntwo\n", path: "three\n"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
}
