package quota

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// sums are bytes by account.
type sums map[id]int64

// claim locks the file of a process that has ended; nil: that lives, or the file is gone. Who has the lock
// may take the file over.
func claim(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0) // NFS locks what may be written
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // see above
	}
	if err != nil {
		return nil, err
	}
	if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		if info, err := f.Stat(); err == nil && same(info, path) {
			return f, nil
		}
		err = unix.EWOULDBLOCK // it was written anew, or taken over, meanwhile
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil //nolint:nilnil // see above
	}
	return nil, fmt.Errorf("%s: %w", path, err)
}

// same reports whether a file is as it was.
func same(was os.FileInfo, path string) bool {
	is, err := os.Stat(path)
	return err == nil && os.SameFile(was, is) && was.Size() == is.Size()
}

var table = crc32.MakeTable(crc32.Castagnoli)

func addLine(to *bytes.Buffer, of id, n int64) {
	sealLine(to, fmt.Sprintf("%c %d %d %s", of.period.Kind, of.period.Number, n, strconv.Quote(of.name)))
}

func sealLine(to *bytes.Buffer, text string) {
	fmt.Fprintf(to, "%08x %s\n", crc32.Checksum([]byte(text), table), text)
}

// read reads a file: what it says, and which files it has taken over.
func read(path string) (info os.FileInfo, s sums, taken []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, nil, nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, info.Size()))
	s = make(sums)
	for line := range bytes.Lines(text) {
		sum, rest, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		if n, err := strconv.ParseUint(sum, 16, 32); err != nil || uint32(n) != crc32.Checksum([]byte(rest), table) {
			continue
		}
		if name, ok := strings.CutPrefix(rest, "f "); ok {
			taken = append(taken, name)
			continue
		}
		fields := strings.SplitN(rest, " ", 4)
		if len(fields) != 4 || len(fields[0]) != 1 {
			continue
		}
		number, err1 := strconv.ParseInt(fields[1], 10, 64)
		n, err2 := strconv.ParseInt(fields[2], 10, 64)
		name, err3 := strconv.Unquote(fields[3])
		if errors.Join(err1, err2, err3) == nil {
			s[id{name, Period{Kind(fields[0][0]), number}}] += n
		}
	}
	maps.DeleteFunc(s, func(_ id, n int64) bool { return n == 0 })
	return info, s, taken, err
}
