package uring

import (
	iouring "github.com/iceber/iouring-go/syscall"

	"github.com/fserve/fserve/internal/aio"
)

// op is what an operation of the ring is for.
type op uint8

const (
	opCancel op = iota // ends another one; its own outcome nobody waits for
	opAccept           // the stream of a listener
	opRecv             // the stream of a connection
	opPoll             // the wait for room in a socket
	opFetch            // the last one of a fetch
	opPart             // one of a fetch before the last: completes only if it fails
	opWake             // the read of the eventfd
)

// opcodes are all that the ring may be asked for.
var opcodes = [...]uint8{
	iouring.IORING_OP_ACCEPT,
	iouring.IORING_OP_RECV,
	iouring.IORING_OP_POLL_ADD,
	iouring.IORING_OP_ASYNC_CANCEL,
	iouring.IORING_OP_READ,
	iouring.IORING_OP_FADVISE,
	iouring.IORING_OP_SPLICE,
}

// userData names an operation, in its submission and in its completions. It is
// never a descriptor or an address: what it names may have ended.
//
//	 63    56 55         32 31                       0
//	+--------+-------------+--------------------------+
//	| op     | generation  | slot                     |  opAccept, opRecv, opPoll
//	| op     | 0           | index in fetches         |  opFetch, opPart
//	| op     | 0           | 0                        |  opCancel, opWake
//	+--------+-------------+--------------------------+
//
// Bits 0 to 55 of the first kind are the slot's aio.Token.
type userData uint64

const opShift = 56

// of names the operation that o is for a slot.
func (o op) of(t aio.Token) userData { return userData(o)<<opShift | userData(t) }

// ofFetch names the operation that o is for a fetch.
func (o op) ofFetch(i uint32) userData { return userData(o)<<opShift | userData(i) }

func (u userData) op() op           { return op(u >> opShift) }
func (u userData) token() aio.Token { return aio.Token(u) & aio.TokenMask }
func (u userData) fetch() uint32    { return uint32(u) }
