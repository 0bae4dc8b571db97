package loop

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/engine/openfile"
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
	perTurn uint32 // requests of a connection and turn; 0: as outside
	policy  openfile.Policy
	leases  *aiosim.Leases // nil: none are taken
	driver  *watched
	loop    *Loop
	session *simSession

	names    []string
	files    map[string]*simName
	memory   []byte // what answers from memory consist of
	clients  []*simClient
	byAddr   map[netip.Addr]*simClient
	requests []*simRequest
	limits   *simLimits // nil: there are none
	far      *simFar    // nil: no file is remote
	adapt    *simAdapt  // nil: no rates are found
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
	m.session = &simSession{m: m, all: make(map[*openfile.File]bool)}
	aiosim.Content(cfg.Seed).Fill(m.memory, 0)
	return m
}

// withDefaults fills in what package engine does.
func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) { *d = cmp.Or(*d, v) }
	def(&c.HeaderTimeout, 10*time.Second)
	def(&c.IdleTimeout, 60*time.Second)
	def(&c.SendTimeout, 30*time.Second)
	def(&c.LingerTimeout, 2*time.Second)
	c.TurnBudget = cmp.Or(c.TurnBudget, 1<<20)
	f := &c.Files
	f.Max, f.MaxBody, f.MaxBytes = cmp.Or(f.Max, 4096), cmp.Or(f.MaxBody, 8<<10), cmp.Or(f.MaxBytes, 64<<20)
	return c
}

// simName is a name in the file system and all files that it has stood for.
type simName struct {
	files []*aiosim.File
	until []int64 // when each of them was replaced or removed; 0: it is there
	gone  bool    // it stood for nothing at some time

	remote bool
}

// watched is the driver as the checks see it.
type watched struct {
	aio.Driver
	eof    map[aio.Token]bool       // the end of the peer's stream was told
	status map[aio.Token]aio.Status // of the last attempt

	sealed  func(aio.Token) bool // whether records are sent to it
	records int64                // bytes of those

	m *simulation
}

// near checks that a call which may wait for the file system is of a local file.
func (d *watched) near(f *aio.File) {
	if d.m.far.isFar(f) {
		d.m.bad("the driver is asked for remote file %d", f.FD)
	}
}

func (d *watched) ReadAt(f *aio.File, p []byte, off int64) (int, syscall.Errno) {
	d.near(f)
	return d.Driver.ReadAt(f, p, off)
}

func (d *watched) Stat(f *aio.File) (aio.FileStat, syscall.Errno) {
	d.near(f)
	return d.Driver.Stat(f)
}

func (d *watched) Stage(t aio.Token, f *aio.File, off, n int64) bool {
	d.near(f)
	return d.Driver.Stage(t, f, off, n)
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
	if d.sealed(t) {
		d.records += s.N
	}
	return s
}

func (d *watched) ReadFile(t aio.Token, f *aio.File, p []byte, off int64) aio.Sent {
	d.near(f)
	s := d.Driver.ReadFile(t, f, p, off)
	d.status[t] = s.Status
	return s
}

func (d *watched) SendFile(t aio.Token, f *aio.File, off, n int64, more bool) aio.Sent {
	d.near(f)
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
		m.dropAdopted()
		return m.verdict()
	}
	m.driver = &watched{m: m, Driver: d, eof: make(map[aio.Token]bool), status: make(map[aio.Token]aio.Status)}
	cfg := m.cfg.withDefaults()
	cfg.Expire = true
	if m.leases != nil {
		cfg.Files.Leases = m.leases
	}
	if m.limits != nil {
		cfg.Shaper = m.limits.shaper
	}
	if m.adapt != nil {
		cfg.Adaptation = m.adapt.a
	}
	l := newLoop(cfg, m.driver)
	m.loop, m.session.loop = l, l
	m.driver.sealed = func(t aio.Token) bool { return l.conns.at(t.Slot()).sealed != nil }
	if m.perTurn > 0 {
		l.perTurn = m.perTurn
	}
	l.session, l.kernel.closeFD = m.session, m.w.CloseFD
	l.kernel.peerOf = func(int32) netip.AddrPort { return netip.AddrPort{} }
	l.kernel.limitUnsent = func(_, _ int32) {}
	l.kernel.pace = func(*Conn, int64) {}
	if m.adapt != nil {
		l.kernel.tcpInfo = m.adapt.ask
	}
	l.kernel.sendBuffer = func(int32, int) {}
	l.kernel.wall = m.w.Now
	l.kernel.unsent = func(c *Conn) int64 { return m.w.Unsent(c.fd) }
	l.kernel.sever, l.kernel.inFlight = m.w.Sever, m.w.InFlight
	if l.acceptor.listen(listen.Socket{FD: int(m.ln.FD)}) == nil {
		m.serve()
	}
	for _, t := range m.tasks { // a loop waits for its tasks before it ends
		m.endTask(t)
	}
	m.far.finish()
	if err := l.destroy(); err != nil {
		m.bad("destroy: %v", err)
	}
	m.dropAdopted()
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
		if m.limits != nil {
			m.limits.turn()
		}
		if m.adapt != nil {
			m.adapt.turn()
		}
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
func (m *simulation) open(name string) openfile.Opened {
	fd, e := m.w.OpenFile(name)
	if e != 0 {
		return openfile.Opened{FD: -1, Err: e}
	}
	n := m.files[name]
	v := n.current().Version()
	o := openfile.Opened{FD: fd, Stat: unix.Stat_t{
		Mode: unix.S_IFREG, Dev: 1, Ino: uint64(len(n.files)), Size: v.Size, Mtim: unix.NsecToTimespec(v.MtimeNs),
	}}
	if n.remote {
		m.far.opened(&o)
	}
	return o
}

// are returns the versions that f may be: of more than one if somebody has put the mtime back.
func (m *simulation) are(f *openfile.File) (all []aiosim.Version) {
	for _, v := range m.files[f.Key()].files[f.Ino-1].Versions() {
		if v.MtimeNs == f.Mtime && v.Size == f.Size {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		m.bad("file %q has facts that it never had", f.Key())
	}
	return all
}

// gone returns when the version of f ceased to be what its name stands for;
// ok is false if it still is.
func (m *simulation) gone(f *openfile.File) (at int64, ok bool) {
	n := m.files[f.Key()]
	versions := n.files[f.Ino-1].Versions()
	for i, v := range slices.Backward(versions) {
		if v.MtimeNs == f.Mtime && v.Size == f.Size && i+1 < len(versions) {
			return versions[i+1].SinceNs, true
		} else if v.MtimeNs == f.Mtime && v.Size == f.Size {
			break
		}
	}
	at = n.until[f.Ino-1]
	return at, at != 0
}

// drain and stop are what Shutdown and Close do to each loop.
func (m *simulation) drain() { m.loop.post(func(l *Loop) { (&Runner{l}).Drain() }) }
func (m *simulation) stop()  { (&Runner{m.loop}).Stop() }

// errnoOfLookup is what a lookup in the simulation may answer.
func errnoOfLookup(e syscall.Errno) bool {
	switch e {
	case syscall.ETXTBSY, syscall.ENOENT, syscall.EMFILE, syscall.ENFILE, syscall.EACCES, syscall.EIO:
		return true
	}
	return false
}
