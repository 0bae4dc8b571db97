package loop

import (
	"errors"
	"io"
	"syscall"

	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/tlsrec"
)

// Secured is what an Adopted is besides if the descriptor is the client's own socket and TLS
// is spoken on it, whose handshake is over.
type Secured interface {
	// Records returns the record layer, which is the loop's from here on. It is called once.
	Records() *tlsrec.Conn
}

// sealed is what a connection has besides if it sends and receives records of TLS. What is
// reported as sent of it are bytes of content, from when they are sealed: a record cannot be
// taken back. The rest of a record that the socket does not take is pending, and goes before all
// else.
type sealed struct {
	conn    *Conn
	rec     *tlsrec.Conn
	partial []byte // the beginning of a record, of the loop's pool
	pending []byte // records that the socket has not taken, of the loop's other pool
	went    int    // bytes of it that were sent
	batch   int    // bytes of content that are sealed at once
	kernel  bool   // the kernel seals what is sent, as on any socket, and nothing is pending
	records int64  // that it has sealed, at most
	blocked bool   // an attempt is: Ready follows
	said    bool   // the last record was sealed: an alert
	heard   bool   // the peer's last record has come
}

const (
	// sealMost bounds what is sealed at once, in bytes of content: twice as much leaves the
	// second level of caches, half of it has twice the system calls.
	sealMost = 8 * sealLeast

	// sealLeast is what is sealed at once for a peer that takes little: one record. With what a
	// record has besides it is no more than a buffer of the pool, and so is twice as much.
	sealLeast = 16<<10 - 64

	// sealedMemory is how many bytes of records sockets may leave to all loops before each
	// connection seals no more than sealLeast at once. Slow readers hold more than that only by
	// being so many.
	sealedMemory = 64 << 20

	// sealedTurn is the turn of a connection of which all is sealed, in bytes: some 100 us of a core.
	sealedTurn = 256 << 10
)

// sealer is what a loop seals records with.
type sealer struct {
	records []byte    // made at first use, as is
	plain   []byte    // content that was read to be sealed
	pool    inputPool // of what is pending
}

// init makes the memory at first use.
func (w *sealer) init() {
	if w.records == nil {
		const records = sealMost/tlsrec.MaxPlain + 1
		w.records = make([]byte, 0, sealMost+records*(tlsrec.MaxPrefix+tlsrec.MaxSuffix)+tlsrec.MaxControl)
		w.plain = make([]byte, sealMost, sealMost+1)
	}
}

// newSealed begins to speak TLS on a new connection.
func newSealed(c *Conn, rec *tlsrec.Conn) *sealed {
	if rec.ByKernel() {
		return &sealed{conn: c, rec: rec, kernel: true}
	}
	c.loop.sealer.init()
	return &sealed{conn: c, rec: rec, batch: sealMost / 2}
}

// direct reports whether the descriptor is the client's own socket.
func direct(c *Conn) bool { return c.adopted == nil || c.sealed != nil }

// send attempts to send head and body from memory.
func send(c *Conn, head, body []byte, more bool) aio.Sent {
	switch {
	case c.sealed.seals():
		return c.sealed.send(head, body, more)
	case c.carried != nil:
		n := c.carried.by.Send(head, body)
		if n < len(head)+len(body) {
			return aio.Sent{N: int64(n), Status: aio.BlockedSocket}
		}
		return aio.Sent{N: int64(n)}
	}
	return c.loop.driver.Send(c.token, head, body, more)
}

// seals reports whether what is sent is to be sealed first. It may be called on nil.
func (z *sealed) seals() bool { return z != nil && !z.kernel }

// begin returns memory for records, with a change of keys if one is due.
func (z *sealed) begin(w *sealer) ([]byte, error) {
	if z.rec.NeedsUpdate() {
		return z.rec.AppendUpdate(w.records)
	}
	return w.records, nil
}

// atOnce returns how many of n bytes of content are sealed at once.
func (z *sealed) atOnce(n int64) int {
	if n > sealLeast && z.conn.loop.sealer.pool.held.Load() > sealedMemory {
		n = sealLeast
	}
	return int(min(n, int64(z.batch)))
}

