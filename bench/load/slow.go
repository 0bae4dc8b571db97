package load

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/bench/sock"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// slowEvery is how long a slow connection waits between two bytes, in ns.
	slowEvery = int64(time.Second)
	// slowTurn bounds how many slow connections are served before the others
	// are looked at, so that the generator does not delay what it times: to replace
	// one takes some 50 µs.
	slowTurn = 1

	// slowHead is what a slow connection sends; its last byte goes on for ever.
	slowHead = "GET / HTTP/1.1\r\nHost: slow\r\nX-Slow: a"

	slowID = -1 // of the events that tell that slow connections have some
)

// slow is the group of mode Trickle: connections that send a byte a second, which
// is called slowloris where it is meant to do harm. The zero value has none.
type slow struct {
	group *group
	conns []slowConn // those that were opened
	// their events, within the instance of the others: thousands that the server
	// has ended do not stand before a response
	ep  *sock.Epoll
	due dueRing
	cut int64 // connections that the server ended
}

// slowConn is one slow connection.
type slowConn struct {
	fd   int32 // -1: not open
	sent int   // bytes of this connection's head
}

// dueRing is the queue of the slow connections, that with the next byte to send
// first. All have the same pace, so that it is in order of time by itself.
type dueRing struct {
	ring    []slowDue
	head, n int
}

type slowDue struct {
	at int64 // ns
	id int
}

func (q *dueRing) push(d slowDue) {
	q.ring[(q.head+q.n)%len(q.ring)] = d
	q.n++
}

// first returns the next one, at an instant that never comes if there is none.
func (q *dueRing) first() slowDue {
	if q.n == 0 {
		return slowDue{at: never}
	}
	return q.ring[q.head]
}

func (q *dueRing) pop() {
	q.head = (q.head + 1) % len(q.ring)
	q.n--
}

// openSlow prepares the trickling group g, whose connections come while the load is
// built up.
func (l *loop) openSlow(g *group) (err error) {
	l.slow = slow{group: g, due: dueRing{ring: make([]slowDue, g.Conns)}}
	if l.slow.ep, err = sock.NewEpoll(); err != nil {
		return err
	}
	return l.ep.AddEpoll(l.slow.ep, slowID)
}

func (s *slow) close() {
	for i := range s.conns {
		if s.conns[i].fd >= 0 {
			sys.Close(s.conns[i].fd)
		}
	}
	if s.ep != nil {
		s.ep.Close()
	}
}

// missing returns how many connections are still to be opened.
func (s *slow) missing() int { return len(s.due.ring) - len(s.conns) }

// next returns the instant at which a byte is due.
func (s *slow) next() int64 { return s.due.first().at }

// turn opens and sends what is due by now, as much as a turn may, and tells whether
// there was anything. Connections are opened evenly over Spread, so that few are of the
// same age. If a server then treats many at once, that is the server's doing and not the
// load's.
func (s *slow) turn(l *loop) (sent bool, err error) {
	for n := 0; n < slowTurn && s.missing() > 0 && len(s.conns) < l.part(len(s.due.ring)); n++ {
		i := len(s.conns)
		s.conns = append(s.conns, slowConn{fd: -1})
		if err := s.connect(l, i); err != nil {
			return true, err
		}
		s.due.push(slowDue{l.now + slowEvery, i})
	}
	for n := 0; n < slowTurn && s.next() <= l.now; n++ {
		d := s.due.first()
		s.due.pop()
		s.due.push(slowDue{d.at + slowEvery, d.id}) // not from now on: what was late once would come in a burst for ever
		sent = true
		if err := s.sendByte(l, d.id); err != nil {
			return true, err
		}
	}
	return sent, nil
}

// connect opens slow connection i, anew if the server has ended it.
func (s *slow) connect(l *loop, i int) error {
	if fd := s.conns[i].fd; fd >= 0 {
		sys.Close(fd)
		s.conns[i].fd = -1
	}
	fd, err := l.to.Connect(s.group.source())
	if err != nil {
		return err
	}
	s.conns[i] = slowConn{fd: fd}
	return s.ep.Add(fd, i, level)
}

func (s *slow) sendByte(l *loop, i int) error {
	c := &s.conns[i]
	at := min(c.sent, len(slowHead)-1)
	_, e := sys.Send(c.fd, []byte(slowHead[at:at+1]), false)
	switch e {
	case 0:
		c.sent++
		return nil
	case unix.EAGAIN: // the connection is still being made
		return nil
	case unix.EPIPE, unix.ECONNRESET:
		return s.replace(l, i)
	}
	return fmt.Errorf("trickling: %w", e)
}

// react handles a few events, which repeat until they have had their turn.
func (s *slow) react(l *loop) error {
	events, err := s.ep.Poll(slowTurn)
	if err != nil {
		return err
	}
	for _, ev := range events {
		if err := s.answered(l, int(ev.Fd)); err != nil {
			return err
		}
	}
	return nil
}

// answered takes what has come on a slow connection: an answer, which can only be
// that this takes too long, or the end.
func (s *slow) answered(l *loop, i int) error {
	n, e := sock.Discard(s.conns[i].fd, copyMax)
	switch {
	case e == unix.EAGAIN, e == 0 && n > 0:
		return nil
	case e == 0, e == unix.ECONNRESET, e == unix.EPIPE:
		return s.replace(l, i)
	}
	return fmt.Errorf("slow connection: %w", e)
}

// replace opens a slow connection that the server has ended anew.
func (s *slow) replace(l *loop, i int) error {
	s.cut++
	return s.connect(l, i)
}
