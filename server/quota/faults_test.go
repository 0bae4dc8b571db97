package quota

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A line that is torn, or anything else in the file, counts for nothing.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	p := begin(t, dir)
	p.add("alice", 100)
	p.sync()
	p.add("alice", 10)
	p.sync()
	p.kill()
	path := logs(t, dir)[0]
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(text) {
		torn := t.TempDir()
		if err := os.WriteFile(filepath.Join(torn, filepath.Base(path)), append(text[:cut:cut], "\x00\xff\n12345678 d 1 1 \"x\"\n"...), 0o600); err != nil {
			t.Fatal(err)
		}
		p := begin(t, torn)
		used := p.Of([]byte("alice"), Day.At(now)).Used()
		if used != 0 && used != 100 && used != 110 {
			t.Fatalf("torn at %d of %d: %d are used", cut, len(text), used)
		}
		p.kill()
	}
}

// A process that ends between having taken a file over and removing it does not count it twice.
func TestTakenOverOnce(t *testing.T) {
	dir := t.TempDir()
	p := begin(t, dir)
	p.add("alice", 100)
	p.sync()
	p.kill()
	path := logs(t, dir)[0]
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin(t, dir).kill()
	if err := os.WriteFile(path, text, 0o600); err != nil { // as if it had not been removed
		t.Fatal(err)
	}
	p = begin(t, dir)
	p.want("alice", 100)
	p.kill()
	p = begin(t, dir)
	p.want("alice", 100)
}

// A full disk loses nothing while the process lives, and leaves no line torn.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	p := begin(t, dir)
	p.add("alice", 100)
	p.sync()
	own := p.files.own
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	p.files.own = os.NewFile(uintptr(must(unix.Dup(int(full.Fd())))), own.Name())
	p.add("alice", 10)
	if err := p.Sync(now); err == nil {
		t.Fatal("a full disk is no error")
	}
	p.want("alice", 110)
	p.files.own = own
	p.add("bob", 1)
	p.sync()
	p.kill()
	p = begin(t, dir)
	p.want("alice", 110)
	p.want("bob", 1)
}

func must(fd int, err error) int {
	if err != nil {
		panic(err)
	}
	return fd
}

// A directory that cannot be made is an error, and is tried again.
func TestNoDirectory(t *testing.T) {
	at := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(at, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := new(Book)
	if err := b.Keep(filepath.Join(at, "dir"), now); err == nil {
		t.Fatal("no error")
	}
	b.Of([]byte("alice"), today).used.Add(5)
	if err := os.Remove(at); err != nil {
		t.Fatal(err)
	}
	if err := b.Sync(now); err != nil {
		t.Fatal(err)
	}
	if n := len(logs(t, filepath.Join(at, "dir"))); n != 1 {
		t.Errorf("%d files", n)
	}
}

// Periods that are over are forgotten, but not while the clock may be set back to them.
func TestForgotten(t *testing.T) {
	dir := t.TempDir()
	p := begin(t, dir)
	p.add("alice", 100)
	p.sync()
	day := int64(24 * time.Hour / time.Second)
	if err := p.Sync(now + 2*day); err != nil {
		t.Fatal(err)
	}
	p.want("alice", 100)
	if err := p.Sync(now + 4*day); err != nil {
		t.Fatal(err)
	}
	if len(p.Named("alice", 0)) != 0 {
		t.Error("it is known for ever")
	}
}

// A file that has become long is written anew.
func TestRewritten(t *testing.T) {
	dir := t.TempDir()
	p := begin(t, dir)
	for range 5 {
		for i := range 40_000 {
			p.add(string(rune('a'+i%26))+time.Duration(i).String(), 1)
		}
		p.sync()
	}
	info, err := os.Stat(logs(t, dir)[0])
	if err != nil || info.Size() > 3<<20 {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
	p.kill()
	begin(t, dir).want("a0s", 5)
}

// Who removes the directory of a process that lives takes nothing away.
func TestRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "quota")
	p := begin(t, dir)
	p.add("alice", 100)
	p.sync()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	p.sync()
	p.kill()
	begin(t, dir).want("alice", 100)
}
