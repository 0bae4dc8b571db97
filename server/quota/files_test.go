package quota

import (
	"path/filepath"
	"testing"
)

const now = 1_795_000_000

// process is a Book of a process.
type process struct {
	*Book
	t *testing.T
}

func begin(t *testing.T, dir string) *process {
	t.Helper()
	p := &process{new(Book), t}
	if err := p.Keep(dir, now); err != nil {
		t.Fatal(err)
	}
	return p
}

// kill ends a process as kill -9 does: its lock goes, and nothing is written.
func (p *process) kill() { p.files.own.Close() }

func (p *process) add(name string, n int64) {
	p.Of([]byte(name), Day.At(now)).used.Add(n)
}

func (p *process) sync() {
	p.t.Helper()
	if err := p.Sync(now); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) want(name string, n int64) {
	p.t.Helper()
	if used := p.Of([]byte(name), Day.At(now)).Used(); used != n {
		p.t.Errorf("%s has used %d, want %d", name, used, n)
	}
}

func logs(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// What was synced outlives any end, more than once, and is counted once.
func TestKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	p := begin(t, dir)
	for i := range int64(5) {
		p.add("al\nice \xff", 100)
		p.sync()
		p.add("al\nice \xff", 7) // is lost
		p.kill()
		p = begin(t, dir)
		p.want("al\nice \xff", 100*(i+1))
	}
	p.add("bob", 3)
	if err := p.Close(now); err != nil {
		t.Fatal(err)
	}
	p = begin(t, dir)
	p.want("bob", 3)
	if n := len(logs(t, dir)); n != 1 {
		t.Errorf("%d files, want 1", n)
	}
}

// A process and its successor count side by side, and what the first one adds at its end counts too.
func TestSuccessor(t *testing.T) {
	dir := t.TempDir()
	old := begin(t, dir)
	old.add("alice", 100)
	old.sync()
	next := begin(t, dir)
	next.want("alice", 100)
	old.add("alice", 10)
	next.add("alice", 1)
	old.sync()
	next.sync()
	old.sync()
	old.want("alice", 111)
	next.want("alice", 111)
	next.Of([]byte("alice"), Day.At(now)).Set(50) // by an operator
	next.sync()
	old.sync()
	old.want("alice", 50)
	old.add("alice", 5)
	if err := old.Close(now); err != nil {
		t.Fatal(err)
	}
	next.sync()
	next.want("alice", 55)
	next.sync()
	next.kill()
	p := begin(t, dir)
	p.want("alice", 55)
	if n := len(logs(t, dir)); n != 1 {
		t.Errorf("%d files, want 1", n)
	}
}

// Of three processes each counts what one of them has taken over once.
func TestThree(t *testing.T) {
	dir := t.TempDir()
	a := begin(t, dir)
	a.add("alice", 100)
	a.sync()
	b, c := begin(t, dir), begin(t, dir)
	b.want("alice", 100)
	c.want("alice", 100)
	if err := a.Close(now); err != nil {
		t.Fatal(err)
	}
	b.sync()
	c.sync()
	b.sync()
	b.want("alice", 100)
	c.want("alice", 100)
	b.kill()
	c.sync()
	c.want("alice", 100)
	c.kill()
	begin(t, dir).want("alice", 100)
}
