package aiosim

import (
	"syscall"
	"time"

	"github.com/fserve/fserve/internal/aio"
)

// attempt returns the slot for an attempt, or nil if there may be none.
func (d *driver) attempt(k kind, t aio.Token) *slot {
	s := d.connection(k, t)
	switch {
	case s == nil:
	case s.blocked != aio.OK:
		d.w.violate("%v of slot %d while an attempt is blocked", k, t.Slot())
	case s.shut:
		d.w.violate("%v of slot %d after CloseWrite", k, t.Slot())
	default:
		return s
	}
	return nil
}

// badAttempt answers an attempt that breaks the contract.
func badAttempt() aio.Sent { return aio.Sent{Status: aio.Failed, Err: syscall.EBADF} }

func (d *driver) Send(t aio.Token, head, body []byte, more bool) aio.Sent {
	d.enter(kSend)
	defer d.exit()
	s := d.attempt(kSend, t)
	if s == nil {
		return badAttempt()
	}
	d.recv.checkArgument(d.w, head)
	d.recv.checkArgument(d.w, body)
	asked := int64(len(head) + len(body))
	r := d.trySocket(kSend, s, asked, d.w.cfg.Faults.SendError)
	r.Via = aio.ViaMemory
	h := min(r.N, int64(len(head)))
	s.conn.put(memory(d.w.copyBytes(head[:h])))
	s.conn.put(memory(d.w.copyBytes(body[:r.N-h])))
	d.answer(s, &r, more)
	d.w.noteErr(kSend, t, r.Err, asked, r.N, int64(r.Status), int64(r.Via))
	return r
}

// SendRecord implements aio.Driver. No kernel seals records here.
func (d *driver) SendRecord(aio.Token, byte, []byte) aio.Sent { return badAttempt() }

func memory(p []byte) chunk { return chunk{mem: p, n: int64(len(p))} }

// trySocket decides what an attempt to move n bytes does as far as the socket
// is concerned.
func (d *driver) trySocket(k kind, s *slot, n int64, chance float64) aio.Sent {
	w, c := d.w, s.conn
	if c.conn.broken {
		return aio.Sent{Status: aio.Failed, Err: c.conn.errno()}
	}
	fails := w.fails(k, chance)
	room := min(c.room(), n)
	switch {
	case fails:
		r := aio.Sent{Status: aio.Failed, Err: w.pick(syscall.ECONNRESET, syscall.EPIPE, syscall.ETIMEDOUT)}
		if room > 0 && w.coin() {
			r.N = w.below(room)
		}
		return r
	case n == 0:
		return aio.Sent{}
	case s.stalls < maxStalls && w.roll(w.cfg.Faults.FalseBlock):
		r := aio.Sent{Status: aio.BlockedSocket, N: w.below(room + 1)}
		if w.coin() {
			r.Status = aio.BlockedMemory
		}
		return r
	case room == 0:
		return aio.Sent{Status: aio.BlockedSocket}
	case room > 1 && w.roll(w.cfg.Faults.ShortSend):
		return aio.Sent{N: w.upTo(room)}
	case room < n && !w.coin():
		return aio.Sent{N: room, Status: aio.BlockedSocket}
	}
	return aio.Sent{N: room}
}

// answer does what an outcome means for the slot: counts, obstacles, ends.
func (d *driver) answer(s *slot, r *aio.Sent, more bool) {
	d.stats.Enters++
	d.stats.Bytes[r.Via] += uint64(r.N)
	d.elapse(r.N)
	d.countTurn(s, r.N)
	s.stalls++
	if r.N > 0 {
		s.stalls = 0
		s.conn.sent(r.N, more)
	}
	switch r.Status {
	case aio.Failed:
		d.stats.CountError(r.Err)
		if r.Err != syscall.EIO && !s.conn.conn.broken {
			s.conn.injectBreak()
		}
	case aio.BlockedSocket:
		s.blocked = r.Status
		if s.conn.room() > 0 {
			d.offerReady(s)
		}
	case aio.BlockedMemory:
		s.blocked = r.Status
		d.offerReady(s)
	case aio.BlockedDisk:
		s.blocked = r.Status
		d.startFetch(s)
	}
}

// countTurn adds up what a slot moves between two Waits.
func (d *driver) countTurn(s *slot, n int64) {
	if s.turn != d.stats.Waits {
		s.turn, s.moved = d.stats.Waits, 0
	}
	s.moved += n
	d.maxTurn = max(d.maxTurn, s.moved)
}

// MaxTurn returns the most bytes that the attempts of one slot moved between
// two calls of Wait.
func (w *World) MaxTurn() int64 {
	if w.drv == nil {
		return 0
	}
	return w.drv.maxTurn
}

