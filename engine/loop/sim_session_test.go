package loop

import (
	"bytes"
	"strconv"
	"strings"
	"syscall"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/internal/aio"
)

// simSession answers requests and checks how it is called.
type simSession struct {
	m       *simulation
	loop    *Loop
	head    []byte
	request []byte
	segs    []Segment
	all     map[*openfile.File]bool // every file that the cache returned

	sent, interim [aio.NumVia]int64 // bytes
	sealed        [aio.NumVia]int64 // of those that were sent
	ends          [outcome.NumEnds]int
	inRespond     bool
	closed        int
	headed        int    // responses that were sent from the headroom of a body
	later         int    // times that a Source had nothing yet
	sources       int    // that are not closed
	onClosed      func() // nil: none
}

// simConn is what the session knows of one connection.
type simConn struct {
	client   *simClient
	kept     []byte // what it was shown and did not consume
	since    int64  // when it was shown the first of that
	body     int    // bytes of the request's body that are to come
	req      *simRequest
	want     int64 // length of the answer that is being sent
	sending  bool
	tasks    int
	turn     uint32 // in which requests were taken last,
	taken    uint32 // and how many
	complete int    // answers that ended well, and what was sent ahead of them
	cut      bool
	closed   bool
}

func (s *simSession) conn(c *Conn) *simConn {
	if c.Data == nil {
		sc := &simConn{}
		addr, e := s.m.w.PeerAddr(c.fd)
		if e != 0 {
			s.m.bad("a connection with descriptor %d is no client's", c.fd)
		}
		sc.client = s.m.byAddr[addr.Addr()]
		if a := sc.client.adopted; (a != nil) != (c.Listener() < 0) || a != nil && c.RemoteAddr() != a.addr {
			s.m.bad("listener %d, address %v of an adopted connection", c.Listener(), c.RemoteAddr())
		}
		sc.client.conn = sc
		c.Data = sc
	}
	return c.Data.(*simConn)
}

func (s *simSession) Receive(c *Conn, p []byte, seen int) int {
	sc := s.conn(c)
	s.checkReceive(c, sc, p, seen)
	n := s.consume(c, sc, p, seen)
	if c.state == connReading || c.state == connSuspended || c.state == connSending {
		sc.kept = append(sc.kept[:0], p[n:]...)
		if seen == 0 || n > 0 {
			sc.since = s.loop.now
		}
	}
	return n
}

// consume takes a request, a part of its body, or nothing.
func (s *simSession) consume(c *Conn, sc *simConn, p []byte, seen int) int {
	if sc.body > 0 {
		n := min(len(p), sc.body)
		if sc.body -= n; sc.body == 0 {
			s.answer(c, sc, sc.req)
		}
		return n
	}
	i := bytes.IndexByte(p[seen:], '\n')
	if i < 0 {
		if len(p) > maxLine {
			c.CloseAfter(true)
			s.respond(c, sc, []part{{text: []byte(tooLongLine)}}, nil)
			return len(p)
		}
		return 0
	}
	i += seen
	id, err := strconv.Atoi(strings.TrimSpace(string(p[:i])))
	if err != nil || id >= len(s.m.requests) {
		s.m.bad("request line %q", p[:i])
		c.Reset()
		return i + 1
	}
	r := s.m.requests[id]
	s.start(c, sc, r)
	return i + 1
}

// start answers a request, or lets a task do so, or awaits its body.
func (s *simSession) start(c *Conn, sc *simConn, r *simRequest) {
	sc.req = r
	if sc.turn != s.loop.turns {
		sc.turn, sc.taken = s.loop.turns, 0
	}
	if sc.taken++; sc.taken > s.loop.perTurn {
		s.m.bad("more than %d requests of a connection in one turn", s.loop.perTurn)
	}
	if r.interim {
		s.sendInterim(c)
	}
	if r.last {
		c.CloseAfter(r.linger)
	}
	if r.kind == kindEcho && r.n > 0 {
		sc.body = r.n
		return
	}
	s.answerInTime(c, sc, r)
}

// answerInTime answers a request, or lets a task do so.
func (s *simSession) answerInTime(c *Conn, sc *simConn, r *simRequest) {
	if r.late > 0 {
		c.Suspend(0)
		sc.tasks++
		s.m.startTask(&simTask{m: s.m, c: c, sc: sc, req: r}, r.late)
		return
	}
	s.answer(c, sc, r)
}

func (s *simSession) Again(c *Conn, request []byte) {
	sc := s.conn(c)
	switch {
	case s.inRespond || !sc.sending || c.state != connSuspended || !Replanned(c):
		s.m.bad("a response is to be planned anew at the wrong time")
	case sc.req == nil || string(request) != strconv.Itoa(sc.req.id):
		s.m.bad("request %q is to be answered anew, it was %+v", request, sc.req)
	}
	sc.sending = false
	s.answerInTime(c, sc, sc.req)
}

func (s *simSession) sendInterim(c *Conn) {
	before := s.loop.driver.Stats().Bytes
	c.Interim([]byte(interimLine))
	for i, n := range s.loop.driver.Stats().Bytes {
		if c.sealed == nil {
			s.interim[i] += int64(n - before[i])
		}
	}
	if c.state != connReading {
		return
	}
	sc := s.conn(c)
	sc.complete++
	if n := sc.client.peer.Held(); n > 0 {
		s.m.bad("%d bytes ahead of an answer are held back", n)
	}
}

