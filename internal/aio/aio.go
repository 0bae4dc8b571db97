// Package aio is the contract between the engine and the drivers that talk to
// the kernel: uring (io_uring), fallback (epoll) and aiosim (a simulation for
// tests). Package aiotest is the one suite that every driver passes.
//
// A driver belongs to one event loop. Except for Wake, all its methods must be
// called from the goroutine that created it, which is locked to its OS thread.
//
// # Slots and tokens
//
// The engine numbers its connections and listeners by slot and tells the
// driver the slot together with a generation that changes each time the slot
// is used anew: a Token. From Open or Listen until the Closed event the driver
// owns the slot's descriptor; nobody else closes it. Events carry the token
// that was given, so an event for an earlier use of a slot can be told apart.
//
// # Attempts and events
//
// Send and SendFile are attempts: they move what can be moved without
// blocking and answer truthfully at once. Only when an attempt answers Blocked
// has the driver something under way for it, and then exactly one Ready event
// follows: call again with what is left. At most one attempt per slot may be
// blocked at a time (another fails with EALREADY), and while it is, the file it
// named must stay open.
// Accepting and receiving are streams: they go on by themselves and the last
// event of a stream has More unset.
//
// Close ends everything that is under way for a slot. After Close the driver
// delivers no event for the token except one Closed (and, for a listener, before
// it the connections that the kernel had handed out already, as Accepted: whoever
// shares the socket cannot get them any more), after the last operation
// that names the descriptor has completed and the descriptor is closed. Only
// then may the slot be reused. Files are no part of that: what is being read
// for a slot may end after its Closed event, and File.Pins says so.
package aio

import (
	"syscall"
	"time"
)

// Token names one use of one slot. The layout is
//
//	bits  0-31  slot
//	bits 32-55  generation, wraps
//	bits 56-63  left to the driver (its operation code); zero outside of it
type Token uint64

const (
	genBits = 24
	genMask = 1<<genBits - 1
	// TokenMask clears the bits that belong to the driver.
	TokenMask Token = 1<<56 - 1
	// MaxSlots bounds slot numbers, so that drivers can size their tables.
	MaxSlots = 1 << 22
)

// MakeToken returns the token of a slot's generation. Generations wrap at 24 bits.
func MakeToken(slot, gen uint32) Token {
	return Token(slot) | Token(gen&genMask)<<32
}

// Slot returns the slot number.
func (t Token) Slot() uint32 { return uint32(t) }

// Gen returns the generation (24 bits).
func (t Token) Gen() uint32 { return uint32(t>>32) & genMask }

// Op says what an Event reports.
type Op uint8

const (
	// Accepted: FD is a new, non-blocking, close-on-exec connection that the
	// receiver of the event now owns (until it gives it to Open), Data may say
	// whose it is; or Err says why none could be had and More is unset: call
	// Accept to go on.
	Accepted Op = iota + 1
	// Received: Data holds bytes, valid until the next Wait. Empty Data with
	// Err zero is the peer's end of stream; with Err set the connection is
	// broken, which an attempt that failed may have met before. In both
	// cases More is unset and the stream is over.
	Received
	// Ready: what blocked Send or SendFile is gone; call it again.
	// Err is set when the obstacle turned into a failure (a read error of the
	// file, for example) and calling again would be of no use.
	Ready
	// Closed: the descriptor of Token is closed, the slot is free.
	Closed
)

func (o Op) String() string { return nameOf(o, opNames) }

var opNames = []string{Accepted: "accepted", Received: "received", Ready: "ready", Closed: "closed"}

// nameOf returns the name of an enumeration's value.
func nameOf[T ~uint8](v T, names []string) string {
	if int(v) < len(names) && names[v] != "" {
		return names[v]
	}
	return "unknown"
}

// Event is one thing that happened. It is valid until the next Wait.
type Event struct {
	Token Token
	Op    Op
	More  bool          // the stream goes on by itself
	Err   syscall.Errno // 0: none
	FD    int32         // Accepted: the new connection
	Data  []byte        // Received: memory of the driver. Accepted: the peer (sys.PeerIn), nil: unknown
}

// Via is the way that bytes took to the socket.
type Via uint8

