package loop

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

// Bounds are what the loops of an engine may take together. They share one, which must not
// be copied or changed once they run; a zero field bounds nothing.
type Bounds struct {
	Conns       int   // connections
	ClientConns int   // connections of one client: an address, of IPv6 the network of 64 bits
	Buffered    int64 // bytes of input that waits, and half of that of bodies (see Loop.Buffer)
	Descriptors int   // of connections and cached files; the latter make room
	Loops       int   // that share these bounds, if Descriptors is set

	// Counted reports whether a connection, which has an address, counts for ClientConns. It is called on loops. nil: all do.
	Counted func(*Conn) bool
	// Refusal is sent to a connection that is one too many, before FIN. nil: it is closed at once.
	Refusal []byte
	// OnShortage is told of a shortage that has begun: the last one of the kind was at least ten
	// seconds ago. It is called on loops and must not block. nil: nobody is.
	OnShortage func(Shortage)

	conns, buffered, bodies atomic.Int64
	sealed                  atomic.Int64               // bytes of records that sockets have not taken
	met                     [NumShortages]atomic.Int64 // monotonic ns of the last one; 0: none

	mu      sync.Mutex
	clients map[netip.Addr]*clientConns // those that have connections, if ClientConns is set
}

// Shortage is something that has run out.
type Shortage uint8

const (
	NoConns       Shortage = iota // Bounds.Conns
	NoClientConns                 // Bounds.ClientConns, of some client
	NoDescriptors                 // of the process or the system
	NoBuffers                     // Bounds.Buffered
	NoBodies                      // the half of it that is for bodies

	NumShortages = NoBodies + 1
)

var shortageNames = [NumShortages]string{"connections", "connections of a client", "descriptors", "memory for input", "memory for request bodies"}

func (s Shortage) String() string {
	if s < NumShortages {
		return shortageNames[s]
	}
	return "unknown"
}

// shortageOver is after how long without it a shortage has ended, in ns.
const shortageOver = 10e9

// short notes a shortage.
func (b *Bounds) short(s Shortage, now int64) {
	if last := b.met[s].Swap(now); (last == 0 || now-last >= shortageOver) && b.OnShortage != nil {
		b.OnShortage(s)
	}
}

// files returns how many files each loop may keep open.
func (b *Bounds) files() int { return (b.Descriptors - int(b.conns.Load())) / b.Loops }

// clientConns is how many connections a client has.
type clientConns struct {
	key netip.Addr
	n   int // guarded by Bounds.mu
}

// count counts a connection by its client, whose address is known by now.
func (b *Bounds) count(c *Conn) {
	if b.ClientConns == 0 {
		return
	}
	b.uncount(c)
	a := c.RemoteAddr().Addr()
	if !a.IsValid() || b.Counted != nil && !b.Counted(c) {
		return
	}
	c.client = b.countAs(a)
}

// countAs counts a connection of a client.
func (b *Bounds) countAs(a netip.Addr) *clientConns {
	if a = a.Unmap().WithZone(""); a.Is6() {
		a = netip.PrefixFrom(a, 64).Masked().Addr()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.clients == nil {
		b.clients = make(map[netip.Addr]*clientConns)
	}
	of := b.clients[a]
	if of == nil {
		of = &clientConns{key: a}
		b.clients[a] = of
	}
	of.n++
	return of
}

// tooMany reports whether a client, if there is one, has more connections than it may.
func (b *Bounds) tooMany(of *clientConns) bool {
	if of == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return of.n > b.ClientConns
}

// uncount ends what count has begun.
func (b *Bounds) uncount(c *Conn) {
	of := c.client
	if of == nil {
		return
	}
	c.client = nil
	b.leave(of)
}

func (b *Bounds) leave(of *clientConns) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if of.n--; of.n == 0 {
		delete(b.clients, of.key)
	}
}

// Buffer counts n bytes of request bodies that the session keeps in memory, and reports
// whether they may be kept; if not they are not counted. A negative n ends that.
func (l *Loop) Buffer(n int64) bool {
	b := l.cfg.Bounds
	if held := b.bodies.Add(n); n > 0 && b.Buffered > 0 && held > b.Buffered/2 {
		b.bodies.Add(-n)
		b.short(NoBodies, l.now)
		return false
	}
	return true
}
