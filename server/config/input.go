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
)

// dropIns is the directory beside the configuration file whose files are read
// after it.
const dropIns = "conf.d"

// input is the configuration files as they were found.
type input struct {
	names    []string
	contents [][]byte
	problems Problems // of files that cannot be read
}

// readAll reads the configuration file and those beside it; none if name is
// empty.
func readAll(name string) (in input) {
	if name == "" {
		return in
	}
	var err error
	if in.names, err = filesOf(name); err != nil {
		in.unreadable(filepath.Join(filepath.Dir(name), dropIns), err)
	}
	for _, n := range in.names {
		b, err := readBounded(n)
		if err != nil {
			in.unreadable(n, err)
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

// readBounded reads a file, at most one byte more than one may have.
func readBounded(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not block
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}
