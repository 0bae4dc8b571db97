package clients

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/testenv"
)

// odd are names that are easily got wrong in a reference. (One that begins with a tilde lftp
// leaves out, however it is referred to.)
var odd = []string{
	"100%.txt", "semi;colon", "quo'te", `dou"ble`, "a:b", "-dash", "tilde~", "[brackets]", "{braces}",
	"back`tick", "=equal", "a,b", "$dollar", "*star", "日本語", "<angle>", "&amp;", "a  b", "trailing ", "http:",
}

// decoded are names that change if a reference is decoded once too often, as wget does when it
// makes a name of its own, and wget2 before it resolves what is below a directory.
var decoded = []string{"%41", "a?b", "c#d"}

// many makes a directory of more entries than a page has, with directories in it.
func many(t *testing.T, more ...string) string {
	t.Helper()
	root := t.TempDir()
	for i := range 2500 {
		write(t, filepath.Join(root, "many", fmt.Sprintf("libfoo+bar_%d & é (v1.0).deb", i)), strings.Repeat(fmt.Sprint(i), 1+i%50))
	}
	write(t, filepath.Join(root, "many", "empty"), "")
	for i, name := range append(more, odd...) {
		write(t, filepath.Join(root, "many", name), fmt.Sprint("odd ", i))
		write(t, filepath.Join(root, "many", "sub+dir & é", name, "f"), fmt.Sprint("below ", i))
	}
	return root
}

func TestRclone(t *testing.T) {
	need(t, "rclone")
	root := many(t, decoded...)
	onBoth(t, root, func(t *testing.T, o *origin) {
		to := t.TempDir()
		client(t, to, "rclone", "sync", "--http-url", o.url, ":http:many", filepath.Join(to, "got"))
		wantTree(t, filepath.Join(to, "got"), filepath.Join(root, "many"), nil)
		client(t, to, "rclone", "check", "--download", "--http-url", o.url, ":http:many", filepath.Join(to, "got"))
	})
}

func TestLftp(t *testing.T) {
	need(t, "lftp")
	root := many(t, decoded...)
	onBoth(t, root, func(t *testing.T, o *origin) {
		to := t.TempDir()
		client(t, to, "lftp", "-c", "set net:max-retries 2; mirror --parallel=4 "+o.url+"many/ got")
		wantTree(t, filepath.Join(to, "got"), filepath.Join(root, "many"), nil)
	})
}

// sorted are the views of a listing, which those that follow every reference take along.
var sorted = regexp.MustCompile(`(^|/)(index\.html)?(\?sort=.*)?(\.html)?$`)

func TestWget(t *testing.T) {
	for _, program := range []string{"wget", "wget2"} {
		t.Run(program, func(t *testing.T) {
			need(t, program)
			root := many(t)
			onBoth(t, root, func(t *testing.T, o *origin) {
				to := t.TempDir()
				client(t, to, program, "-q", "-r", "-np", "-nH", "--cut-dirs=1", "-l", "inf", "--restrict-file-names=nocontrol", "-P", "got", o.url+"many/")
				wantTree(t, filepath.Join(to, "got"), filepath.Join(root, "many"), sorted)
			})
		})
	}
}

// TestHTTPDirFS sees everything through a mount. The client leaves out empty files and names that
// begin with a dash, and below a directory it decodes once too often. It takes 100 ms for a
// file, so not all are read.
func TestHTTPDirFS(t *testing.T) {
	need(t, "httpdirfs", "fusermount3")
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("there is no FUSE here")
	}
	root := many(t)
	for _, name := range []string{"empty", "-dash", "sub+dir & é/-dash"} {
		if err := os.RemoveAll(filepath.Join(root, "many", name)); err != nil {
			t.Fatal(err)
		}
	}
	onBoth(t, root, func(t *testing.T, o *origin) {
		at := mount(t, o.url+"many/")
		here, there := sizes(t, at), sizes(t, filepath.Join(root, "many"))
		if !maps.Equal(here, there) {
			t.Errorf("%d names, want %d", len(here), len(there))
		}
		i := 0
		for name := range there {
			if i++; i%100 == 0 || slices.Contains(odd, filepath.Base(name)) || name[:3] == "sub" {
				wantFile(t, filepath.Join(at, name), filepath.Join(root, "many", name))
			}
		}
	})
}

// sizes returns the sizes of the files below a directory, by name.
func sizes(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	all := make(map[string]int64)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			all[path[len(dir)+1:]] = info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// mount mounts a listing until the end of the test.
func mount(t *testing.T, url string) (at string) {
	t.Helper()
	at = t.TempDir()
	var before, now unix.Stat_t
	if err := unix.Stat(at, &before); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("httpdirfs", "-f", url, at)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = unix.Unmount(at, unix.MNT_DETACH)
		_ = cmd.Process.Kill()
		<-ended
	})
	if !testenv.Eventually(patience, func() bool {
		select {
		case <-ended:
			t.Fatalf("httpdirfs has ended: %s", tail(out.Bytes()))
		default:
		}
		return unix.Stat(at, &now) == nil && now.Dev != before.Dev
	}) {
		t.Fatal("nothing is mounted")
	}
	return at
}