// send seals head and body, and attempts to send them.
func (z *sealed) send(head, body []byte, more bool) (sent aio.Sent) {
	for len(head)+len(body) > 0 {
		records, err := z.begin(&z.conn.loop.sealer)
		if err != nil {
			return aio.Sent{N: sent.N, Status: aio.Failed, Err: errSealing}
		}
		n := z.atOnce(int64(len(head) + len(body)))
		for left := n; left > 0; {
			k := min(left, tlsrec.MaxPlain)
			left -= k
			at := len(records)
			records = records[:at+z.rec.Prefix()+k+z.rec.Suffix()]
			content := records[at+z.rec.Prefix():][:k]
			inHead := copy(content, head)
			inBody := copy(content[inHead:], body)
			head, body = head[inHead:], body[inBody:]
			z.rec.Seal(records[at:])
		}
		s := z.push(records, more || len(head)+len(body) > 0)
		if s.Status == aio.Failed {
			return aio.Sent{N: sent.N, Status: aio.Failed, Err: s.Err}
		}
		sent.N += int64(n)
		if sent.Status = s.Status; s.Status != aio.OK {
			break
		}
	}
	return sent
}

// errSealing stands for a failure of the cipher, of which none is known.
const errSealing = syscall.EINVAL

// push sends records, and keeps what the socket does not take.
func (z *sealed) push(records []byte, more bool) aio.Sent {
	c, n := z.conn, len(records)
	for {
		s := c.loop.driver.Send(c.token, records, nil, more)
		records = records[s.N:]
		switch {
		case s.Blocked():
			z.blocked = true
			if len(records) > 0 {
				c.loop.sealer.pool.append(&z.pending, records)
			}
			if len(records) > n/2 {
				z.batch = max(z.batch/2, sealLeast)
			}
			return s
		case s.Status != aio.OK:
			return s
		case len(records) == 0:
			if n > z.batch {
				z.batch = min(2*z.batch, sealMost)
			}
			return s
		}
	}
}

// flush sends what is pending. Status OK: nothing is any more.
func (z *sealed) flush() aio.Sent {
	l := z.conn.loop
	for len(z.pending) > 0 {
		s := l.driver.Send(z.conn.token, z.pending[z.went:], nil, false)
		if z.went += int(s.N); z.went == len(z.pending) {
			l.sealer.pool.put(&z.pending)
			z.went = 0
		}
		if s.Status != aio.OK {
			z.blocked = s.Blocked()
			return aio.Sent{Status: s.Status, Err: s.Err} // all was reported when it was sealed
		}
	}
	return aio.Sent{}
}

// sealRange seals and sends at most so many bytes of the file's range at hand. The file is looked
// at before the last record of the range is sealed: a body of mixed versions is never
// complete.
func (s *Stream) sealRange(most int64, more bool) aio.Sent {
	c, at := s.conn, &s.at
	l, z := c.loop, c.sealed
	plain := l.sealer.plain[:z.atOnce(min(at.N, most))]
	read := l.driver.ReadFile(c.token, at.File.Lent(), plain, at.Off)
	if read.N == 0 {
		z.blocked = read.Blocked()
		return read
	}
	plain = plain[:read.N]
	if read.N == at.N && !at.trusted && !at.File.Leased() && !at.File.Unchanged(l.driver) {
		return aio.Sent{Status: aio.EOF}
	}
	records, err := z.begin(&l.sealer)
	if err != nil {
		return aio.Sent{Status: aio.Failed, Err: errSealing}
	}
	for len(plain) > 0 {
		k := min(len(plain), tlsrec.MaxPlain)
		records = z.rec.Append(records, plain[:k])
		plain = plain[k:]
	}
	more = more || read.N < at.N
	sent := z.push(records, more)
	if sent.N, sent.Via = read.N, aio.ViaCopy; sent.Status == aio.Failed {
		sent.N = 0
	}
	return s.sent(sent, more)
}

// owesEnd reports whether the response at hand is to be followed by close_notify: without, its
// client could not tell it from one that was cut off. It may be called on nil.
func (z *sealed) owesEnd() bool { return z != nil && !z.said && z.conn.Closing() }

// sayEnd is for who owes it.
func (z *sealed) sayEnd() aio.Sent {
	if z.kernel {
		s := z.alertByKernel(tlsrec.CloseNotify)
		z.said = s.Status == aio.OK
		return aio.Sent{Status: s.Status, Err: s.Err}
	}
	z.said = true
	s := z.push(z.rec.AppendAlert(z.conn.loop.sealer.records, tlsrec.CloseNotify), true)
	return aio.Sent{Status: s.Status, Err: s.Err}
}

