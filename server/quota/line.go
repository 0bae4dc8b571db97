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

// locked reports whether the process of a file lives.
func locked(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close() // which lets go of the lock
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return false, nil
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
