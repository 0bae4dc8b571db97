package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/bench/load"
)

// cold downloads many files that are not in memory at once, and prints how many
// threads the server had at most.
func (o *options) cold(ctx context.Context, self, root string) error {
	block := bytes.Repeat([]byte("cold"), 1<<18)
	for i := range o.coldFiles {
		if err := writeFile(coldName(root, i), block, o.coldSize); err != nil {
			return err
		}
	}
	for _, contestant := range []struct {
		what string
		args []string
	}{
		{"http.FileServer", nil},
		{"http.FileServer, engine", []string{"-engine"}},
		{"server/nethttp, engine", []string{"-engine", "-nethttp"}},
	} {
		for i := range o.coldFiles {
			if err := drop(coldName(root, i)); err != nil {
				return err
			}
		}
		command := append([]string{self, "serve", "-root", root}, contestant.args...)
		if err := o.coldRun(ctx, self, command, contestant.what); err != nil {
			return err
		}
	}
	return nil
}

// coldExt has a type that net/http knows, so that it does not look at the content.
const coldExt = ".pdf"

// coldTurn is what is taken of one download before the next is looked at, in bytes.
const coldTurn = 1 << 20

func coldName(root string, i int) string { return filepath.Join(root, "cold"+strconv.Itoa(i)+coldExt) }

func writeFile(name string, block []byte, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for left := size; left > 0; left -= int64(len(block)) {
		if _, err := f.Write(block[:min(left, int64(len(block)))]); err != nil {
			return err
		}
	}
	return f.Sync()
}

// drop takes a file out of memory.
func drop(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// coldTime bounds the downloads; what is not complete then has failed.
const coldTime = 10 * time.Minute

// coldRun downloads all files at once.
func (o *options) coldRun(ctx context.Context, self string, command []string, what string) error {
	s, err := o.start(command)
	if err != nil {
		return err
	}
	defer s.stop()
	cfg := load.Config{Measure: coldTime}
	for i := range o.coldFiles {
		cfg.Groups = append(cfg.Groups, load.Group{
			Mode: load.Once, Conns: 1, Path: "/cold" + strconv.Itoa(i) + coldExt, BodyLen: o.coldSize, Turn: coldTurn,
		})
	}
	done, most := make(chan struct{}), make(chan int)
	go func() { most <- watch(s.cmd.Process.Pid, done) }()
	res, err := o.load(ctx, self, s, cfg)
	close(done)
	threads := <-most
	if err != nil {
		return err
	}
	var bytes, complete int64
	for i := range res.Groups {
		bytes += res.Groups[i].Bytes
		complete += res.Groups[i].Requests
	}
	fmt.Printf("%d cold downloads of %d MiB, %s: at most %d threads, %.0f MB/s, %d failed\n",
		o.coldFiles, o.coldSize>>20, what, threads, float64(bytes)/1e6/res.Seconds, int64(o.coldFiles)-complete)
	return nil
}

// watch returns the largest number of threads that a process had until done is
// closed.
func watch(pid int, done <-chan struct{}) int {
	most := 0
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		most = max(most, threadsOf(pid))
		select {
		case <-done:
			return most
		case <-tick.C:
		}
	}
}

// threadsOf returns the number of threads of a process, kernel workers
// included; 0 if it is gone.
func threadsOf(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "\nThreads:")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return math.MaxInt
	}
	return n
}
