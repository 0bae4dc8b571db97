package loop

import (
	"bytes"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/aio/aiosim"
)

const (
	// lateness is how long after its time a loop may do what is due: the world
	// may let a wait last 50 ms too long, a few times in a row.
	lateness = int64(300 * time.Millisecond)

	// longestTask is how long what a task has found may be on its way to the
	// loop, by the times that vary draws.
	longestTask = int64(750 * time.Millisecond)
)

// checkReceive checks what the session is shown: everything that it has not
// consumed, in order, with more than it has seen.
func (s *simSession) checkReceive(c *Conn, sc *simConn, p []byte, seen int) {
	switch {
	case sc.closed, sc.sending, sc.tasks > 0 && c.state == connSuspended:
		s.m.bad("input is handed over at the wrong time: %+v", *sc)
	case c.state != connReading:
		s.m.bad("input is handed over in state %d", c.state)
	case seen != 0 && seen != len(sc.kept), len(p) <= seen:
		s.m.bad("%d of %d bytes are said to be known, %d are", seen, len(p), len(sc.kept))
	case !bytes.HasPrefix(p, sc.kept):
		s.m.bad("input %q does not begin with %q", p, sc.kept)
	}
}

// believed is how long the cache believes a file without asking, in ns.
const believed = int64(time.Second)

// checkFile checks a file that the cache has returned: it must be open and not
// older than a second.
func (s *simSession) checkFile(f *openfile.File) {
	s.all[f] = true
	if f.Lent().FD < 0 {
		s.m.bad("file %q is closed while it is in use", f.Key())
	}
	if at, gone := s.m.gone(f); gone && s.loop.now-at > believed+lateness+longestTask {
		s.m.bad("file %q changed %v ago", f.Key(), time.Duration(s.loop.now-at))
	}
	s.checkContent(f, "body", f.Content(), 0)
}

// checkContent checks that p is what this version of the file has at off.
func (s *simSession) checkContent(f *openfile.File, what string, p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	if what == "body" && int64(len(p)) != f.Size {
		s.m.bad("file %q of %d bytes has a body of %d", f.Key(), f.Size, len(p))
	}
	n := min(len(p), 100)
	var want [100]byte
	for _, v := range s.m.are(f) {
		v.Content.Fill(want[:n], off)
		if bytes.Equal(p[:n], want[:n]) {
			return
		}
	}
	s.m.bad("the %s of file %q is of another version", what, f.Key())
}

// checkError checks that a file was refused with a reason.
func (m *simulation) checkError(r *simRequest, e syscall.Errno) {
	switch {
	case !errnoOfLookup(e):
		m.bad("a lookup answers %v", e)
	case m.calm:
		m.bad("a lookup fails although nothing is wrong: %v", e)
	case e == syscall.ENOENT:
		for _, name := range r.names {
			if m.files[name].gone {
				return
			}
		}
		m.bad("a file is not found although it is there")
	}
}

func (s *simSession) checkSent(c *Conn, sc *simConn, o *outcome.Outcome) {
	m := s.m
	switch {
	case s.inRespond:
		m.bad("Sent is called before Respond has returned")
	case !sc.sending:
		m.bad("Sent is called without a response, or twice")
	case o.Total() > sc.want, o.End == outcome.Complete && o.Total() != sc.want:
		m.bad("%d of %d bytes are sent: %v", o.Total(), sc.want, o.End)
	case o.First < 0 || o.First > o.Duration:
		m.bad("the first bytes of a response took %d of %d ns", o.First, o.Duration)
	case o.Duration < 0 || o.Start+o.Duration > s.loop.now:
		m.bad("a response took %d ns from %d on, now it is %d", o.Duration, o.Start, s.loop.now)
	case o.End == outcome.Complete && sc.client.peer.Held() > 0 && !c.Closing(): // or FIN lets go of them
		m.bad("%d bytes of a whole response are held back", sc.client.peer.Held())
	case o.End == outcome.FileChanged && o.Total() == 0 && c.replans < maxReplans && c.lent == nil && !sc.req.source:
		m.bad("a response of which nothing was sent is cut")
	case m.calm && o.End == outcome.FileFailed, m.calm && o.End == outcome.FileChanged:
		m.bad("a response ends with %v although nothing is wrong", o.End)
	}
}

