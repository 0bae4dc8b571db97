package loop

import (
	"github.com/fserve/fserve/internal/mover"
	"github.com/fserve/fserve/internal/tlsrec"
)

// holdback is what the kernel keeps back of a connection because it was told to: the whole of
// that is decided in this file.
//
// While pieces of a response follow each other at once they leave in full segments: the
// socket is corked, or told that more follows (MSG_MORE). Nothing may be kept back while the
// connection waits for anything but room in its socket, or after the last byte: letGo sends
// it, and so does FIN, which travels with the last bytes if it comes next.
type holdback struct {
	corked bool  // TCP_CORK is set
	more   bool  // the kernel was told, with the last bytes, that more follows at once
	lowat  bool  // it keeps little unsent data (TCP_NOTSENT_LOWAT):
	unsent int32 // so many bytes
}

// cork sets TCP_CORK, or takes it away.
func (c *Conn) cork(on bool) {
	if c.back.corked != on && c.carried == nil {
		c.back.corked = on
		c.loop.driver.Cork(c.token, on)
	}
}

// told notes what the kernel was told with n bytes that it took.
func (c *Conn) told(more bool, n int64) {
	if n > 0 {
		c.back.more = more
		c.taken += n
		if z := c.sealed; z != nil && z.kernel {
			z.records += n/tlsrec.MaxPlain + 2 // at most: the kernel does not tell
		}
	}
}

// letGo sends what is kept back. The cork stays.
func (c *Conn) letGo() {
	if c.carried == nil && (c.back.corked || c.back.more) {
		c.loop.driver.Push(c.token)
		c.back.more = false
	}
}

// waitsForRoom is called when the socket is full. What is kept back counts as unsent: with
// a segment as large as loopback's it alone is more than a socket that is writable may
// have, and nothing would come until the cork gives up, after 200 ms.
func (c *Conn) waitsForRoom() {
	if c.back.lowat {
		c.letGo()
	}
}

// endsResponse is called when the last byte is with the kernel. If FIN follows, it lets go.
func (c *Conn) endsResponse() {
	if c.ending == keepAlive {
		c.letGo()
	}
}

// boundUnsent bounds what the kernel may hold of the connection without having sent
// it, by its grants. Where these have grown, the old bound would be what holds the
// connection up, and not the limit.
func (c *Conn) boundUnsent(grant int64) {
	n := int32(max(2*grant, mover.MinUnsent))
	if c.carried != nil || c.back.lowat && n <= c.back.unsent+c.back.unsent/4 && n >= c.back.unsent/4 {
		return
	}
	c.back.lowat, c.back.unsent = true, n
	c.loop.kernel.limitUnsent(c.fd, n)
}

// fin ends the sending half, with what is kept back: close alone drops it if input is
// unread.
func (c *Conn) fin() {
	if c.carried == nil {
		c.sealed.say(tlsrec.CloseNotify)
		c.loop.driver.CloseWrite(c.token)
	}
}
