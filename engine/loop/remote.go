package loop

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/internal/aio"
)

// A range of a remote file is read into memory by another goroutine and sent from there: all
// ways to send without copying may wait for the network in the call itself (NFS looks at
// attributes in sendfile, FUSE at pages that are gone), and no file system tells before.
const (
	// mostRead is how much is read at once, in bytes, and leastRead where many responses
	// hold as much: what their buffers hold together is remoteMemory, while they are not
	// more than remoteMemory/leastRead.
	mostRead     = 256 << 10
	leastRead    = 16 << 10
	remoteMemory = 32 << 20
	// maxFreeReads is how many buffers are kept for later.
	maxFreeReads = 16
)

// remoteRead is a range of a remote file that a stream has read, or is reading.
type remoteRead struct {
	loop    *Loop
	stream  *Stream        // nil: nobody waits any more
	file    *openfile.File // retained while it is read from
	reading bool
	err     syscall.Errno
	rest    []byte // that is yet to be sent
	buf     []byte
}

// sendRemote sends at most so many bytes of a remote file, or has the next ones read.
func (s *Stream) sendRemote(most int64, more bool) aio.Sent {
	r := s.read
	switch {
	case r == nil:
		s.beginRead()
		return aio.Sent{Status: aio.BlockedDisk}
	case r.err == unix.ESTALE:
		return aio.Sent{Status: aio.EOF}
	case r.err != 0:
		return aio.Sent{Status: aio.Failed, Err: r.err}
	}
	mem := r.rest[:min(most, int64(len(r.rest)))]
	more = more || int64(len(mem)) < s.at.N
	sent := s.sent(send(s.conn, mem, nil, more), more)
	if r.rest = r.rest[sent.N:]; len(r.rest) == 0 {
		s.endRead()
	}
	return sent
}

// beginRead has the next bytes of the segment read. With its last ones the file is looked
// at, so that a body of mixed versions is never complete.
func (s *Stream) beginRead() {
	l, at := s.conn.loop, &s.at
	l.reads++
	n := min(at.N, max(leastRead, min(mostRead, int64(remoteMemory/l.reads))))
	r := l.freeReads.Get()
	if int64(cap(r.buf)) < n {
		r.buf = make([]byte, n)
	}
	*r = remoteRead{loop: l, stream: s, file: at.File, reading: true, rest: r.buf[:n], buf: r.buf}
	s.read = r
	at.File.Retain()
	ran := l.Await(r.back)
	at.File.Read(r.rest, at.Off, n == at.N && !at.trusted, func(e syscall.Errno) {
		r.err = e
		ran()
	})
}

// back ends the reading, on the loop.
func (r *remoteRead) back(*Loop) {
	r.file.Release()
	r.file, r.reading = nil, false
	switch s := r.stream; {
	case s == nil:
		r.put()
	case s.phase == awaitingDisk && s.conn.state == connSending:
		s.goOn()
	}
}

// endRead lets go of what the stream has read.
func (s *Stream) endRead() {
	if r := s.read; r != nil {
		s.read, r.stream = nil, nil
		if !r.reading {
			r.put()
		}
	}
}

func (r *remoteRead) put() {
	r.loop.reads--
	r.loop.freeReads.Put(r, maxFreeReads)
}