// say seals the last record, and attempts to send it: what is not taken is lost, and FIN
// follows. It may be called on nil.
func (z *sealed) say(a tlsrec.Alert) {
	if z == nil || z.said {
		return
	}
	z.said = true
	switch {
	case z.blocked:
	case z.kernel:
		z.blocked = z.alertByKernel(a).Blocked()
	case len(z.pending) == 0:
		l := z.conn.loop
		z.blocked = l.driver.Send(z.conn.token, z.rec.AppendAlert(l.sealer.records, a), nil, true).Blocked()
	}
}

// alertByKernel attempts to send an alert that the kernel seals.
func (z *sealed) alertByKernel(a tlsrec.Alert) aio.Sent {
	content, kind := a.Record()
	return z.conn.loop.driver.SendRecord(z.conn.token, kind, content[:])
}

// errorOf returns what an error of sending stands for: a kernel that seals has EBADMSG for a peer that is
// gone. It may be called on nil.
func (z *sealed) errorOf(e syscall.Errno) syscall.Errno {
	if z != nil && z.kernel && e == syscall.EBADMSG {
		return syscall.ECONNRESET
	}
	return e
}

// worn reports whether the kernel, which does not change keys, has sealed as much as they are good for. It may
// be called on nil.
func (z *sealed) worn() bool { return z != nil && z.records >= tlsrec.MaxRecords }

// forget wipes the secrets, and lets go of memory. It may be called on nil.
func (z *sealed) forget() {
	if z == nil {
		return
	}
	z.rec.Wipe()
	z.said, z.heard, z.went = true, true, 0
	z.conn.loop.buffers.put(&z.partial)
	z.conn.loop.sealer.pool.put(&z.pending)
}

// keepsInput reports whether memory is held for what was received and not yet used.
func keepsInput(c *Conn) bool {
	return cap(c.in.buf) > 0 || c.sealed != nil && cap(c.sealed.partial) > 0
}

// open opens received records, in place, and handles what is in them.
func (z *sealed) open(data []byte) {
	c := z.conn
	l := c.loop
	for len(data) > 0 && !z.heard && c.state != connClosing {
		if c.state == connLingering {
			c.input(data) // it is dropped
			return
		}
		record, rest, err := z.next(l, data)
		if err != nil {
			z.refuse(err)
			return
		}
		if data = rest; record == nil {
			break
		}
		whole := z.partial // what record is part of, if it came in pieces
		z.partial = nil
		content, err := z.rec.Open(record)
		if len(content) > 0 {
			c.input(content)
		}
		l.buffers.put(&whole)
		if err == nil && z.kernel && z.rec.NeedsUpdate() {
			err = tlsrec.InternalError // the kernel has no other keys
		}
		if err != nil {
			z.refuse(err)
			return
		}
	}
	if len(z.partial) > 0 {
		if c.state == connReading && !c.in.queued && len(c.in.buf) == 0 && c.in.due == 0 && c.requests > 0 {
			c.deadline = min(c.deadline, l.now+int64(l.cfg.HeaderTimeout)) // a request has begun
		}
		l.crowd.makeRoom(c)
	}
}

// next takes the next record off data; nil: it is not whole, and what there is of it is kept.
func (z *sealed) next(l *Loop, data []byte) (record, rest []byte, err error) {
	for len(z.partial) > 0 {
		n, err := z.rec.Length(z.partial)
		switch {
		case err != nil:
			return nil, nil, err
		case n == 0:
			n = tlsrec.HeaderLen
		case n == len(z.partial):
			return z.partial, data, nil
		}
		k := min(n-len(z.partial), len(data))
		if k == 0 {
			return nil, nil, nil
		}
		l.buffers.append(&z.partial, data[:k])
		data = data[k:]
	}
	n, err := z.rec.Length(data)
	if err == nil && (n == 0 || n > len(data)) {
		l.buffers.append(&z.partial, data)
		return nil, nil, nil
	}
	return data[:n], data[n:], err
}

// refuse handles what ends the input: the peer's end, its alert, or what it is to be
// alerted of.
func (z *sealed) refuse(err error) {
	c := z.conn
	z.heard = true
	var a tlsrec.Alert
	switch {
	case errors.Is(err, io.EOF):
		peerEnded(c)
		return
	case errors.As(err, &a):
		c.loop.stats.BadRecords++
		z.say(a)
		if c.state == connReading { // else a response would look whole
			c.linger()
			return
		}
	}
	c.loop.stats.Resets++
	c.broken(outcome.PeerGone, true)
}
