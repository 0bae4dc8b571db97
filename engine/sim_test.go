package engine

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/aio/aiosim"
)

// simulation is one loop in a simulated world (package aiosim), serving a
// session that checks what the engine promises to sessions. All of it follows
// from the world's Config.
type simulation struct {
	w       *aiosim.World
	rnd     *rand.Rand
	ln      *aiosim.Listener
	cfg     Config
	mode    aio.Mode
	driver  *watched
	loop    *Loop
	session *simSession

	names    []string
	files    map[string]*simName
	memory   []byte // what answers from memory consist of
	clients  []*simClient
	byAddr   map[netip.Addr]*simClient
	requests []*simRequest
	tasks    []*simTask
	calm     bool // nothing goes wrong: patient clients get everything

	wrong []string // what the checks found, the first ones only
}

// emptySimulation makes a world without files and clients, in order unless cfg
// says otherwise.
func emptySimulation(cfg aiosim.Config) *simulation {
	w := aiosim.New(cfg)
	m := &simulation{
		w: w, rnd: w.Rand(), ln: w.NewListener(),
		files: make(map[string]*simName), byAddr: make(map[netip.Addr]*simClient),
		memory: make([]byte, 40_000),
	}
	m.session = &simSession{m: m, all: make(map[*File]bool)}
	aiosim.Content(cfg.Seed).Fill(m.memory, 0)
	return m
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

// dial adds a client that expects the answers to requests, up to the one that
// ends the connection, and perhaps a word on why it was thrown out.
func (m *simulation) dial(cfg aiosim.ClientConfig, requests ...*simRequest) *simClient {
	addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(len(m.clients) + 1)})
	cfg.Addr = netip.AddrPortFrom(addr, 1024)
	c := &simClient{start: m.w.Now() + int64(cfg.Start), peer: m.w.Dial(m.ln, cfg)}
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
	m.clients = append(m.clients, c)
	m.byAddr[addr] = c
	return c
}

// simName is a name in the file system and all files that it has stood for.
type simName struct {
	files []*aiosim.File
	until []int64 // when each of them was replaced or removed; 0: it is there
	gone  bool    // it stood for nothing at some time
}

// watched is the driver as the checks see it.
type watched struct {
	aio.Driver
	eof    map[aio.Token]bool       // the end of the peer's stream was told
	status map[aio.Token]aio.Status // of the last attempt
}

func (d *watched) Wait(ev []aio.Event, timeout time.Duration) (int, error) {
	n, err := d.Driver.Wait(ev, timeout)
	for _, e := range ev[:n] {
		if e.Op == aio.Received && len(e.Data) == 0 {
			d.eof[e.Token] = true
		}
	}
	return n, err
}

func (d *watched) Send(t aio.Token, head, body []byte, more bool) aio.Sent {
	s := d.Driver.Send(t, head, body, more)
	d.status[t] = s.Status
	return s
}

func (d *watched) SendFile(t aio.Token, f *aio.File, off, n int64, more bool) aio.Sent {
	s := d.Driver.SendFile(t, f, off, n, more)
	d.status[t] = s.Status
	return s
}

const maxWrong = 8

// bad records that a promise was broken.
func (m *simulation) bad(format string, args ...any) {
	if len(m.wrong) < maxWrong {
		m.wrong = append(m.wrong, fmt.Sprintf("at %v: ", m.w.Elapsed())+fmt.Sprintf(format, args...))
	}
}

// run lets the loop serve until it ends and returns what is wrong afterwards.
func (m *simulation) run() error {
	d, err := m.w.NewDriver(aio.Config{Mode: m.mode, RecvBuffers: 4, RecvBufferSize: 1024})
	if err != nil {
		m.w.CloseFD(m.ln.FD)
		return m.verdict()
	}
	m.driver = &watched{Driver: d, eof: make(map[aio.Token]bool), status: make(map[aio.Token]aio.Status)}
	l := newLoop(&Engine{cfg: m.cfg.withDefaults()}, 0, m.driver)
	m.loop, m.session.loop = l, l
	l.session, l.closeFD, l.memoryFile = m.session, m.w.CloseFD, m.memoryFile
	if l.listen(0, int(m.ln.FD)) == nil {
		m.serve()
	}
	for _, t := range m.tasks { // a loop waits for its tasks before it ends
		m.endTask(t)
	}
	if err := l.destroy(); err != nil {
		m.bad("destroy: %v", err)
	}
	m.checkEnd()
	return m.verdict()
}

