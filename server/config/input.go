package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dropIns is the directory beside the configuration file whose files are read
// after it.
const dropIns = "conf.d"

// input is the configuration files as they were found.
type input struct {
	names    []string
	contents [][]byte
	problems Problems // of files that cannot be read
	open     bool     // one of them is open for writing, and was not read
	unsure   bool     // of one of them the kernel does not tell whether it is
}

// writers is how long a file that is open for writing is waited for.
const writers = 2 * time.Second

// readAll reads the configuration file and those beside it; none if name is
// empty. Files that somebody writes are waited for.
func readAll(name string) (in input) {
	for begun := time.Now(); ; time.Sleep(writers / 100) {
		if in = readNow(name); !in.open || time.Since(begun) > writers {
			return in
		}
	}
}

// readNow is readAll without waiting.
func readNow(name string) (in input) {
	if name == "" {
		return in
	}
	var err error
	if in.names, err = filesOf(name); err != nil {
		in.unreadable(filepath.Join(filepath.Dir(name), dropIns), err)
	}
	for _, n := range in.names {
		b, sure, err := readUnless(n)
		in.unsure = in.unsure || !sure
		if err != nil {
			in.unreadable(n, err)
			in.open = in.open || errors.Is(err, errWriter)
		}
		in.contents = append(in.contents, b)
	}
	return in
}

func (in *input) unreadable(name string, err error) {
	var e *os.PathError
	if errors.As(err, &e) {
		err = e.Err
	}
	in.problems = append(in.problems, Problem{Origin: Origin{Kind: FromFile, Name: name}, Text: "cannot be read: " + err.Error(), Sense: true})
}

// fingerprint is equal for equal inputs.
func (in *input) fingerprint() string {
	h := sha256.New()
	for i, n := range in.names {
		fmt.Fprintf(h, "%d %s %d\n%s", len(n), n, len(in.contents[i]), in.contents[i])
	}
	for _, p := range in.problems {
		fmt.Fprintln(h, p.Error())
	}
	return string(h.Sum(nil))
}

// filesOf returns the configuration file and the files conf.d/*.yaml beside it,
// sorted. Hidden ones, which editors make, do not count.
func filesOf(name string) ([]string, error) {
	dir := filepath.Join(filepath.Dir(name), dropIns)
	entries, err := os.ReadDir(dir) // sorted by name
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	names := []string{name}
	for _, e := range entries {
		if n := e.Name(); strings.HasSuffix(n, ".yaml") && n[0] != '.' && !e.IsDir() {
			names = append(names, filepath.Join(dir, n))
		}
	}
	return names, err
}

// readBounded reads a file, at most one byte more than one may have. One that somebody
// writes is waited for.
func readBounded(name string) (b []byte, err error) {
	for begun := time.Now(); ; time.Sleep(writers / 100) {
		if b, _, err = readUnless(name); !errors.Is(err, errWriter) || time.Since(begun) > writers {
			return b, err
		}
	}
}

// errWriter is of a file that may be half written.
var errWriter = errors.New("somebody has it open for writing")

// readUnless reads a file unless somebody has it open for writing. The kernel tells by a read
// lease (fcntl(2)), which it refuses then; while there is one, who opens the file for writing
// waits, here until it is read. sure is false where it does not tell: of files of others without
// CAP_LEASE, and on network file systems.
func readUnless(name string) (b []byte, sure bool, err error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not block
	if err != nil {
		return nil, true, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, true, err
	}
	if !info.Mode().IsRegular() {
		return nil, true, errors.New("not a regular file")
	}
	_, refused := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	if errors.Is(refused, unix.EAGAIN) {
		return nil, true, errWriter
	}
	b, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	return b, refused == nil, err
}
