package listing

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"testing/fstest"
)

// A page of an FS is that of the directory, and as bounded.
func TestMakeOfFS(t *testing.T) {
	d := directory(t, "a", ".b", "README.md")
	dir := d.Owner.(string)
	if err := os.WriteFile(dir+"/README.md", []byte("# *me*"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"file": "a", "dir": ".", "nowhere": "none"} {
		if err := os.Symlink(to, dir+"/"+link); err != nil {
			t.Fatal(err)
		}
	}
	c := NewCache(slog.Default())
	of := *d
	of.Root, of.FS = nil, os.DirFS(dir)
	for _, json := range []bool{true, false} {
		for _, view := range []View{{sort: sortName}, {sort: sortName, page: 2}} {
			want, e := c.ask(d, view, json)
			got, eFS := c.Make(&of, view, json)
			if e != 0 || eFS != 0 || !bytes.Equal(want.Body, got.Body) || want.Type != got.Type || !bytes.Equal(want.Fields, got.Fields) {
				t.Errorf("%+v: of the directory %v %s, of the FS %v %s", view, e, want.Body, eFS, got.Body)
			}
			got.Release()
			want.Release()
		}
	}
	c.names = 2
	if _, e := c.Make(&of, View{sort: sortName}, true); e != syscall.EFBIG {
		t.Errorf("%v, too many names", e)
	}
	if p, e := c.Make(&of, View{sort: sortName, page: 1}, true); e != 0 || !bytes.Contains(p.Body, []byte(`"README.md"`)) {
		t.Errorf("%v, the first page of too many names", e)
	}
	of.FS = fstest.MapFS{}
	of.Below = "none/"
	if _, e := c.Make(&of, View{}, true); e != syscall.ENOENT {
		t.Errorf("%v, no such directory", e)
	}
	if n := len(c.making[1]); n != 0 {
		t.Errorf("%d turns are not given back", n)
	}
}

func TestErrnoOf(t *testing.T) {
	for err, want := range map[error]syscall.Errno{
		syscall.ELOOP: syscall.ELOOP, fs.ErrNotExist: syscall.ENOENT, fs.ErrInvalid: syscall.ENOENT, fs.ErrPermission: syscall.EACCES, errors.New("x"): syscall.EIO,
	} {
		if got := ErrnoOf(&fs.PathError{Op: "open", Path: "x", Err: err}); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}