// checkTimeout checks that a request had its time, and not much more.
func (s *simSession) checkTimeout(c *Conn, sc *simConn) {
	now, l := s.loop.now, s.loop
	latest := sc.since + int64(max(l.cfg.HeaderTimeout, l.cfg.IdleTimeout)) + l.sweeper.every + lateness
	switch {
	case c.state != connReading || sc.sending:
		s.m.bad("a request times out in state %d", c.state)
	case now < sc.client.start+int64(l.cfg.HeaderTimeout), c.requests > 0 && now < sc.since+int64(l.cfg.HeaderTimeout):
		s.m.bad("a request times out after %d ns", now-max(sc.since, sc.client.start))
	case sc.since > 0 && now > latest:
		s.m.bad("a request times out %v too late", time.Duration(now-latest))
	}
}

func (s *simSession) checkClosed(c *Conn, sc *simConn) {
	if sc.closed {
		s.m.bad("Closed is called twice")
	}
	if sc.sending {
		s.m.bad("a connection is closed and the end of its response was not told")
	}
	if c.Data != any(sc) {
		s.m.bad("Data changed")
	}
}

// checkTurn checks that no connection is left in a state that nothing ends.
func (m *simulation) checkTurn() {
	l := m.loop
	inQueue := make(map[*Stream]bool, len(l.runq))
	for _, s := range l.runq {
		if inQueue[s] || !s.queued {
			m.bad("a stream is in the run queue twice, or does not know it")
		}
		inQueue[s] = true
	}
	for slot := range min(len(l.conns.gens), len(m.clients)+2) {
		c := l.conns.at(uint32(slot))
		s := c.stream
		if s != nil && (s.queued != inQueue[s] || s.conn != c) {
			m.bad("slot %d: queued is %v, which is wrong", slot, s.queued)
		}
		what := stuck(c)
		switch {
		case c.state == connSending && (s.phase == awaitingTokens || s.phase == awaitingBody) && c.Data.(*simConn).client.peer.Held() > 0:
			what = "bytes are held back while tokens, or the body, are waited for"
		case c.state == connSending && c.deadline == 0 && s.phase != awaitingTokens && s.phase != awaitingBody && s.read == nil && m.driver.status[c.token] == aio.BlockedSocket:
			what = "nothing ends the wait for the peer"
		case c.state == connSending && s.phase == awaitingDisk && s.read != nil && !s.read.reading && m.driver.status[c.token] != aio.BlockedMemory:
			what = "nothing tells that a remote file was read"
		case (c.state == connReading && !c.in.queued || c.state == connLingering) && m.driver.eof[c.token]:
			what = "the peer has ended its stream"
		case c.state == connLingering && c.Data != nil && c.Data.(*simConn).client.peer.Held() > 0:
			what = "bytes before FIN are held back"
		}
		if what != "" {
			m.bad("slot %d in state %d: %s", slot, c.state, what)
		}
	}
}

// maxWaiting bounds what is received of a connection while it waits for its turn, in bytes:
// what two Waits of the simulated driver have room for.
const maxWaiting = 32 << 10

// stuck returns what is wrong with a connection between two turns.
func stuck(c *Conn) string {
	s := c.stream
	switch {
	case c.state != connSending && c.state < connDraining && c.stream != nil:
		return "a response is left"
	case c.state != connReading && c.state != connSending && c.state != connSuspended && c.in.buf != nil:
		return "input is left"
	case c.sealed != nil && stuckRecords(c) != "":
		return stuckRecords(c)
	case len(c.in.buf) == 0 && c.in.buf != nil:
		return "a buffer is held for nothing"
	case c.state != connReading && c.ending == keepAlive && len(c.in.buf) > maxWaiting: // else it may be a request that came too late
		return "more input is read while a response is under way"
	case c.in.queued:
		if c.state != connReading || len(c.in.buf) == 0 || c.deadline != 0 || !slices.Contains(c.loop.backlog, c) {
			return "nothing goes on with the requests that are left for the next turn"
		}
		return ""
	case (c.state == connReading || c.state == connLingering || c.state == connDraining) == (c.deadline == 0) && c.state != connSending:
		return "a deadline is missing or left"
	}
	switch c.state {
	case connReading:
		switch {
		case len(c.in.buf) > 0 && !c.in.seen:
			return "the session has not seen the input"
		case c.in.paused:
			return "nothing resumes the input"
		}
	case connSending:
		switch {
		case !s.queued && (s.phase == ended || s.phase == sending):
			return "nothing goes on with the response"
		case s.phase == awaitingBody && s.body.(*simSource).waits == 0:
			return "nothing tells that the body goes on"
		case s.phase == awaitingTokens && !s.flow.Waiting():
			return "the tree of limits does not know that it waits"
		case c.deadline == 0 && s.phase == sending:
			return "a response without a deadline"
		}
	case connSuspended:
		if sc := c.Data.(*simConn); sc.tasks == 0 {
			return "suspended without a task"
		}
	}
	return ""
}

