// Package outcome says how a response ended and how its bytes went. It is the word
// that the loops, the guests and the servers above them share.
package outcome

import (
	"syscall"

	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/aio"
)

// End says how a response ended.
type End uint8

const (
	Complete    End = iota // every byte is with the kernel
	PeerGone               // the peer reset or vanished
	FileChanged            // the file shrank or changed while it was sent
	FileFailed             // the file, or another source of the body, cannot be read (EIO and the like)
	TimedOut               // the peer read nothing for the time that a send may take
	Aborted                // closed by the session, or by the engine's end

	NumEnds = Aborted + 1
)

var endNames = [NumEnds]string{"complete", "peer gone", "file changed", "file failed", "timed out", "aborted"}

func (e End) String() string {
	if e < NumEnds {
		return endNames[e]
	}
	return "unknown"
}

// OfErrno tells from the error of a send whether the peer is gone or the file
// cannot be read.
func OfErrno(e syscall.Errno) End {
	switch e {
	case syscall.EPIPE, syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.ENOTCONN, syscall.ECONNABORTED,
		syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EBADF:
		return PeerGone
	}
	return FileFailed
}

// Via is the way that bytes took to the socket.
type Via = aio.Via

const (
	ViaMemory   = aio.ViaMemory   // from memory
	ViaSendfile = aio.ViaSendfile // sendfile(2)
	ViaSplice   = aio.ViaSplice   // file, pipe, socket
	ViaCopy     = aio.ViaCopy     // file, memory, socket

	NumVia = aio.NumVia
)

// Outcome is how a response ended and what it took.
type Outcome struct {
	End   End
	Bytes [NumVia]int64 // moved, by way
	// Start and Duration are monotonic ns: when the response began, and how long it
	// took until the last byte was with the kernel.
	Start    int64
	Duration int64
	// First is how long it took until the first bytes were with the kernel; 0
	// if there were none. All are as exact as a turn of the loop.
	First int64
	// Held is for how long, in ns, the response waited for its turn, by the level
	// of limits that held it back.
	Held [shape.NumLevels]int64
}

// Total returns the bytes moved by all ways.
func (o *Outcome) Total() int64 {
	var n int64
	for _, b := range o.Bytes {
		n += b
	}
	return n
}

// FileVia returns the way that most of the file bytes went, ViaMemory if none
// were sent from a file.
func (o *Outcome) FileVia() Via {
	best := ViaMemory
	for v := ViaMemory + 1; v < NumVia; v++ {
		if o.Bytes[v] > 0 && (best == ViaMemory || o.Bytes[v] > o.Bytes[best]) {
			best = v
		}
	}
	return best
}
