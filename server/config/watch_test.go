package config

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
)

// patience bounds every wait.
const patience = 30 * time.Second

// watch starts watching; it ends with the test.
func (g *rig) watch() {
	g.r.poll = time.Second
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.r.Watch(ctx)
	}()
	g.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// wantRate waits until the client limit is in force.
func (g *rig) wantRate(what, rate string) {
	g.t.Helper()
	if !testenv.Eventually(patience, func() bool { return g.r.Config().Limits.Client.String() == rate }) {
		g.t.Fatalf("%s: %v in force, want %s; log:\n%s", what, g.r.Config().Limits.Client, rate, g.logged())
	}
}

func limited(rate int) string {
	return fmt.Sprintf("root: /r\nlimits: {client: %dMiB/s}\n", rate)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Every way in which the content of the files can change is noticed.
func TestWatch(t *testing.T) {
	g := newRig(t, limited(1))
	g.up()
	g.watch()
	etc := filepath.Dir(g.file)

	g.write(limited(2))
	g.wantRate("written in place", "2MiB/s")

	write(t, etc, "new", limited(3))
	must(t, os.Rename(filepath.Join(etc, "new"), g.file))
	g.wantRate("replaced by rename", "3MiB/s")
	g.write(limited(4))
	g.wantRate("written after it was replaced", "4MiB/s")

	write(t, etc, "conf.d/a.yaml", "limits: {client: 5MiB/s}\n")
	g.wantRate("first file in conf.d", "5MiB/s")
	write(t, etc, "conf.d/b.yaml", "limits: {client: 6MiB/s}\n")
	g.wantRate("second file in conf.d", "6MiB/s")
	must(t, os.RemoveAll(filepath.Join(etc, "conf.d")))
	g.wantRate("conf.d removed", "4MiB/s")

	must(t, os.Remove(g.file))
	if !testenv.Eventually(patience, func() bool { return strings.Contains(g.logged(), "no such file") }) {
		t.Fatalf("the file that is gone is not reported: %s", g.logged())
	}
	g.write(limited(7))
	g.wantRate("written after it was gone", "7MiB/s")

	must(t, os.Rename(etc, etc+".old"))
	g.write(limited(8))
	g.wantRate("directory replaced", "8MiB/s")
	g.write(limited(9))
	g.wantRate("written in the new directory", "9MiB/s")
}

// As Kubernetes mounts a ConfigMap: the file is a link through a link to a
// directory, and that is swapped.
func TestWatchSwappedLink(t *testing.T) {
	g := newRig(t, "")
	write(t, g.dir, "etc/..1/f.yaml", limited(1), "etc/..2/f.yaml", limited(2))
	etc := filepath.Dir(g.file)
	must(t, os.Symlink("..1", filepath.Join(etc, "..data")))
	must(t, os.Symlink("..data/f.yaml", g.file))
	g.up()
	g.watch()
	g.wantRate("first", "1MiB/s")
	must(t, os.Symlink("..2", filepath.Join(etc, "..tmp")))
	must(t, os.Rename(filepath.Join(etc, "..tmp"), filepath.Join(etc, "..data")))
	g.wantRate("swapped", "2MiB/s")
	write(t, g.dir, "etc/..2/f.yaml", limited(3))
	g.wantRate("written behind the links", "3MiB/s")
}

func TestWatchedDirectories(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	write(t, dir, "real/f.yaml", "", "other/1.yaml", "", "etc/conf.d/2.yaml", "")
	must(t, os.Symlink("../real/f.yaml", filepath.Join(dir, "etc/f.yaml")))
	must(t, os.Symlink(filepath.Join(dir, "other/1.yaml"), filepath.Join(dir, "etc/conf.d/1.yaml")))
	must(t, os.Symlink("loop.yaml", filepath.Join(dir, "etc/conf.d/loop.yaml")))
	w := watch{file: filepath.Join(dir, "etc/f.yaml")}
	got := w.directories()
	slices.Sort(got)
	want := []string{dir + "/etc", dir + "/etc/conf.d", dir + "/other", dir + "/real"}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// What is touched without a change is not reloaded, and what is being written is
// not read before it stays the same from one look to the next.
func TestLook(t *testing.T) {
	g := newRig(t, limited(1))
	g.up()
	w := watch{r: g.r, file: g.file}
	if w.look() || g.r.State().Reloads != 0 {
		t.Error("nothing has changed")
	}
	g.write(limited(1))
	if w.look() {
		t.Error("the same content is new")
	}
	g.write("root: /r\n") // the first half
	if !w.look() || g.r.State().Reloads != 0 {
		t.Errorf("after one look: %+v", g.r.State())
	}
	g.write(limited(2))
	if !w.look() || g.r.State().Reloads != 0 {
		t.Errorf("it has changed since: %+v", g.r.State())
	}
	if w.look() || g.r.State().Reloads != 1 || g.r.Config().Limits.Client.Rate != 2<<20 {
		t.Errorf("after two looks: %+v", g.r.State())
	}
	g.write("root: [")
	if !w.look() || w.look() || g.r.State().Failures != 1 {
		t.Errorf("a bad file: %+v", g.r.State())
	}
	for range 3 {
		if w.look() || g.r.State().Failures != 1 {
			t.Error("a bad file is reported again and again")
		}
	}
	g.write(limited(2)) // as before the bad one
	if !w.look() || w.look() || g.r.State().LastError != nil {
		t.Errorf("mended: %+v", g.r.State())
	}
}

// A busy directory does not put off the look for ever.
func TestWatchBusyDirectory(t *testing.T) {
	g := newRig(t, limited(1))
	g.up()
	g.watch()
	stop, done := make(chan struct{}), make(chan struct{})
	busy := filepath.Join(filepath.Dir(g.file), "log")
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				_ = os.WriteFile(busy, fmt.Append(nil, i), 0o644) // the directory may be gone by then
			}
		}
	}()
	g.write(limited(2))
	g.wantRate("beside a busy file", "2MiB/s")
	close(stop)
	<-done
}
