package http1

import (
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/server/compress"
	"github.com/fserve/fserve/server/resolve"
)

// compressing is the errand of an answer whose file is being compressed.
type compressing struct {
	s      *Session
	state  resolve.State
	of     *compress.Source
	waiter *compress.Waiter
	form   *compress.Body // nil: it cannot be had
}

// coder is a session as far as it is concerned with compressed files.
type coder Session

// compress goes on with the form that the answer at hand asks for; false: it has to be made, and the
// request is away.
func (s *coder) compress(c *loop.Conn) (step resolve.Step, here bool) {
	b, here := s.compressed()
	if !here {
		s.compressLater(c)
		return 0, false
	}
	return s.answer.Compressed(b), true
}

// hold gives the form that is sent to the exchange, which releases it.
func (s *coder) hold(c *loop.Conn) {
	if s.answer.Chosen == resolve.Made {
		x := (*Session)(s).exchangeOf(c)
		x.form.Release() // of an answer that is planned anew
		x.form = s.answer.Body
	}
}

// compressed returns the form that the answer at hand asks for, retained; nil: it is sent without.
// false: it has to be made.
func (s *coder) compressed() (b *compress.Body, here bool) {
	if m := s.landed; m != nil { // once: a file that keeps changing is sent as it is
		b, m.form = m.form, nil
		if b != nil && b.Of() != *resolve.SourceOf(&s.answer) {
			b.Release()
			b = nil
		}
		return b, true
	}
	if s.refusing {
		return nil, true
	}
	b = s.cfg.Forms.Find(resolve.SourceOf(&s.answer))
	return b, b != nil
}

// compressLater leaves the request until its file is compressed.
func (s *coder) compressLater(c *loop.Conn) {
	(*Session)(s).sendAway(c, s.answer.Place.Set(), &compressing{s: (*Session)(s), state: s.answer.Save(), of: resolve.SourceOf(&s.answer)})
}

func (m *compressing) begin(done func()) {
	m.waiter = m.s.cfg.Forms.Begin(m.of, func(b *compress.Body) {
		m.form = b
		done()
	})
	if m.waiter == nil { // too many wait already
		done()
	}
}

func (m *compressing) patience(s *Session) time.Duration { return s.cfg.Patience }

func (m *compressing) land(_ *Session, x *exchange) {
	if x == nil || x.conn == nil {
		m.form.Release()
	}
}

func (m *compressing) goOn(s *Session, x *exchange) {
	s.landed = m
	s.drive(x.conn, s.answer.Resume(&m.state))
	s.landed = nil
	m.form.Release() // if it was not taken
}

// giveUp answers a request that has waited for too long, with the file as it is.
func (m *compressing) giveUp(s *Session, x *exchange) {
	m.waiter.Leave()
	(&compressing{state: m.state}).goOn(s, x)
}
