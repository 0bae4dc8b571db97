package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"syscall"
)

// The priorities of lines on standard error (sd-daemon(3)), by which journalctl -p
// selects.
const (
	daemonErr     = "<3>"
	daemonWarning = "<4>"
	daemonInfo    = "<6>"
	daemonDebug   = "<7>"
)

// isJournal reports whether a file leads to the journal. stream is JOURNAL_STREAM
// (systemd.exec(5)): device and inode of what standard error was when the service
// was started, since it may be another file by now.
func isJournal(f *os.File, stream string) bool {
	info, err := f.Stat()
	if stream == "" || err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// journal puts its priority before each line of the log, which begins with the
// level.
type journal struct{ w io.Writer }

// Write implements io.Writer, for one line at a time.
func (j journal) Write(line []byte) (int, error) {
	priority := daemonInfo
	for level, p := range map[string]string{"ERROR": daemonErr, "WARN": daemonWarning, "DEBUG": daemonDebug} {
		if bytes.HasPrefix(line, []byte(level)) {
			priority = p
		}
	}
	if _, err := j.w.Write(append([]byte(priority), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}