const (
	ViaMemory   Via = iota // send from memory
	ViaSendfile            // sendfile(2)
	ViaSplice              // file -> pipe -> socket, by splice(2) or IORING_OP_SPLICE
	ViaCopy                // read into memory, then send
	NumVia
)

func (v Via) String() string { return nameOf(v, viaNames) }

var viaNames = []string{ViaMemory: "memory", ViaSendfile: "sendfile", ViaSplice: "splice", ViaCopy: "copy"}

// Status is the outcome of an attempt.
type Status uint8

const (
	// OK: N bytes moved, N > 0 unless none were asked for; it may be fewer
	// than asked for: call again with the rest.
	OK Status = iota
	// BlockedSocket: N bytes moved (N may be 0), then the socket's buffer was
	// full. One Ready follows.
	BlockedSocket
	// BlockedDisk: N bytes moved (N may be 0), the next ones are not in
	// memory and are being fetched. One Ready follows.
	BlockedDisk
	// BlockedMemory: N bytes moved (N may be 0), then the kernel was short of
	// memory. One Ready follows, after a pause.
	BlockedMemory
	// EOF: N bytes moved, then the file ended before the range did: it has
	// shrunk. Nothing is under way.
	EOF
	// Failed: N bytes moved, then Err. Nothing is under way.
	Failed
)

// Sent is the answer to an attempt. N bytes were moved by Via, whatever Status says.
type Sent struct {
	N      int64
	Status Status
	Via    Via
	Err    syscall.Errno
}

// Blocked reports whether a Ready event will follow.
func (s Sent) Blocked() bool { return s.Status >= BlockedSocket && s.Status <= BlockedMemory }

// Mode selects how file ranges are sent.
type Mode uint8

const (
	// Auto: sendfile for what is in memory; what is not is fetched off the
	// loop first; steps down to splice and copy where a file system refuses.
	Auto Mode = iota
	// Sendfile: as Auto, but never steps aside to splice.
	Sendfile
	// Splice: file -> pipe -> socket for every byte.
	Splice
	// Copy: read and send through user memory.
	Copy
)

// File is an open regular file as the engine lends it to a driver. It belongs
// to one loop. The engine keeps FD open while any attempt on it is blocked and
// while Pins is not zero.
type File struct {
	FD int32
	// Serial tells apart the files that use this memory one after the other.
	Serial uint64
	// Pins counts the driver's operations under way that name FD: the engine
	// closes FD only when it is zero. Touched on the loop only.
	Pins int32
	// Size is the file's length when it was opened, in bytes: the bound of
	// what is worth fetching.
	Size int64
	// Refused is for the driver: ways that this file's file system does not
	// support, one bit per Via, so that each is tried only once.
	Refused uint8
	// ResidentUntil is for the driver: the monotonic ns until which the whole
	// file is taken to be in memory.
	ResidentUntil int64
	// Windows is for the driver: the same for each window of a larger file.
	Windows []int64
	// Advised is for the driver: the kernel was told not to read ahead.
	Advised bool
	// Advice is for the driver: how many bytes one piece of advice can ask for.
	Advice int64
	// Foreign is for the driver: cachestat(2) may not be asked about it, or
	// says nothing about it.
	Foreign bool
	// Fetched is for the driver: what was read in lately.
	Fetched FetchedRange
	// Reader is opened by the driver when it fetches for the first time, a
	// second description of the file with read-ahead of its own; 0: none, -1:
	// there cannot be one. Whoever closes FD closes it too.
	Reader int32
}

// FetchedRange is the range [Off, End) of a file, all of which was read into
// memory less than a short while before Until (monotonic ns). It answers for
// file systems that cannot tell what is in memory.
type FetchedRange struct{ Off, End, Until int64 }

// Covers reports whether n bytes from off were read in a short while ago.
func (r *FetchedRange) Covers(off, n, now int64) bool {
	return off >= r.Off && off+n <= r.End && now < r.Until
}

// FileStat is what tells one version of a file from another.
type FileStat struct {
	Size    int64
	MtimeNs int64
	CtimeNs int64 // of the last change of content or inode
}