// checkEnd checks that the loop, which was destroyed, holds nothing.
func (m *simulation) checkEnd() {
	l := m.loop
	if b := l.cfg.Bounds; b.conns.Load() != 0 || b.buffered.Load() != 0 || b.sealed.Load() != 0 || b.bodies.Load() != 0 || len(b.clients) != 0 {
		m.bad("at the end the bounds have %d connections, %d bytes, %d clients", b.conns.Load(), b.buffered.Load(), len(b.clients))
	}
	if got, want := l.conns.open, len(l.acceptor.listeners); got != want {
		m.bad("%d slots are in use, %d by listeners", got, want)
	}
	for slot := range l.conns.gens {
		if c := l.conns.at(uint32(slot)); c.lent != nil || c.state != connFree || c.in.buf != nil || c.stream != nil || c.deadline != 0 || c.Data != nil {
			m.bad("slot %d is not free: %+v", slot, *c)
		}
	}
	st := &l.stats
	if st.Closed > st.Accepted || st.Closed < st.Accepted-st.Refused || uint64(m.session.closed) != st.Closed {
		m.bad("%d connections were accepted, %d of them refused, %d closed, %d told", st.Accepted, st.Refused, st.Closed, m.session.closed)
	}
	for i, c := range m.clients {
		if a := c.adopted; a != nil && a.given != (a.ended == 1) {
			m.bad("client %d, adopted: %v, was told its end %d times", i, a.given, a.ended)
		}
	}
	if n := m.session.sources; n != 0 {
		m.bad("%d sources are not closed", n)
	}
	for _, t := range m.tasks {
		if t.sc.tasks != 0 {
			m.bad("a task was not done")
		}
	}
	if l.reads != 0 {
		m.bad("%d buffers of remote files are in use", l.reads)
	}
	m.checkBytes()
	m.checkFiles()
	m.checkPools()
	if m.limits != nil {
		m.limits.end()
	}
}

// checkBytes compares what the session was told with what the driver counts.
func (m *simulation) checkBytes() {
	l := m.loop
	m.session.interim[aio.ViaMemory] += int64(l.stats.Refused) * int64(len(l.cfg.Bounds.Refusal)) // whose connections take it
	for i, n := range m.loop.stats.Driver.Bytes {
		told := m.session.sent[i] - m.session.sealed[i] + m.session.interim[i]
		if aio.Via(i) == aio.ViaMemory {
			told += m.driver.records
		}
		if told != int64(n) {
			m.bad("by %v %d bytes were sent, the session was told of %d", aio.Via(i), n, told)
		}
	}
}

func (m *simulation) checkFiles() {
	if st := &m.loop.stats.Files; st.Open != 0 || st.Bytes != 0 {
		m.bad("the cache is not empty: %+v", *st)
	}
	for f := range m.session.all {
		if f.InUse() || f.Lent().FD != -1 {
			m.bad("file %q has descriptor %d, in use: %v", f.Key(), f.Lent().FD, f.InUse())
		}
	}
}

// checkPools finds what was given back twice, or not clean.
func (m *simulation) checkPools() {
	seen := make(map[*Stream]bool)
	for _, s := range m.loop.streams {
		for _, g := range s.parts.list[:cap(s.parts.list)] {
			if g.File != nil || g.Mem != nil {
				m.bad("a free stream refers to %+v", g)
			}
		}
		if s.conn != nil || s.flow != nil || s.at.File != nil || seen[s] {
			m.bad("a stream was freed twice, or holds something")
		}
		seen[s] = true
	}
	buffers := make(map[*byte]bool)
	for _, list := range slices.Concat(m.loop.buffers.free[:], m.loop.sealer.pool.free[:]) {
		for _, b := range list {
			p := unsafe.SliceData(b)
			if buffers[p] || len(b) != 0 {
				m.bad("a buffer was freed twice")
			}
			buffers[p] = true
		}
	}
}

// checkClients compares what clients received with what the session was told.
func (m *simulation) checkClients() {
	for i, c := range m.clients {
		r := c.peer.Result()
		complete := 0
		if c.conn != nil {
			complete = c.conn.complete
			if c.conn.cut && r.End == aiosim.SawFIN {
				m.bad("client %d received a part of a response, and then an orderly end", i)
			}
		}
		if r.End == aiosim.SawFIN && !r.Left && r.Responses != complete {
			m.bad("client %d received %d whole responses, %d were sent", i, r.Responses, complete)
		}
		if c.records != nil {
			c.records.check(m, i, r)
		}
		if m.calm && c.patient && r.Responses < c.expects {
			m.bad("client %d waited for %d responses and received %d: %+v", i, c.expects, r.Responses, r)
		}
	}
}
