package clients

import (
	"os"
	"path/filepath"
	"testing"
)

// versions makes an old and a new version of a file, which differ in so many places.
func versions(t *testing.T, places int) (root, old string) {
	t.Helper()
	root, old = t.TempDir(), filepath.Join(t.TempDir(), "old")
	content := []byte(noise(t, filepath.Join(root, "new"), bigSize))
	for i := range places {
		at := i * (bigSize / places)
		copy(content[at:], "what was here before")
	}
	write(t, old, string(content))
	return root, old
}

func TestZsync(t *testing.T) {
	need(t, "zsync", "zsyncmake")
	root, old := versions(t, 60) // more than the 20 ranges of a request
	client(t, root, "zsyncmake", "-u", "new", "-o", "new.zsync", "new")
	onBoth(t, root, func(t *testing.T, o *origin) {
		to := t.TempDir()
		client(t, to, "zsync", "-q", "-i", old, "-o", "got", o.url+"new.zsync")
		wantFile(t, filepath.Join(to, "got"), filepath.Join(root, "new"))
		o.wantParts("/new", bigSize/8)
	})
}

func TestZchunk(t *testing.T) {
	need(t, "zck", "zckdl")
	root, old := versions(t, 60)
	client(t, root, "zck", "-o", "new.zck", "new")
	client(t, filepath.Dir(old), "zck", "-o", "old.zck", "old")
	onBoth(t, root, func(t *testing.T, o *origin) {
		to := t.TempDir()
		client(t, to, "zckdl", "-s", old+".zck", o.url+"new.zck")
		wantFile(t, filepath.Join(to, "new.zck"), filepath.Join(root, "new.zck"))
		o.wantParts("/new.zck", bigSize/2)
	})
}

func TestCasync(t *testing.T) {
	need(t, "casync")
	root, old := versions(t, 60)
	client(t, root, "casync", "make", "--store=default.castr", "new.caibx", "new")
	onBoth(t, root, func(t *testing.T, o *origin) {
		to := t.TempDir()
		client(t, to, "casync", "extract", "--seed-output=no", "--seed="+old, o.url+"new.caibx", filepath.Join(to, "got"))
		wantFile(t, filepath.Join(to, "got"), filepath.Join(root, "new"))
		o.stop()
		if n := len(o.answers("/default.castr/")); n == 0 {
			t.Error("no chunk was fetched")
		}
	})
	if _, err := os.Stat(filepath.Join(root, "default.castr")); err != nil {
		t.Error(err)
	}
}
