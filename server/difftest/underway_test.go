package difftest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
)

// great is the size of a file that is not with the kernel as a whole while its
// reader waits: more bytes than all buffers on the way hold.
const great = 16 << 20

// underWay are changes of a file while it is being downloaded.
var underWay = []struct {
	name   string
	many   bool // with many downloads at once
	racy   bool // nginx ends in one way or another, as it comes to look at the file
	change func(path string) error
}{
	{"replaced by rename", true, false, func(path string) error {
		p := testenv.NewPattern(2)
		return errors.Join(os.WriteFile(path+".new", p.Bytes(0, 1<<20), 0o644), os.Rename(path+".new", path))
	}},
	{"removed", false, false, os.Remove},
	{"truncated to nothing", true, false, func(path string) error { return os.Truncate(path, 0) }},
	{"truncated in the middle", false, false, func(path string) error { return os.Truncate(path, great/2) }},
	{"truncated and rewritten", true, true, func(path string) error {
		p := testenv.NewPattern(2)
		return os.WriteFile(path, p.Bytes(0, great), 0o644)
	}},
	{"overwritten at its end", true, false, func(path string) error { return overwrite(path, great-1) }},
	{"overwritten at its begin", false, false, func(path string) error { return overwrite(path, 0) }},
	{"longer", false, false, func(path string) error { return os.Truncate(path, great+1) }},
}

func overwrite(path string, off int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte{'#'}, off)
	return errors.Join(err, f.Close())
}

// slow is a download whose reader has taken the head and a little more.
type slow struct {
	conn net.Conn
	r    *bufio.Reader
}

// taken is how much of the content a slow reader takes before the change, in bytes.
const taken = 100_000

// startSlow begins a download with a small receive buffer.
func startSlow(addr, path string) (*slow, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	s := &slow{conn: conn, r: bufio.NewReaderSize(conn, 32<<10)}
	err = errors.Join(conn.(*net.TCPConn).SetReadBuffer(128<<10), conn.SetDeadline(time.Now().Add(patience)))
	if err == nil {
		_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path)
	}
	if err == nil {
		err = s.start()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *slow) start() error {
	for length := false; ; {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return err
		}
		length = length || line == fmt.Sprintf("Content-Length: %d\r\n", great)
		if line == "\r\n" {
			if !length {
				return errors.New("another length than the file's")
			}
			return s.check(taken, 0)
		}
	}
}

// check reads n bytes and compares them with the first version from off.
func (s *slow) check(n, off int64) error {
	p, b := testenv.NewPattern(1), make([]byte, 64<<10)
	var differs error
	for n > 0 {
		k, err := io.ReadFull(s.r, b[:min(n, int64(len(b)))])
		if differs == nil {
			differs = p.Check(b[:k], off)
		}
		n, off = n-int64(k), off+int64(k)
		if err != nil {
			return err // what came before it is not whole: it may be of any version
		}
	}
	return differs
}

// finish reads on and says how the download ended.
func (s *slow) finish() string {
	// What made it slow until now has served its purpose.
	err := s.conn.(*net.TCPConn).SetReadBuffer(4 << 20)
	if err == nil {
		err = s.check(great-taken, taken)
	}
	s.conn.Close()
	switch {
	case err == nil:
		return "whole, as it was"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "ended early"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "nothing more"
	}
	return "looks whole, is not as it was"
}

// changeUnderWay makes a great file and n downloads of it, changes it while
// they are under way, and returns how they ended.
func changeUnderWay(t *testing.T, addr, root, name string, n int, change func(string) error) []string {
	t.Helper()
	path := filepath.Join(root, name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(testenv.NewPattern(1).WriteAt(f, 0, great), f.Close(), os.Chtimes(path, settled, settled)); err != nil {
		t.Fatal(err)
	}
	var all []*slow
	for range n {
		s, err := startSlow(addr, "/"+name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.conn.Close() })
		all = append(all, s)
	}
	if err := change(path); err != nil {
		t.Fatal(err)
	}
	ends := make([]string, n)
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Go(func() { ends[i] = s.finish() })
	}
	wg.Wait()
	return ends
}

// TestChangeUnderWay changes a file under many downloads, all of which have
// begun and none of which can have come to its last KiB. The file that was
// replaced is sent to its end; of one that was changed nobody gets a body that looks whole.
func TestChangeUnderWay(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		root := t.TempDir()
		addr := serve(t, d, root, 2)
		for i, test := range underWay {
			want := "reset"
			if i < 2 {
				want = "whole, as it was"
			}
			n := 4
			if test.many && !testing.Short() {
				n = 16
			}
			for _, end := range changeUnderWay(t, addr, root, fmt.Sprintf("%d.bin", i), n, test.change) {
				if end != want {
					t.Fatalf("%s: a download ended as %q, want %q", test.name, end, want)
				}
			}
		}
	})
}

// changeDifferences compares how nginx and fserve end a download whose file is
// changed under it.
func changeDifferences(t *testing.T, nginx, fserve, root string) (out []difference) {
	for i, test := range underWay {
		if test.racy {
			continue
		}
		name := fmt.Sprintf("change%d.bin", i)
		n := changeUnderWay(t, nginx, root, "n-"+name, 1, test.change)[0]
		f := changeUnderWay(t, fserve, root, "f-"+name, 1, test.change)[0]
		if n != f {
			out = append(out, difference{"change/" + test.name, "outcome", n, f})
		}
	}
	return out
}