// serve is Loop.run with a look at the loop's state after each turn. An error
// of the driver is a fault of the world, or in its findings.
func (m *simulation) serve() {
	l := m.loop
	for !l.over() && len(m.wrong) == 0 {
		if l.turn() != nil {
			return
		}
		m.checkTurn()
	}
}

// verdict returns everything that was found, with the log, or nil.
func (m *simulation) verdict() error {
	err := m.w.Check()
	if err == nil {
		m.checkClients() // a world that ended early proves nothing about them
	}
	if len(m.wrong) == 0 {
		return err
	}
	if err == nil {
		err = fmt.Errorf("aiosim: seed %d\nlog:\n%s", m.w.Seed(), m.w.Log())
	}
	return fmt.Errorf("engine: %s\n%w", strings.Join(m.wrong, "\nengine: "), err)
}

// add makes a file, which replaces the one that has the name.
func (m *simulation) add(name string, size int64) *aiosim.File {
	n := m.files[name]
	if n == nil {
		n = &simName{}
		m.files[name] = n
		m.names = append(m.names, name)
	}
	n.end(m.w.Now())
	f := m.w.AddFile(name, size)
	n.files, n.until = append(n.files, f), append(n.until, 0)
	return f
}

func (m *simulation) remove(name string) {
	m.files[name].end(m.w.Now())
	m.files[name].gone = true
	m.w.RemoveFile(name)
}

// end notes that the current file of the name is not there any more.
func (n *simName) end(now int64) {
	if i := len(n.until) - 1; i >= 0 && n.until[i] == 0 {
		n.until[i] = now
	}
}

// current returns the file that the name stands for, or stood for last.
func (n *simName) current() *aiosim.File { return n.files[len(n.files)-1] }

// open is what Root.Open is outside of the simulation. Inodes are numbered from
// 1 in the order in which the name stood for them.
func (m *simulation) open(name string) Opened {
	fd, e := m.w.OpenFile(name)
	if e != 0 {
		return Opened{FD: -1, Err: e}
	}
	n := m.files[name]
	v := n.current().Version()
	return Opened{FD: fd, Stat: unix.Stat_t{
		Mode: unix.S_IFREG, Dev: 1, Ino: uint64(len(n.files)), Size: v.Size, Mtim: unix.NsecToTimespec(v.MtimeNs),
	}}
}

func (m *simulation) memoryFile(p []byte) (int32, error) {
	fd, e := m.w.MemoryFile(p)
	if e != 0 {
		return -1, e
	}
	return fd, nil
}

// version returns the version that f is.
func (m *simulation) version(f *File) aiosim.Version {
	for _, v := range m.files[f.name].files[f.ino-1].Versions() {
		if v.MtimeNs == f.Mtime && v.Size == f.Size {
			return v
		}
	}
	m.bad("file %q has facts that it never had", f.name)
	return aiosim.Version{}
}

// gone returns when the version of f ceased to be what its name stands for;
// ok is false if it still is.
func (m *simulation) gone(f *File) (at int64, ok bool) {
	n := m.files[f.name]
	versions := n.files[f.ino-1].Versions()
	for i, v := range versions {
		if v.MtimeNs == f.Mtime && v.Size == f.Size && i+1 < len(versions) {
			return versions[i+1].MtimeNs, true
		}
	}
	at = n.until[f.ino-1]
	return at, at != 0
}

// simTask is a Task whose Run happens at a virtual time, on no goroutine of its
// own: it opens the file of a request if that was put off, and answers.
type simTask struct {
	m      *simulation
	c      *Conn
	sc     *simConn
	req    *simRequest
	opened Opened
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
	var f *File
	var e syscall.Errno
	if t.req.cold { // the descriptor is the cache's, whatever became of the connection
		f, e = t.m.loop.Files.Add(t.req.names[0], t.opened)
	}
	switch {
	case t.sc.closed:
	case t.req.cold:
		t.m.session.finish(t.c, t.sc, t.req, []*File{f}, e)
	default:
		t.m.session.answer(t.c, t.sc, t.req)
	}
}

// drain and stop are what Shutdown and Close do to each loop.
func (m *simulation) drain() { m.loop.post((*Loop).drain) }
func (m *simulation) stop()  { m.loop.stop() }

// errnoOfLookup is what a lookup in the simulation may answer.
func errnoOfLookup(e syscall.Errno) bool {
	switch e {
	case syscall.ENOENT, syscall.EMFILE, syscall.ENFILE, syscall.EACCES, syscall.EIO:
		return true
	}
	return false
}