// Stats are a driver's counters since its creation. They are plain numbers,
// written on the loop only.
type Stats struct {
	Waits       uint64           // calls of Wait
	Enters      uint64           // system calls that waited or submitted
	Submissions uint64           // operations given to the kernel's queue
	Completions uint64           // events taken from the kernel
	Overflows   uint64           // times the completion queue had overflowed
	NoBuffers   uint64           // receives that ended for lack of buffers
	ColdReads   uint64           // ranges that were fetched off the loop
	StepsDown   [NumVia]uint64   // ways refused by a file system or kernel, by way
	Bytes       [NumVia]uint64   // bytes moved, by way
	Errors      [NumClass]uint64 // errors seen, by class
	PipesOpen   uint64           // pipes that exist now
	_           [0]func()        // not comparable: take differences field by field
}

// CountError counts an error by its class.
func (s *Stats) CountError(e syscall.Errno) { s.Errors[Classify(e)]++ }

// StageMax bounds what Driver.Stage takes, in bytes.
const StageMax = 256 << 10

// Driver is one event loop's way to the kernel. Contracts are in the package
// comment and at the methods; package aiotest checks them.
type Driver interface {
	// Name returns "uring", "fallback" or "sim".
	Name() string

	// Listen gives a listening socket to the driver and starts its stream of
	// Accepted events. shared says that other drivers wait at duplicates of it:
	// then the driver leaves connections to these while it is busy. On error the
	// caller still owns fd.
	Listen(t Token, fd int, shared bool) error

	// Accept resumes a stream of Accepted events that ended with an error
	// (EMFILE, for example). The engine chooses when, so that it never spins.
	Accept(t Token)

	// Open gives a connected, non-blocking socket to the driver and starts
	// its stream of Received events. On error the caller still owns fd.
	Open(t Token, fd int) error

	// Pause stops the stream of Received events as soon as possible; bytes
	// that were already taken from the kernel may still be delivered, with
	// More set or not. Resume starts it again. Both are idempotent, and
	// harmless after the end of the stream.
	Pause(t Token)
	Resume(t Token)

	// Send attempts to send head then body (either may be empty) from
	// memory, in one system call. more tells the kernel that further bytes
	// follow at once (MSG_MORE). The slices are not kept after it returns.
	Send(t Token, head, body []byte, more bool) Sent

	// SendRecord attempts to send p as a record of TLS with a content type of its own, all or
	// nothing, on a socket whose records the kernel seals (sys.SealByKernel).
	SendRecord(t Token, kind byte, p []byte) Sent

	// SendFile attempts to send n bytes of f from off. The file's own offset
	// is neither used nor changed. A negative n or off, or a sum beyond 63
	// bits, is EINVAL. n should be bounded by the caller (a turn
	// of the loop lasts as long as the copies that it asks for).
	//
	// A driver may have taken bytes beyond what it reported (into a pipe);
	// the next SendFile of the slot must therefore continue at off+N or the
	// bytes are dropped and fetched again, which is correct but slow.
	SendFile(t Token, f *File, off, n int64, more bool) Sent

	// ReadFile attempts to read up to len(p) bytes of f from off into memory, for a slot
	// that sends them in another form. What is not in memory is fetched as for SendFile:
	// the answer is OK with at least one byte, unless p is empty; or no byte and
	// BlockedDisk, EOF or Failed.
	ReadFile(t Token, f *File, p []byte, off int64) Sent

	// Stage moves n bytes of f from off into a pipe of the slot's, if all of them are
	// in memory, the slot is not blocked, and a pipe that holds them can be spared,
	// and reports whether it did. StageMax bounds n. The next SendFile of the slot, if
	// it goes on at off, sends what was taken: the pages of the file as it was then,
	// even if it is cut or replaced since. So who looks at the file in between knows
	// which version is sent. Only who writes into these very pages still changes them.
	Stage(t Token, f *File, off, n int64) bool

	// ReadAt reads into p what is in memory already (preadv2 with
	// RWF_NOWAIT). EAGAIN: not in memory. A kernel or file system that
	// cannot tell answers EAGAIN too. It may be short.
	ReadAt(f *File, p []byte, off int64) (int, syscall.Errno)

	// Stat returns what the file is now.
	Stat(f *File) (FileStat, syscall.Errno)

	// Cork makes the socket send full segments only, until Push or Cork(t,
	// false), so that a response sent in pieces leaves in as few packets as
	// one sent at once. Push sends what waits and leaves the cork in (TCP_CORK
	// and TCP_NODELAY, tcp(7)). On other than TCP sockets they do nothing.
	Cork(t Token, on bool)
	Push(t Token)

	// CloseWrite sends FIN after what was sent (shutdown(2), SHUT_WR).
	// Receiving goes on.
	CloseWrite(t Token)

	// Close ends the use of a slot; see the package comment. With reset set
	// the peer gets RST instead of an orderly end, so that it cannot take a
	// part for the whole.
	Close(t Token, reset bool)

	// Wait submits what is queued and fills ev with what has happened,
	// waiting for at most timeout if nothing has (negative: for ever, 0: not
	// at all). It returns 0 on a time-out, after Wake, when interrupted by a
	// signal, and when it has given back what nobody has needed for a while. An error is fatal for the driver.
	// Memory of earlier events is reused from here on.
	Wait(ev []Event, timeout time.Duration) (int, error)

	// Wake makes the current or the next Wait return. Any goroutine may call
	// it at any time until Destroy has returned; many calls may give one wake-up.
	Wake()

	// Now returns the monotonic time in nanoseconds. The loop calls it after
	// each Wait: a driver may take the answer for the time of the whole turn.
	Now() int64

	// Stats returns the counters.
	Stats() *Stats

	// Destroy closes every slot, cancels what is under way, waits until the
	// kernel no longer uses any memory or descriptor of the driver, and frees
	// all. No event is delivered. Nothing may be called after it.
	Destroy() error
}

