package tlsrec

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
)

// Tap learns from a handshake that crypto/tls does what New needs. It is that handshake's
// KeyLogWriter, and is shown the bytes that come and go. It is not safe for concurrent use,
// which a handshake is not either.
type Tap struct {
	secrets Secrets
	last    []byte // the last record that was sent
	lost    bool   // something was sent that is no record
	left    int    // bytes of the record that is being received
	header  []byte // as far as it has come
}

// Write implements io.Writer for Config.KeyLogWriter: lines of NSS's key log format.
func (t *Tap) Write(line []byte) (int, error) {
	f := bytes.Fields(line)
	if len(f) != 3 {
		return len(line), nil
	}
	random, err := hex.AppendDecode(nil, f[1])
	secret, err2 := hex.AppendDecode(nil, f[2])
	if err = errors.Join(err, err2); err != nil {
		return 0, err
	}
	t.secrets.ClientRandom = random
	switch string(f[0]) {
	case "CLIENT_TRAFFIC_SECRET_0":
		t.secrets.Client = secret
	case "SERVER_TRAFFIC_SECRET_0":
		t.secrets.Server = secret
	case "CLIENT_RANDOM":
		t.secrets.Master = secret
	}
	return len(line), nil
}

// Ask returns how many bytes may be received next, so that none of the next record is:
// crypto/tls would keep it.
func (t *Tap) Ask() int {
	if t.left > 0 {
		return t.left
	}
	return HeaderLen - len(t.header)
}

// Came notes received bytes, no more than Ask has allowed for.
func (t *Tap) Came(p []byte) {
	if t.left > 0 {
		t.left -= len(p)
		return
	}
	if t.header = append(t.header, p...); len(t.header) == HeaderLen {
		t.left = int(binary.BigEndian.Uint16(t.header[3:]))
		t.header = t.header[:0]
	}
}

// Went notes bytes that were sent: whole records, as crypto/tls writes them.
func (t *Tap) Went(p []byte) {
	const random = HeaderLen + 4 + 2 // where it stands in a ServerHello
	if t.secrets.ServerRandom == nil && len(p) >= random+32 {
		t.secrets.ServerRandom = bytes.Clone(p[random : random+32])
	}
	for len(p) > 0 {
		n := len(p) + 1
		if len(p) >= HeaderLen {
			n = HeaderLen + int(binary.BigEndian.Uint16(p[3:]))
		}
		if n > len(p) {
			t.lost = true
			return
		}
		t.last, p = append(t.last[:0], p[:n]...), p[n:]
	}
}

// Forget wipes the secrets, which nobody will ask for.
func (t *Tap) Forget() {
	t.secrets.Wipe()
	*t = Tap{}
}

// errTap: crypto/tls has done something that this package did not know of when it was written.
var errTap = errors.New("TLS records: the handshake is not understood")

// Conn returns the connection as it goes on after the handshake, in which the server has sent so many
// session tickets. That this is true is tried on the last record that was sent. The secrets
// are wiped.
func (t *Tap) Conn(version, suite uint16, tickets int) (*Conn, error) {
	s := &t.secrets
	defer s.Wipe()
	s.Version, s.Suite = version, suite
	if t.lost || t.left > 0 || len(t.header) > 0 {
		return nil, errTap
	}
	c, err := New(s)
	if err != nil || !c.is13 || tickets == 0 {
		return c, err
	}
	if c.out.seq = uint64(tickets) - 1; !c.sealed(t.last) {
		return nil, errTap
	}
	c.out.seq++
	return c, nil
}

// sealed reports whether the next record to send would be this one.
func (c *Conn) sealed(record []byte) bool {
	if len(record) < HeaderLen {
		return false
	}
	_, err := c.out.aead.Open(nil, c.out.nonce(nil), record[HeaderLen:], record[:HeaderLen])
	return err == nil
}
