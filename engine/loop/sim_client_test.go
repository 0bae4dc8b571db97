package loop

import (
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/internal/aio/aiosim"
)

// simClient is a client and what it may hope for.
type simClient struct {
	peer    *aiosim.Client
	conn    *simConn // nil until the session has heard of it
	adopted *simAdopted
	records *simRecords // TLS; nil: none
	start   int64       // when it connects
	silent  bool        // the session answers no time-out
	patient bool        // reads everything, in time
	floods  bool        // sends a line without end

	label, prefix string // what its response is counted by
	expects       int    // answers
}

// wire returns the bytes that ask for r, with so many spaces in the line.
func (m *simulation) wire(r *simRequest, padding int) []byte {
	p := fmt.Appendf(nil, "%d%*s\n", len(m.requests), padding, "")
	if r.kind == kindEcho {
		p = append(p, m.memory[:r.n]...)
	}
	r.id = len(m.requests)
	m.requests = append(m.requests, r)
	return p
}

// dial adds a client that connects to the listener and expects the answers to
// requests.
func (m *simulation) dial(cfg aiosim.ClientConfig, requests ...*simRequest) *simClient {
	c := m.newClient(&cfg)
	c.peer = m.w.Dial(m.ln, cfg)
	m.expect(c, requests)
	return c
}

// adopt adds a client whose connection the loop is given.
func (m *simulation) adopt(cfg aiosim.ClientConfig, requests ...*simRequest) *simClient {
	c := m.newClient(&cfg)
	peer, fd := m.w.Connected(cfg)
	c.peer = peer
	c.adopted = &simAdopted{m: m, fd: fd, addr: cfg.Addr}
	c.adopted.self = c.adopted
	if k, ok := cfg.Codec.(*simRecords); ok {
		c.records = k
		c.adopted.self = simSecured{c.adopted, k.server}
	}
	m.w.At(cfg.Start, c.adopted.give)
	m.expect(c, requests)
	return c
}

func (m *simulation) newClient(cfg *aiosim.ClientConfig) *simClient {
	addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(len(m.clients) + 1)})
	cfg.Addr = netip.AddrPortFrom(addr, 1024)
	c := &simClient{start: m.w.Now() + int64(cfg.Start)}
	m.clients = append(m.clients, c)
	m.byAddr[addr] = c
	return c
}

// expect adds the answers to requests to what a client expects, up to the one
// that ends the connection, and perhaps a word on why it was thrown out.
func (m *simulation) expect(c *simClient, requests []*simRequest) {
	for _, r := range requests {
		if r.interim {
			c.peer.ExpectEither([]aiosim.Piece{aiosim.Bytes([]byte(interimLine))}, []aiosim.Piece{aiosim.Bytes([]byte(timeoutLine))})
		}
		c.peer.ExpectLater(func() [][]aiosim.Piece { return m.answers(r, m.calm && c.patient) })
		c.expects += r.expects()
		if r.last || r.leave || r.kind == kindClose || r.kind == kindReset {
			break
		}
	}
	c.peer.ExpectLater(func() [][]aiosim.Piece {
		if m.calm && c.patient && c.floods {
			return [][]aiosim.Piece{{aiosim.Bytes([]byte(tooLongLine))}}
		}
		return [][]aiosim.Piece{{aiosim.Bytes([]byte(timeoutLine))}, {aiosim.Bytes([]byte(tooLongLine))}}
	})
}

// simAdopted stands behind a connection that the loop is given.
type simAdopted struct {
	m      *simulation
	fd     int32
	addr   netip.AddrPort
	self   Adopted // what the loop is given
	given  bool
	ended  int
	closed bool // by us: the loop had ended
}

// give does what Engine.Adopt does.
func (a *simAdopted) give() {
	a.given = a.m.loop.post(func(l *Loop) { l.adopt(a.fd, a.self) })
	if !a.given {
		a.drop()
	}
}

// drop closes the connection if the loop was never given it.
func (a *simAdopted) drop() {
	if !a.given && !a.closed {
		a.closed = true
		a.m.w.CloseFD(a.fd)
	}
}

func (m *simulation) dropAdopted() {
	for _, c := range m.clients {
		if c.adopted != nil {
			c.adopted.drop()
		}
	}
}

func (a *simAdopted) Peer() netip.AddrPort { return a.addr }
func (a *simAdopted) Ending(bool)          { a.ended++ }

// simTask is a Task whose Run happens at a virtual time, on no goroutine of its
// own: it opens the file of a request if that was put off, and answers.
type simTask struct {
	m      *simulation
	c      *Conn
	sc     *simConn
	req    *simRequest
	opened openfile.Opened
	ran    bool
	told   bool // the loop was told of its end
}

// startTask does what Loop.Go does, and lets the task run after a time.
func (m *simulation) startTask(t *simTask, after time.Duration) {
	p := &m.loop.posts
	p.mu.Lock()
	p.busy++
	p.mu.Unlock()
	m.tasks = append(m.tasks, t)
	m.w.At(after/2, t.runOnce)
	m.w.At(after, func() { m.endTask(t) })
}

// endTask lets a task come to its end, and the loop hear of it.
func (m *simulation) endTask(t *simTask) {
	t.runOnce()
	if !t.told {
		t.told = true
		m.loop.taskRan(t)
	}
}

func (t *simTask) runOnce() {
	if !t.ran {
		t.ran = true
		t.Run()
	}
}

func (t *simTask) Run() {
	if t.req.cold {
		t.opened = t.m.open(t.req.names[0])
	}
}

func (t *simTask) Done(*Loop) {
	t.sc.tasks--
	var f *openfile.File
	var e syscall.Errno
	if t.req.cold { // the descriptor is the cache's, whatever became of the connection
		f, e = t.m.loop.Files.Add(t.req.names[0], t.opened, t.m.policy)
	}
	switch {
	case t.sc.closed:
	case e == syscall.EAGAIN:
		t.m.session.answer(t.c, t.sc, t.req)
	case t.req.cold:
		t.m.session.finish(t.c, t.sc, t.req, []*openfile.File{f}, e)
	default:
		t.m.session.answer(t.c, t.sc, t.req)
	}
}
