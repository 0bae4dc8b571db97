package driver

import (
	"syscall"
	"time"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

// idle returns the slot of a token if an attempt may be made on it now.
func (b *Base[S]) idle(t aio.Token) (*Slot[S], syscall.Errno) {
	s := b.Get(t)
	switch {
	case s == nil:
		return nil, syscall.EBADF
	case s.Wait != ForNothing:
		return nil, syscall.EALREADY
	}
	return s, 0
}

// Send implements aio.Driver. A short send of a non-blocking stream socket means
// that its buffer is full (epoll(7)).
func (b *Base[S]) Send(t aio.Token, head, body []byte, more bool) aio.Sent {
	s, e := b.idle(t)
	if e != 0 {
		return aio.Sent{Status: aio.Failed, Err: e}
	}
	want := len(head) + len(body)
	if want == 0 {
		return aio.Sent{}
	}
	n, e := sys.Send2(s.FD, head, body, more)
	return b.fromMemory(t, s, n, want, e)
}

// SendRecord implements aio.Driver.
func (b *Base[S]) SendRecord(t aio.Token, kind byte, p []byte) aio.Sent {
	s, e := b.idle(t)
	if e != 0 {
		return aio.Sent{Status: aio.Failed, Err: e}
	}
	n := 0
	if e = sys.SendRecord(s.FD, kind, p); e == 0 {
		n = len(p)
	}
	return b.fromMemory(t, s, n, len(p), e)
}

// fromMemory answers an attempt to send want bytes from memory, of which n were sent.
func (b *Base[S]) fromMemory(t aio.Token, s *Slot[S], n, want int, e syscall.Errno) aio.Sent {
	b.Counters.Bytes[aio.ViaMemory] += uint64(n)
	sent := aio.Sent{N: int64(n)}
	switch {
	case e == 0 && n == want:
		return sent
	case e == 0, e == syscall.EAGAIN:
		sent.Status = aio.BlockedSocket
	case aio.Classify(e) == aio.Wait:
		sent.Status = aio.BlockedMemory
		b.Counters.CountError(e)
	default:
		b.Counters.CountError(e)
		sent.Status, sent.Err = aio.Failed, e
	}
	return b.answer(t, s, sent)
}

// SendFile implements aio.Driver.
func (b *Base[S]) SendFile(t aio.Token, f *aio.File, off, n int64, more bool) aio.Sent {
	s, e := b.idle(t)
	if e != 0 {
		return aio.Sent{Status: aio.Failed, Err: e}
	}
	for {
		sent, fetch := b.Mover.Send(s.FD, &s.Move, f, off, n, more)
		if fetch.Empty() || b.waits.Fetch(t, s, f, fetch) {
			return b.answer(t, s, sent)
		}
		// Nothing can be fetched now: send, and wait for the disk if it must be.
		_ = b.Mover.Fetched(&s.Move, 0)
		if sent.Status != aio.BlockedDisk {
			return b.answer(t, s, sent)
		}
	}
}

// ReadFile implements aio.Driver.
func (b *Base[S]) ReadFile(t aio.Token, f *aio.File, p []byte, off int64) aio.Sent {
	s, e := b.idle(t)
	if e != 0 {
		return aio.Sent{Status: aio.Failed, Err: e}
	}
	for {
		read, fetch := b.Mover.Read(&s.Move, f, p, off)
		if fetch.Empty() || b.waits.Fetch(t, s, f, fetch) {
			return b.answer(t, s, read)
		}
		_ = b.Mover.Fetched(&s.Move, 0) // as in SendFile
		if read.Status != aio.BlockedDisk {
			return b.answer(t, s, read)
		}
	}
}

// answer notes what an answer means for the slot.
func (b *Base[S]) answer(t aio.Token, s *Slot[S], sent aio.Sent) aio.Sent {
	switch {
	case sent.Status == aio.BlockedSocket:
		s.Wait = ForRoom
		if b.waits.Room != nil {
			b.waits.Room(t, s)
		}
	case sent.Status == aio.BlockedDisk:
		s.Wait = ForDisk
	case sent.Status == aio.BlockedMemory:
		s.Wait = ForMemory
		b.Postpone(t)
	case aio.ToldOnce(sent.Err):
		s.err = uint16(sent.Err)
	}
	return sent
}

// Stage implements aio.Driver.
func (b *Base[S]) Stage(t aio.Token, f *aio.File, off, n int64) bool {
	s, e := b.idle(t)
	return e == 0 && b.Mover.Stage(&s.Move, f, off, n)
}

// Fetch is a fetch of a file range for a slot. It pins the file, and concerns the
// slot as long as that goes on with what it was sending.
type Fetch struct {
	Token aio.Token
	epoch uint32
	file  *aio.File
}

// BeginFetch notes a fetch of a range of f, which is pinned until EndFetch,
// whatever becomes of the slot.
func (b *Base[S]) BeginFetch(t aio.Token, s *Slot[S], f *aio.File) Fetch {
	f.Pins++
	b.Counters.ColdReads++
	return Fetch{Token: t, epoch: s.Move.Epoch, file: f}
}

// EndFetch notes that a fetch has ended, with e. It returns the slot if that has
// waited for it, which then waits ForDelivery of a Ready event with the error fault;
// else nil. If a read-ahead fails, the attempt that gets there will too.
func (b *Base[S]) EndFetch(f Fetch, e syscall.Errno) (s *Slot[S], fault syscall.Errno) {
	f.Unpin()
	s = b.Get(f.Token)
	if s == nil || s.Move.Epoch != f.epoch {
		return nil, 0
	}
	fault = b.Mover.Fetched(&s.Move, e)
	if s.Wait != ForDisk {
		return nil, 0
	}
	s.Wait = ForDelivery
	return s, fault
}

// Unpin stands in for EndFetch when the driver has ended.
func (f Fetch) Unpin() { f.file.Pins-- }

// pauseFor is how long a slot waits for memory of the kernel: long enough that waiting costs
// nothing, and short beside what brings a machine there.
const pauseFor = 5 * time.Millisecond

// pause is the wait of a slot for memory of the kernel.
type pause struct {
	token aio.Token
	until int64 // monotonic ns
}

// Postpone has Due return a slot after a pause.
func (b *Base[S]) Postpone(t aio.Token) { b.short.Push(pause{t, sys.Nanotime() + int64(pauseFor)}) }

// Due returns the next slot whose pause is over and that is open; nil: there is none now.
// If an attempt waits ForMemory, it is to be told that it is Ready.
func (b *Base[S]) Due() (aio.Token, *Slot[S]) {
	for b.short.Len() > 0 && b.short.Front().until <= sys.Nanotime() {
		t := b.short.Pop().token
		if s := b.Get(t); s != nil {
			return t, s
		}
	}
	return 0, nil
}

// Until bounds a time-out (negative: none) by the end of the next pause.
func (b *Base[S]) Until(timeout time.Duration) time.Duration {
	if b.short.Len() == 0 {
		return timeout
	}
	return before(timeout, b.short.Front().until-sys.Nanotime())
}

// Trimmed trims the Mover's pool, and bounds a time-out by when that is to be done again and by
// when another pool is, in monotonic ns; 0: there is none.
func (b *Base[S]) Trimmed(timeout time.Duration, other int64) time.Duration {
	for _, at := range [...]int64{b.Mover.Trim(), other} {
		if at != 0 {
			timeout = before(timeout, at-b.Mover.Now)
		}
	}
	return timeout
}

// before bounds a time-out (negative: none).
func before(timeout time.Duration, left int64) time.Duration {
	d := max(time.Duration(left), 0)
	if timeout >= 0 {
		d = min(d, timeout)
	}
	return d
}