func (d *driver) SendFile(t aio.Token, f *aio.File, off, n int64, more bool) aio.Sent {
	d.enter(kSendFile)
	defer d.exit()
	s := d.attempt(kSendFile, t)
	if s == nil {
		return badAttempt()
	}
	file := d.fileOf(kSendFile, f, off, n)
	if file == nil {
		return badAttempt()
	}
	via := d.via(f)
	if a := s.ahead; a.n > 0 && a.fd == f.FD && a.off == off {
		via = aio.ViaSplice
	}
	r := d.tryFile(s, f, file, off, n, via)
	r.Via = via
	d.putFile(s, f, file, off, r.N, via)
	if r.Blocked() {
		s.blockedFD = f.FD
	}
	if d.w.roll(d.w.cfg.Faults.Pin) {
		d.pin(f)
	}
	d.answer(s, &r, more)
	d.w.noteErr(kSendFile, t, r.Err, off, n, r.N, int64(r.Status))
	return r
}

// pin lets an operation name f for some time, as reading ahead does.
func (d *driver) pin(f *aio.File) {
	f.Pins++
	d.w.fd(f.FD).lent = f
	d.w.note(kPin, 0, int64(f.FD), int64(f.Pins), 0, 0)
	d.w.At(time.Duration(d.w.below(lateMax)), func() {
		f.Pins--
		d.w.note(kPin, 0, int64(f.FD), int64(f.Pins), 0, 0)
	})
}

// fileOf returns the file of an open descriptor; anything else is a violation.
func (d *driver) fileOf(k kind, f *aio.File, off, n int64) *File {
	if f == nil || off < 0 || n < 0 {
		d.w.violate("%v with file %v, offset %d, length %d", k, f, off, n)
		return nil
	}
	desc := d.w.fd(f.FD)
	if desc == nil || desc.file == nil {
		d.w.violate("%v of descriptor %d, which is no open file", k, f.FD)
		return nil
	}
	return desc.file
}

// via chooses the way that bytes of f go.
func (d *driver) via(f *aio.File) aio.Via {
	ways := [...]aio.Via{aio.ViaSendfile, aio.ViaSplice, aio.ViaCopy}
	i := 0
	switch d.cfg.Mode {
	case aio.Splice:
		i = 1
	case aio.Copy:
		i = 2
	}
	for ; ways[i] != aio.ViaCopy; i++ {
		refused := f.Refused&(1<<ways[i]) != 0
		if !refused && !d.w.roll(d.w.cfg.Faults.StepDown) {
			break
		}
		if !refused {
			f.Refused |= 1 << ways[i]
			d.stats.StepsDown[ways[i]]++
		}
		if d.cfg.Mode == aio.Sendfile {
			return aio.ViaCopy
		}
	}
	return ways[i]
}

// tryFile decides what an attempt on a file does. It is fallible twice: by the
// file and by the socket.
func (d *driver) tryFile(s *slot, f *aio.File, file *File, off, n int64, via aio.Via) aio.Sent {
	w, c := d.w, &s.conn.conn
	if c.broken {
		return aio.Sent{Status: aio.Failed, Err: c.errno()}
	}
	if a := s.ahead; a.n > 0 && a.fd == f.FD && a.off == off {
		return d.trySocket(kSendFile, s, min(n, a.n), w.cfg.Faults.SendError)
	}
	d.setAhead(s, ahead{})
	if w.fails(kSendFile, w.cfg.Faults.FileError) {
		return aio.Sent{Status: aio.Failed, Err: syscall.EIO}
	}
	reach, end := d.reach(s, file, off, n)
	var r aio.Sent
	if reach > 0 || n == 0 {
		r = d.trySocket(kSendFile, s, reach, w.cfg.Faults.SendError)
		if r.Status != aio.OK || r.N < reach {
			d.takeAhead(s, f, file, off+r.N, reach-r.N, via)
			return r
		}
		if end == asFarAsAsked || w.coin() {
			return r
		}
	}
	return d.stop(s, file, off+r.N, r.N, end)
}

// reachEnd is what ends a range that can be sent at once.
type reachEnd uint8

const (
	asFarAsAsked reachEnd = iota
	toEOF
	toBad  // the next bytes cannot be read
	toCold // the next bytes must be fetched
)

// reach returns how many of n bytes from off can be sent at once, and why not more.
func (d *driver) reach(s *slot, file *File, off, n int64) (int64, reachEnd) {
	m, end := n, asFarAsAsked
	if have := max(file.Size()-off, 0); have < m {
		m, end = have, toEOF
	}
	if sound := clear(file.bad, off, m); sound < m {
		m, end = sound, toBad
	}
	if hot := clear(file.cold, off, m); hot < m {
		m, end = hot, toCold
	}
	if m > 0 && s.stalls < maxStalls && d.w.roll(d.w.cfg.Faults.DiskBlock) {
		m, end = d.w.below(m), toCold
	}
	return m, end
}

