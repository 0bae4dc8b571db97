package foreign

import (
	"errors"
	"fmt"
	"io"

	"github.com/fserve/fserve/server/httpfile"
)

// ErrFileChanged is returned by Answer.WriteTo and Answer.Read if the file has changed
// since the response began. The client must not take what it has got for the whole:
// the connection is to be cut.
var ErrFileChanged = errors.New("the file has changed")

// tailBytes of a file are sent after it was looked at once more, so that a body of
// mixed versions never gets its last bytes.
const tailBytes = 1 << 10

// remoteBytes of a remote file are read and written at a time.
const remoteBytes = 128 << 10

// WriteTo writes the body. Ranges of the file are copied as io.LimitedReader of
// an *os.File, which connections know to send without copying. What is in the
// buffer of a bufio.Writer is flushed before.
func (a *Answer) WriteTo(w io.Writer) (n int64, err error) {
	if !a.chosen().bySendfile() { // of remote files: no call on a thread of the caller may wait for it
		return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{a}, make([]byte, max(1, min(remoteBytes, a.ContentLength()))))
	}
	for len(a.rest) > 0 && err == nil {
		var k int64
		s := a.rest[0]
		a.rest = a.rest[1:]
		if s.Kind == httpfile.SegmentMemory {
			k, err = writeAll(w, s.Mem)
		} else {
			k, err = a.writeRange(w, s)
		}
		n += k
	}
	return n, err
}

func writeAll(w io.Writer, p []byte) (int64, error) {
	n, err := w.Write(p)
	return int64(n), err
}

// writeRange writes a range of the file, of which the end goes through memory.
func (a *Answer) writeRange(w io.Writer, s httpfile.Segment) (n int64, err error) {
	if bulk := s.N - tailBytes; bulk > 0 {
		if b, ok := w.(interface{ Flush() error }); ok {
			if err := b.Flush(); err != nil {
				return 0, err
			}
		}
		disk := a.chosen().content.(onDisk).File
		if _, err := disk.Seek(s.Off, io.SeekStart); err != nil {
			return 0, err
		}
		n, err = io.CopyN(w, disk, bulk)
		if errors.Is(err, io.EOF) {
			err = ErrFileChanged
		}
		if err != nil {
			return n, err
		}
		s.Off, s.N = s.Off+n, s.N-n
	}
	var buf [tailBytes]byte
	tail := buf[:s.N]
	if err := a.readAt(tail, s.Off); err != nil {
		return n, err
	}
	k, err := writeAll(w, tail)
	return n + k, err
}

// readAt reads all of p, and checks that the file is still the same.
func (a *Answer) readAt(p []byte, off int64) (err error) {
	f := a.chosen()
	f.opened.Do(func() { err = f.readAt(p, off) })
	return err
}

func (f *file) readAt(p []byte, off int64) error {
	if n, err := f.ReadAt(p, off); n < len(p) && err != nil {
		if errors.Is(err, io.EOF) {
			return ErrFileChanged
		}
		return fmt.Errorf("read: %w", err)
	}
	size, mtime, err := f.version()
	if err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	switch same := size == f.opened.Stat.Size && mtime == f.opened.Stat.Mtim.Nano(); {
	case same, f.growing && size >= f.opened.Stat.Size:
		return nil
	}
	return ErrFileChanged
}

// Read reads the body, for those who want to do something with it other than send it.
func (a *Answer) Read(p []byte) (int, error) {
	for len(a.rest) > 0 {
		s := &a.rest[0]
		k := int(min(int64(len(p)), s.N))
		if k == 0 && s.N > 0 {
			return 0, nil
		}
		if s.Kind == httpfile.SegmentMemory {
			copy(p, s.Mem[:k])
			s.Mem = s.Mem[k:]
		} else if err := a.readAt(p[:k], s.Off); err != nil {
			return 0, err
		}
		s.Off, s.N = s.Off+int64(k), s.N-int64(k)
		if s.N == 0 {
			a.rest = a.rest[1:]
		}
		if k > 0 {
			return k, nil
		}
	}
	return 0, io.EOF
}
