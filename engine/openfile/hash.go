package openfile

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// hashXattr is where shatag and cshatag keep the SHA-256 of a file, and tsXattr the time
	// of modification that it is of.
	hashXattr = "user.shatag.sha256"
	tsXattr   = "user.shatag.ts"
	// hashExt is the extension of a file beside it that says the same, as sha256sum writes it.
	hashExt = ".sha256"

	hexLen = 64 // of a SHA-256
	// hashHead is how much of such a file is read, in bytes: its first line.
	hashHead = 4 << 10
)

// hash returns the SHA-256 of the content of an opened file in hexadecimal, as its extended
// attributes or the file NAME.sha256 say it; empty if they do not, or of an earlier version.
// resolve is as for find. It may wait.
func (r *Root) hash(name string, o *Opened, resolve uint64) string {
	if o.FD < 0 {
		return ""
	}
	var buf [128]byte
	if ts := fmt.Sprintf("%d.%09d", o.Stat.Mtim.Sec, o.Stat.Mtim.Nsec); xattr(o.FD, tsXattr, buf[:]) == ts {
		if h := hexOf(xattr(o.FD, hashXattr, buf[:])); h != "" {
			return h
		}
	}
	beside := r.find(name+hashExt, resolve)
	if beside.FD < 0 {
		return ""
	}
	defer unix.Close(int(beside.FD))
	if beside.Stat.Mtim.Nano() < o.Stat.Mtim.Nano() {
		return ""
	}
	head := make([]byte, hashHead)
	n, e := readFull(unix.Pread, beside.FD, head, 0)
	if e != 0 {
		return ""
	}
	line, _, _ := bytes.Cut(head[:n], []byte("\n"))
	for _, field := range bytes.Fields(line) { // HEX  NAME, or SHA256 (NAME) = HEX
		if h := hexOf(string(field)); h != "" {
			return h
		}
	}
	return ""
}

// xattr returns an extended attribute, empty if there is none that fits into buf.
func xattr(fd int32, name string, buf []byte) string {
	n, err := unix.Fgetxattr(int(fd), name, buf)
	if err != nil {
		return ""
	}
	return string(bytes.TrimRight(buf[:n], "\x00"))
}

// hexOf returns a SHA-256 in lower case, empty for what is none.
func hexOf(s string) string {
	s = strings.ToLower(s)
	if len(s) != hexLen || strings.Trim(s, "0123456789abcdef") != "" {
		return ""
	}
	return s
}