// stop answers an attempt that moved n bytes and cannot go on at off. That the
// next bytes cannot be read is known at once, or when they were fetched.
func (d *driver) stop(s *slot, file *File, off, n int64, end reachEnd) aio.Sent {
	switch {
	case end == toEOF:
		return aio.Sent{N: n, Status: aio.EOF}
	case end == toBad && !d.w.coin():
		return aio.Sent{N: n, Status: aio.Failed, Err: syscall.EIO}
	}
	s.fetch = fetch{file: file, off: off, n: d.cfg.ColdChunk}
	if clear(file.bad, off, 1) == 0 {
		s.fetch.err = syscall.EIO
	}
	return aio.Sent{N: n, Status: aio.BlockedDisk}
}

// startFetch lets a range come from the disk, in 0.1 to 20 ms.
func (d *driver) startFetch(s *slot) {
	d.stats.ColdReads++
	late := 100e3 + d.w.below(lateMax/10)
	if d.w.roll(d.w.cfg.Faults.LateReady) {
		late += d.w.below(lateMax)
	}
	s.fetchEnd = d.w.now + late
	d.w.after(late, timer{kind: tFetch, s: s, use: s.use})
}

// takeAhead lets splice take bytes into the pipe that did not go out.
func (d *driver) takeAhead(s *slot, f *aio.File, file *File, off, n int64, via aio.Via) {
	if via == aio.ViaSplice && n > 0 && d.w.coin() {
		d.setAhead(s, ahead{fd: f.FD, off: off, n: n, chunk: file.chunk(off, n, false)})
	}
}

func (d *driver) setAhead(s *slot, a ahead) {
	if s.ahead.n > 0 {
		d.stats.PipesOpen--
	}
	s.ahead = a
	if a.n > 0 {
		d.stats.PipesOpen++
	}
}

// putFile moves n bytes of a file, or of what was taken ahead, to the socket.
func (d *driver) putFile(s *slot, f *aio.File, file *File, off, n int64, via aio.Via) {
	if n == 0 {
		return
	}
	if a := s.ahead; a.n > 0 && a.fd == f.FD && a.off == off {
		s.conn.put(a.chunk.cut(0, n))
		a.off, a.n, a.chunk = a.off+n, a.n-n, a.chunk.cut(n, a.n-n)
		d.setAhead(s, a)
		return
	}
	s.conn.put(file.chunk(off, n, via == aio.ViaCopy))
}

// Stage takes a range of which all is in memory, or says that no pipe is to be had.
func (d *driver) Stage(t aio.Token, f *aio.File, off, n int64) bool {
	d.enter(kTake)
	defer d.exit()
	s := d.attempt(kTake, t)
	if s == nil {
		return false
	}
	file := d.fileOf(kTake, f, off, n)
	if file == nil || n > aio.StageMax {
		d.w.violate("take of %d bytes", n)
		return false
	}
	taken := d.takeAll(s, f, file, off, n)
	d.stats.Enters++
	var k int64
	if taken {
		k = n
	}
	d.w.note(kTake, t, int64(f.FD), off, n, k)
	return taken
}

func (d *driver) takeAll(s *slot, f *aio.File, file *File, off, n int64) bool {
	splices := d.cfg.Mode == aio.Auto || d.cfg.Mode == aio.Splice
	there := off+n <= file.Size() && clear(file.bad, off, n) == n && clear(file.cold, off, n) == n
	if !splices || f.Refused&(1<<aio.ViaSplice) != 0 || s.ahead.n > 0 || n == 0 || !there || d.w.roll(d.w.cfg.Faults.NoPipe) {
		return false
	}
	d.setAhead(s, ahead{fd: f.FD, off: off, n: n, chunk: file.chunk(off, n, false)})
	return true
}

func (d *driver) Stat(f *aio.File) (aio.FileStat, syscall.Errno) {
	d.enter(kStat)
	defer d.exit()
	file := d.fileOf(kStat, f, 0, 0)
	if file == nil {
		return aio.FileStat{}, syscall.EBADF
	}
	d.stats.Enters++
	if d.w.fails(kStat, d.w.cfg.Faults.StatError) {
		e := d.w.pick(syscall.EIO, syscall.ESTALE)
		d.w.noteErr(kStat, 0, e, int64(f.FD), 0, 0, 0)
		return aio.FileStat{}, e
	}
	if d.w.roll(d.w.cfg.Faults.StatTouch) {
		file.Touch()
	}
	st := file.stat()
	d.w.note(kStat, 0, int64(f.FD), st.Size, st.MtimeNs, 0)
	return st, 0
}
