package foreign

import (
	"io"
	"os"
)

// content is what is in an open file. It is for one goroutine.
type content interface {
	io.ReaderAt
	io.Closer
	// version returns the size in bytes and the time of modification in Unix ns, now.
	version() (size, mtimeNs int64, err error)
}

// onDisk is a file of a root.
type onDisk struct{ *os.File }

func (f onDisk) version() (size, mtimeNs int64, err error) {
	st, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	return st.Size(), st.ModTime().UnixNano(), nil
}

// bySendfile reports whether the file may go from the page cache to a connection, on a thread of the
// caller.
func (f *file) bySendfile() bool {
	_, disk := f.content.(onDisk)
	return f.content == nil || disk && !f.opened.Remote()
}
