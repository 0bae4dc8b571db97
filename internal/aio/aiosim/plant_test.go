package aiosim

import (
	"time"

	"github.com/fserve/fserve/internal/aio"
)

// bug is a fault that is planted in the reference user.
type bug uint8

const (
	noBug bug = iota
	staleSend
	writesReceived
	doubleClose
	callAfterClosed
	oldGeneration
	sameGeneration
	neverOpened
	reusesSlot
	opensOpenSlot
	driverBits
	hugeSlot
	secondAttempt
	closesBlockedFile
	closesFileEarly
	closesPinned
	sendAfterCloseWrite
	sendToListener
	acceptsConnection
	acceptsTwice
	opensFile
	opensUnknownFD
	opensTwice
	closesDriversFD
	closesFDTwice
	closesSocketAsFile
	negativeLength
	negativeOffset
	sendsClosedFile
	otherGoroutine
	callInWait
	callAfterDestroy
	wakeAfterDestroy
	noRoomForEvents
	spins
	endless
	forgetsAccept
	forgetsPush
	ignoresEOF
	ignoresChange
	skipsAhead
	sendsMore
	leaksFile
	leaksAccepted
	leaksListener
	leaksSlot
	leaksDriver
	miscounts
	numBug
)

// plantStart plants the bugs that need no connection.
func (r *refServer) plantStart() {
	switch r.bug {
	case neverOpened:
		r.d.Pause(aio.MakeToken(7, 1))
	case driverBits:
		r.d.Accept(listenerToken() | 1<<60)
	case hugeSlot:
		fd := r.w.newFD(descriptor{ln: &Listener{w: r.w}})
		_ = r.d.Listen(aio.MakeToken(aio.MaxSlots, 1), int(fd), false)
	case sendToListener:
		r.d.Send(listenerToken(), []byte("x"), nil, false)
	case acceptsTwice:
		r.d.Accept(listenerToken())
	case callInWait:
		r.w.At(time.Millisecond, func() { r.d.Now() })
	case otherGoroutine:
		done := make(chan struct{})
		go func() { defer close(done); r.d.Stat(nil) }()
		<-done
	case miscounts:
		r.d.Stats().Bytes[aio.ViaCopy]++
	case opensUnknownFD:
		_ = r.d.Open(aio.MakeToken(9, 1), 3)
	}
}

// plantOpen plants the bugs of a new connection. It returns true if that is
// all that becomes of it.
func (r *refServer) plantOpen(c *refConn, fd int32) bool {
	switch r.bug {
	case opensOpenSlot:
		_ = r.d.Open(aio.MakeToken(0, 2), int(fd))
	case opensTwice:
		_ = r.d.Open(c.tok, int(fd))
	case opensFile:
		if n, e := r.w.OpenFile("a"); e == 0 {
			_ = r.d.Open(c.tok, int(n))
		}
	case acceptsConnection:
		_ = r.d.Open(c.tok, int(fd))
		r.d.Accept(c.tok)
	case closesDriversFD:
		_ = r.d.Open(c.tok, int(fd))
		r.w.CloseFD(fd)
	case closesFDTwice:
		r.w.CloseFD(fd)
		r.w.CloseFD(fd)
	case closesSocketAsFile:
		r.w.CloseFile(fd)
	default:
		return false
	}
	return r.bug != opensTwice
}

// plantBlocked plants the bugs of a blocked attempt.
func (r *refServer) plantBlocked(c *refConn) {
	if !c.blocked || c.closing {
		return
	}
	switch {
	case r.bug == secondAttempt:
		r.d.Send(c.tok, []byte("x"), nil, false)
	case r.bug == closesBlockedFile && c.opened && len(c.head) == 0:
		c.opened = false
		r.w.CloseFile(c.file.FD)
	}
}

// plantFile plants the bugs of sending a file.
func (r *refServer) plantFile(c *refConn) bool {
	switch r.bug {
	case negativeLength:
		r.d.SendFile(c.tok, c.file, c.off, -1, false)
	case negativeOffset:
		_, _ = r.d.ReadAt(c.file, make([]byte, 1), -1)
	case sendsClosedFile:
		r.w.CloseFile(c.file.FD)
		c.opened = false
		r.d.SendFile(c.tok, c.file, c.off, 1, false)
	case writesReceived:
		if r.spare != nil {
			r.spare[0] ^= 1
		}
	default:
		return false
	}
	return !c.opened
}