// Config is what every driver is created with. Zero fields take the defaults
// that WithDefaults fills in.
type Config struct {
	Mode Mode

	// RecvBuffers of RecvBufferSize bytes hold received bytes between one
	// Wait and the next. Defaults: 256 of 4 KiB. Powers of two.
	RecvBuffers    int
	RecvBufferSize int

	// ColdWorkers bounds the kernel threads (uring) or goroutines in system
	// calls (fallback) that fetch file ranges from disk. Default: 16.
	ColdWorkers int

	// ColdChunk is how much of a file is fetched at a time when it is not in
	// memory, in bytes. Default: 2 MiB.
	ColdChunk int64

	// Pipes bounds the pipes, of two descriptors each, by which Stage may wait for
	// room in sockets. Default: 64.
	Pipes int

	// HoldProcessor lets Wait keep the runtime's processor (a P, one of
	// GOMAXPROCS) while it waits for up to ShortWait. It suits a program that has
	// processors to spare for its other goroutines.
	HoldProcessor bool
}

// ShortWait is how long a driver waits in the kernel without handing its
// processor back, if it may at all. A thread in an ordinary system call has its
// processor taken away by the runtime's monitor, which for that wakes every
// 20 us as long as it finds one to take: up to a fifth of the time of a loop that
// waits for the next tokens thousands of times a second.
//
// What must stop the world meanwhile interrupts the wait by a signal
// (asynchronous preemption), and so does the monitor after 10 ms. The driver then
// goes on with an ordinary call, so that an idle loop is left alone. The bound
// itself is for programs without those signals. It is longer than a tick of the
// kernel, because a timer that is the next one to expire costs a virtual machine
// 4 us to set and take back.
const ShortWait = 20 * time.Millisecond

// SplitWait divides a wait of up to timeout, which must not be 0 (negative: for
// ever), into a first one that keeps the processor, if hold is set, and one that
// hands it back. Either may be 0: it is left out.
func SplitWait(timeout time.Duration, hold bool) (short, rest time.Duration) {
	switch {
	case !hold:
		return 0, timeout
	case timeout < 0:
		return ShortWait, timeout
	}
	short = min(ShortWait, timeout)
	return short, timeout - short
}

// WithDefaults returns c with its zero fields filled in.
func (c Config) WithDefaults() Config {
	if c.RecvBuffers == 0 {
		c.RecvBuffers = 256
	}
	if c.RecvBufferSize == 0 {
		c.RecvBufferSize = 4 << 10
	}
	if c.Pipes == 0 {
		c.Pipes = 64
	}
	if c.ColdWorkers == 0 {
		c.ColdWorkers = 16
	}
	if c.ColdChunk == 0 {
		c.ColdChunk = 2 << 20
	}
	return c
}
