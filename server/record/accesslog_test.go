package record

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

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
