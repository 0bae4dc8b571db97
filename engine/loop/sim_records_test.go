package loop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/fserve/fserve/internal/aio/aiosim"
	"github.com/fserve/fserve/internal/tlsrec"
)

// simSecured stands behind a connection on which TLS is spoken.
type simSecured struct {
	*simAdopted
	rec *tlsrec.Conn
}

func (s simSecured) Records() *tlsrec.Conn { return s.rec }

// simRecords is the client's side of TLS: an aiosim.Codec.
type simRecords struct {
	rnd         *rand.Rand
	rec, server *tlsrec.Conn
	in          []byte // of a record that is not whole
	content     []byte
	next        simRecord // how the next bytes are sealed

	sealed, opened int  // records
	owed           bool // the last response was to end the connection
	bye            bool // close_notify came
	alerted        bool // another alert did
}

// simRecord is what a client does to bytes that it writes.
type simRecord uint8

const (
	good  simRecord = iota
	wrong           // its tag is
	half            // of the last record only the beginning
	last            // and close_notify
)

// secure lets a client speak TLS, and perhaps end so in its own way. It reports whether the client is
// patient still.
func (m *simulation) secure(cfg *aiosim.ClientConfig, e lastSteps) (patient bool) {
	k := m.newRecords()
	cfg.Codec = k
	write := func(how simRecord) aiosim.Step {
		return aiosim.Do(func(c *aiosim.Client) {
			k.next = how
			c.Write([]byte("12"))
		})
	}
	n := len(cfg.Script)
	steps := cfg.Script[:n:n]
	switch m.rnd.IntN(6) {
	case 0:
		cfg.Script = append(steps, write(wrong))
		return e.patient && !e.floods && n < 0 // the server may see it before its last answer has left
	case 1:
		cfg.Script = append(steps, write(half))
		return e.patient
	case 2:
		cfg.Script = append(steps, write(last))
		return e.patient
	}
	return e.patient
}

func (m *simulation) newRecords() *simRecords {
	k := &simRecords{rnd: rand.New(rand.NewPCG(m.rnd.Uint64(), 1))}
	ids := []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_CHACHA20_POLY1305_SHA256}
	s := tlsrec.Secrets{Version: tls.VersionTLS13, Suite: ids[m.rnd.IntN(len(ids))]}
	s.Client, s.Server = bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	var err, err2 error
	k.server, err = tlsrec.New(&s)
	s.Client, s.Server = s.Server, s.Client
	k.rec, err2 = tlsrec.New(&s)
	if err := errors.Join(err, err2); err != nil {
		panic(err)
	}
	if m.rnd.IntN(2) == 0 {
		k.rec.RekeyAfter, k.server.RekeyAfter = 1+m.rnd.Uint64N(5), 1+m.rnd.Uint64N(5)
	}
	return k
}

// Seal implements aiosim.Codec.
func (k *simRecords) Seal(p []byte) (out []byte) {
	how := k.next
	k.next = good
	at := 0
	for len(p) > 0 {
		n := min(len(p), tlsrec.MaxPlain, 1+k.rnd.IntN(1<<k.rnd.IntN(16)))
		if k.rec.NeedsUpdate() {
			update, err := k.rec.AppendUpdate, error(nil)
			if k.rnd.IntN(2) == 0 {
				update = k.rec.AppendRequest
			}
			if out, err = update(out); err != nil {
				panic(err)
			}
		}
		at = len(out)
		out = append(out, make([]byte, k.rec.Prefix())...)
		out = append(out, p[:n]...)
		out = append(out, make([]byte, k.rec.Suffix())...)
		k.rec.Seal(out[at:])
		k.sealed++
		p = p[n:]
	}
	switch how {
	case wrong:
		out[len(out)-1] ^= 1
	case half:
		out = out[:at+1+k.rnd.IntN(len(out)-at-1)]
	case last:
		out = k.rec.AppendAlert(out, tlsrec.CloseNotify)
	}
	return out
}

// Open implements aiosim.Codec.
func (k *simRecords) Open(p []byte) ([]byte, error) {
	k.in = append(k.in, p...)
	k.content = k.content[:0]
	for {
		n, err := k.rec.Length(k.in)
		if err != nil {
			return k.content, err
		}
		if n == 0 || n > len(k.in) {
			return k.content, nil
		}
		if k.bye || k.alerted {
			return k.content, errors.New("a record after the last one")
		}
		content, err := k.rec.Open(k.in[:n])
		k.content = append(k.content, content...)
		k.opened++
		k.in = k.in[n:]
		var a tlsrec.PeerAlert
		switch {
		case errors.Is(err, io.EOF):
			k.bye = true
		case errors.As(err, &a):
			k.alerted = true
		case err != nil:
			return k.content, fmt.Errorf("record %d: %w", k.opened, err)
		}
	}
}

// check checks what a client saw at its end.
func (k *simRecords) check(m *simulation, i int, r aiosim.Result) {
	if r.End != aiosim.SawFIN || r.Left {
		return
	}
	switch {
	case k.owed && !k.bye:
		m.bad("client %d saw FIN without close_notify", i)
	case len(k.in) > tlsrec.MaxControl: // the last one may be lost where there is no room for it
		m.bad("client %d saw FIN within a record", i)
	}
}

func (k *simRecords) count(y *tally) {
	y.count("records that end a stream", k.bye)
	y.count("alerts", k.alerted)
	y.counts["records to clients"] += uint64(k.opened)
	y.counts["records of clients"] += uint64(k.sealed)
}

// stuckRecords returns what is wrong with the records of a connection between two turns.
func stuckRecords(c *Conn) string {
	z := c.sealed
	switch {
	case c.state == connClosing && (z.partial != nil || z.pending != nil):
		return "records are left"
	case c.state == connClosing:
	case len(z.pending) > 0 && !z.blocked && !(c.state == connSending && c.stream.queued):
		return "nothing goes on with what is sealed"
	case len(z.pending) > 0 && c.state != connSending && c.state != connLingering:
		return "sealed bytes are left behind a response"
	case cap(z.pending) > 128<<10:
		return "a buffer is larger than the pool has"
	case z.pending != nil && len(z.pending) == z.went, z.partial != nil && len(z.partial) == 0:
		return "a buffer is held for nothing"
	}
	return ""
}