// answer finds the files of a request and responds.
func (s *simSession) answer(c *Conn, sc *simConn, r *simRequest) {
	var fs []*openfile.File
	for _, name := range r.names {
		if s.m.files[name].remote && s.loop.Files.Get([]byte(name)) == nil {
			s.openLater(c, sc, r)
			return
		}
	}
	for _, name := range r.names {
		f, e := s.lookup(name)
		if e != 0 {
			s.finish(c, sc, r, nil, e)
			return
		}
		fs = append(fs, f)
	}
	s.finish(c, sc, r, fs, 0)
}

func (s *simSession) lookup(name string) (*openfile.File, syscall.Errno) {
	if f := s.loop.Files.Get([]byte(name)); f != nil {
		return f, 0
	}
	for {
		f, e := s.loop.Files.Add(name, s.m.open(name), s.m.policy)
		if e != syscall.EAGAIN { // it was touched after it was opened
			return f, e
		}
	}
}

// finish responds, with files that were just looked up.
func (s *simSession) finish(c *Conn, sc *simConn, r *simRequest, fs []*openfile.File, e syscall.Errno) {
	switch {
	case r.kind == kindClose:
		c.Close()
		return
	case r.kind == kindReset:
		c.Reset()
		return
	case e != 0:
		s.m.checkError(r, e)
		s.respond(c, sc, []part{{text: []byte(errorLine)}}, nil)
		return
	}
	sizes := make([]int64, len(fs))
	for i, f := range fs {
		s.checkFile(f)
		sizes[i] = f.Size
	}
	s.respond(c, sc, r.layout(s.m, sizes), fs)
}

// respond sends parts as one response and spoils the memory that the engine
// may not use any more.
func (s *simSession) respond(c *Conn, sc *simConn, parts []part, fs []*openfile.File) {
	s.head = append(s.head[:0], parts[0].text...)
	s.segs = s.segs[:0]
	want := int64(len(s.head))
	pulled := sc.req != nil && sc.req.source && len(parts) > 1
	for _, p := range parts[1:] {
		want += p.n + int64(len(p.text))
		s.segs = append(s.segs, segmentOf(p, fs, pulled))
	}
	resp := Response{Head: s.head, Body: s.segs}
	var source *simSource
	if pulled {
		source = s.newSource(c)
		resp.Body, resp.Source = nil, source
	}
	if len(fs) == 1 && len(parts) == 2 && source == nil {
		s.useHeadroom(&resp, fs[0], parts[1])
	}
	if s.m.limits != nil {
		s.m.limits.label(sc, &resp, fs)
	}
	if sc.req != nil {
		s.request = strconv.AppendInt(s.request[:0], int64(sc.req.id), 10)
		resp.Request = s.request
	}
	sc.sending, sc.want = true, want
	s.inRespond = true
	c.Respond(&resp)
	s.inRespond = false
	if c.state != connSending { // it is being closed
		sc.sending = false
	}
	for i := range s.head {
		s.head[i] = '#'
	}
	for i := range s.request {
		s.request[i] = '#'
	}
	clear(s.segs)
}

// segmentOf returns a part, which may be pulled later than in the request at hand.
func segmentOf(p part, fs []*openfile.File, pulled bool) Segment {
	if p.n == 0 {
		return Segment{Mem: p.text}
	}
	f := fs[p.file]
	if c := f.Content(); c != nil && (f.Body != nil || !pulled) {
		return Segment{Mem: c[p.off : p.off+p.n], File: f}
	}
	return Segment{File: f, Off: p.off, N: p.n}
}

// useHeadroom puts the head in front of a whole body that is in memory, if
// nobody else sends from there.
func (s *simSession) useHeadroom(resp *Response, f *openfile.File, p part) {
	room := f.Headed(len(resp.Head))
	if room == nil || p.n != f.Size || f.Brief() == nil && f.InUse() {
		return
	}
	s.headed++
	copy(room, resp.Head)
	resp.Head, resp.Body[0].Mem = nil, room
}

func (s *simSession) Sent(c *Conn, o *outcome.Outcome) {
	sc := s.conn(c)
	s.checkSent(c, sc, o)
	sc.sending = false
	s.ends[o.End]++
	if s.m.limits != nil {
		s.m.limits.ended(c, o)
	}
	for i, n := range o.Bytes {
		s.sent[i] += n
		if c.sealed != nil {
			s.sealed[i] += n
		}
	}
	if o.End == outcome.Complete {
		if c.sealed != nil {
			sc.client.records.owed = c.Closing()
		}
		sc.complete++
	} else {
		sc.cut = true
	}
	if sc.req != nil && sc.req.leave {
		c.Close()
	}
}

func (s *simSession) Timeout(c *Conn) {
	sc := s.conn(c)
	s.checkTimeout(c, sc)
	if sc.client.silent {
		return // the engine closes it
	}
	c.CloseAfter(true)
	sc.req = nil
	s.respond(c, sc, []part{{text: []byte(timeoutLine)}}, nil)
}

func (s *simSession) Closed(c *Conn) {
	s.closed++
	if sc, ok := c.Data.(*simConn); ok {
		s.checkClosed(c, sc)
		sc.closed = true
	}
	if s.onClosed != nil {
		s.onClosed()
	}
}
