package main_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
)

// Lines for the journal have their priority and no time; others are as they were.
func TestJournal(t *testing.T) {
	root, _, _ := site(t)
	for _, journal := range []bool{true, false} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var st syscall.Stat_t
		if err := syscall.Fstat(int(w.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		inode := st.Ino
		if !journal {
			inode++
		}
		// Its file is bad: a rate needs a unit.
		config := filepath.Join(t.TempDir(), "f.yaml")
		writeFile(t, config, "root: "+root+"\nlimits: {client: 10}\n")
		cmd := exec.Command(binary, "--config", config)
		cmd.Stderr = w
		cmd.Env = append(cleanEnv(), fmt.Sprintf("JOURNAL_STREAM=%d:%d", st.Dev, inode))
		if err := cmd.Run(); err == nil {
			t.Error("it runs with a bad file")
		}
		w.Close()
		got, err := io.ReadAll(r)
		r.Close()
		if err != nil || bytes.HasPrefix(got, []byte("<3>fserve: ")) != journal || !bytes.Contains(got, []byte("fserve: ")) {
			t.Errorf("journal %v: %q %v", journal, got, err)
		}
	}
}

// The levels of the log are priorities.
func TestJournalLevels(t *testing.T) {
	root, _, _ := site(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var st syscall.Stat_t
	if err := syscall.Fstat(int(w.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "--root", root, "--listen", "127.0.0.1:0")
	cmd.Stderr = w
	cmd.Env = append(cleanEnv(), fmt.Sprintf("JOURNAL_STREAM=%d:%d", st.Dev, st.Ino))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	buf := make([]byte, 64<<10)
	n, err := r.Read(buf) // the line that it serves
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if got := append(buf[:n], rest...); !regexp.MustCompile(`(?m)^<6>INFO draining `).Match(got) {
		t.Errorf("%q", got)
	}
}
