package openfile

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestFilesReadAgainWhenSettled: a writer that was under way when a young file
// was read may have left no trace in its time, so the file is read once more
// when it has come of age, and not again after that.
func TestFilesReadAgainWhenSettled(t *testing.T) {
	c := newCacheTest(t, onFallback, Config{})
	wall := time.Now().UnixNano()
	c.fs.wall = func() int64 { return wall }
	c.write("f", "old")
	path := filepath.Join(c.dir, "f")
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	wall = st.ModTime().UnixNano()
	if got := string(c.open("f").Body); got != "old" {
		t.Fatalf("body %q", got)
	}
	// What a mapping leaves: other bytes, the same time.
	c.write("f", "new")
	if err := os.Chtimes(path, st.ModTime(), st.ModTime()); err != nil {
		t.Fatal(err)
	}
	c.turn(time.Duration(fresh) + 1)
	if got := string(c.open("f").Body); got != "old" {
		t.Errorf("body %q of a young file that seems unchanged", got)
	}
	wall += settling
	c.turn(time.Duration(fresh) + 1)
	settled := c.open("f")
	if got := string(settled.Body); got != "new" {
		t.Errorf("body %q after settling", got)
	}
	c.turn(time.Duration(fresh) + 1)
	if c.open("f") != settled {
		t.Error("a settled file was read again")
	}
	c.check()
}
