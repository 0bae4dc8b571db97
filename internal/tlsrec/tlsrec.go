// Package tlsrec is the record layer of TLS 1.3 (RFC 8446) and of the AEAD suites of TLS 1.2
// (RFC 5246, 5288, 7905), for a server whose handshake is over: crypto/tls does that. It
// seals and opens records in memory that it is given, and does no I/O.
package tlsrec

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Sizes, in bytes.
const (
	HeaderLen = 5
	MaxPlain  = 16 << 10 // of the content of a record

	// MaxPrefix and MaxSuffix bound what stands in front of the content of a sealed record and
	// behind it: header and explicit nonce; type and tag.
	MaxPrefix = HeaderLen + explicitLen
	MaxSuffix = 1 + tagLen

	// MaxControl bounds what AppendUpdate and AppendAlert append.
	MaxControl = MaxPrefix + updateLen + MaxSuffix

	explicitLen = 8
	tagLen      = 16
	updateLen   = 5

	most13 = MaxPlain + 256  // of a sealed record without its header
	most12 = MaxPlain + 2048 // the same
)

// Content types.
const (
	typeAlert     = 21
	typeHandshake = 22
	typeData      = 23
)

// Messages of the handshake that may come after it.
const (
	clientHello = 1
	keyUpdate   = 24
)

// MaxRecords is how many records are sealed with one key of TLS 1.3, where RFC 8446 section
// 5.5 allows for 2^24.5 with AES-GCM. TLS 1.2 has no means to change keys.
const MaxRecords = 1 << 24

// maxUseless is how many records without any data may come in a row. crypto/tls has the same.
const maxUseless = 16

// Alert is why a connection ends, for its peer. As an error of Length and Open it is to be
// sent (AppendAlert).
type Alert uint8

// Alerts (RFC 8446 section 6, RFC 5246 section 7.2.2).
const (
	CloseNotify       Alert = 0
	UnexpectedMessage Alert = 10
	BadRecordMAC      Alert = 20
	RecordOverflow    Alert = 22
	IllegalParameter  Alert = 47
	DecodeError       Alert = 50
	ProtocolVersion   Alert = 70
	InternalError     Alert = 80
	userCanceled      Alert = 90
	NoRenegotiation   Alert = 100
)

func (a Alert) Error() string { return fmt.Sprintf("TLS records: alert %d", uint8(a)) }

// PeerAlert is the error of Open when the peer has ended the connection by an alert.
type PeerAlert uint8

func (a PeerAlert) Error() string {
	return fmt.Sprintf("TLS records: the peer sends alert %d", uint8(a))
}

// Conn is both directions of a connection. It is not safe for concurrent use.
type Conn struct {
	// RekeyAfter is how many records one key of TLS 1.3 seals.
	RekeyAfter uint64

	in, out  half
	suite    *suite
	number   uint16 // of suite, as package crypto/tls numbers them
	is13     bool
	byKernel bool // see LetGo
	asked    bool // the peer has asked for new keys
	useless  uint8
	message  [updateLen]byte // of the handshake, as far as it has come
	have     uint8           // bytes of it
}

// Wipe overwrites the secrets. The Conn is of no use afterwards.
func (c *Conn) Wipe() {
	c.in.wipe()
	c.out.wipe()
}

// Record returns the content of a record that is an alert, and its content type, for who has others
// seal it.
func (a Alert) Record() (content [2]byte, typ byte) {
	return [2]byte{a.level(), byte(a)}, typeAlert
}

// level is 1 for what is no error.
func (a Alert) level() byte {
	if a == CloseNotify || a == NoRenegotiation {
		return 1
	}
	return 2
}

// Prefix and Suffix return how many bytes stand in front of the content of a sealed record,
// and behind it.
func (c *Conn) Prefix() int { return HeaderLen + c.explicit() }

// Suffix returns what Prefix says.
func (c *Conn) Suffix() int { return tagLen + c.inner() }

// inner is 1 if the type of a record is sealed behind its content.
func (c *Conn) inner() int {
	if c.is13 {
		return 1
	}
	return 0
}

func (c *Conn) explicit() int {
	if c.suite.explicit {
		return explicitLen
	}
	return 0
}

// Seal seals a record of application data in place: its content, of at most MaxPlain bytes,
// stands in p with Prefix bytes in front and Suffix bytes behind. AppendUpdate must have
// been called since NeedsUpdate has reported true.
func (c *Conn) Seal(p []byte) { c.seal(p, typeData) }

func (c *Conn) seal(p []byte, typ byte) {
	prefix, end := c.Prefix(), len(p)-tagLen
	if c.is13 {
		p[end-1] = typ
	}
	c.protect(p, typ, p[prefix:end])
}

// Append appends a sealed record with content, of at most MaxPlain bytes, to dst, which has
// room for it. The byte behind content, which must be there (cap), is used meanwhile. See
// Seal.
func (c *Conn) Append(dst, content []byte) []byte {
	at, n := len(dst), len(content)
	dst = dst[:at+c.Prefix()+n+c.Suffix()]
	if c.is13 {
		content = content[:n+1]
		behind := content[n]
		content[n] = typeData
		c.protect(dst[at:], typeData, content)
		content[n] = behind
		return dst
	}
	c.protect(dst[at:], typeData, content)
	return dst
}

// protect makes a record of what is sealed in it.
func (c *Conn) protect(p []byte, typ byte, inner []byte) {
	if c.is13 {
		typ = typeData
	}
	p[0], p[1], p[2] = typ, 3, 3
	binary.BigEndian.PutUint16(p[3:], uint16(len(p)-HeaderLen))
	h, prefix := &c.out, c.Prefix()
	if c.suite.explicit {
		binary.BigEndian.PutUint64(p[HeaderLen:], h.seq)
	}
	h.aead.Seal(p[prefix:prefix], h.nonce(p[HeaderLen:prefix]), inner, c.additional(h, p[:HeaderLen], len(inner)))
	h.seq++
}

// nonce returns the nonce of a record, of which explicit is the part that travels with it.
func (h *half) nonce(explicit []byte) []byte {
	n := h.scratch[:nonceLen]
	copy(n, h.salt[:])
	if len(explicit) > 0 {
		copy(n[nonceLen-explicitLen:], explicit)
		return n
	}
	low := n[nonceLen-8:]
	binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)^h.seq)
	return n
}

// additional returns what is authenticated besides the content of n bytes.
func (c *Conn) additional(h *half, header []byte, n int) []byte {
	if c.is13 {
		return header
	}
	a := h.scratch[nonceLen:]
	binary.BigEndian.PutUint64(a, h.seq)
	copy(a[8:], header[:3])
	binary.BigEndian.PutUint16(a[11:], uint16(n))
	return a
}

// control appends a record that is no application data.
func (c *Conn) control(dst []byte, typ byte, content ...byte) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, c.Prefix())...)
	dst = append(dst, content...)
	dst = append(dst, make([]byte, c.Suffix())...)
	c.seal(dst[at:], typ)
	return dst
}

// AppendAlert appends a record with an alert.
func (c *Conn) AppendAlert(dst []byte, a Alert) []byte {
	return c.control(dst, typeAlert, a.level(), byte(a))
}

// NeedsUpdate reports whether the next record must be a KeyUpdate: the peer has asked for
// one, or the key has sealed as much as it may.
func (c *Conn) NeedsUpdate() bool { return c.asked || c.is13 && c.out.seq >= c.RekeyAfter }

// AppendUpdate appends a KeyUpdate; what is sealed from then on is under new keys.
func (c *Conn) AppendUpdate(dst []byte) ([]byte, error) {
	c.asked = false
	return c.update(dst, 0)
}

// AppendRequest is AppendUpdate, and the peer is to change its keys too. No server has a reason to; its
// clients may.
func (c *Conn) AppendRequest(dst []byte) ([]byte, error) { return c.update(dst, 1) }

func (c *Conn) update(dst []byte, requested byte) ([]byte, error) {
	dst = c.control(dst, typeHandshake, keyUpdate, 0, 0, 1, requested)
	return dst, c.out.update(c.suite)
}

// Length returns the length of the record that p begins with, 0 if p is too short to tell. The error
// is an Alert.
func (c *Conn) Length(p []byte) (int, error) {
	if len(p) < HeaderLen {
		return 0, nil
	}
	n, most := int(binary.BigEndian.Uint16(p[3:])), most13
	if !c.is13 {
		most = most12
	}
	switch {
	case p[0] < 20 || p[0] > typeData, c.is13 && p[0] != typeData:
		return 0, UnexpectedMessage
	case p[1] != 3 || p[2] != 3:
		return 0, ProtocolVersion
	case n > most:
		return 0, RecordOverflow
	}
	return HeaderLen + n, nil
}

// Open opens a record, which is whole (Length), in place, and returns its application data. That
// is empty for records of another kind. The error is io.EOF if the peer has ended its
// direction in order (close_notify), a PeerAlert, or an Alert.
func (c *Conn) Open(record []byte) (content []byte, err error) {
	h, prefix := &c.in, c.Prefix()
	if len(record) < prefix+tagLen {
		return nil, BadRecordMAC
	}
	sealed, typ := record[prefix:], record[0]
	content, err = h.aead.Open(sealed[:0], h.nonce(record[HeaderLen:prefix]), sealed, c.additional(h, record[:HeaderLen], len(sealed)-tagLen))
	if err != nil {
		return nil, BadRecordMAC
	}
	h.seq++
	if c.is13 {
		if len(content) > MaxPlain+1 {
			return nil, RecordOverflow
		}
		if content, typ = unpad(content); typ == 0 {
			return nil, UnexpectedMessage
		}
	}
	if len(content) > MaxPlain {
		return nil, RecordOverflow
	}
	return c.opened(typ, content)
}

// unpad returns what stands in front of the type of a record and its padding; type 0: there is none.
func unpad(p []byte) (content []byte, typ byte) {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] != 0 {
			return p[:i], p[i]
		}
	}
	return nil, 0
}

// opened handles the content of a record.
func (c *Conn) opened(typ byte, content []byte) ([]byte, error) {
	if typ == typeData && len(content) > 0 && c.have == 0 {
		c.useless = 0
		return content, nil
	}
	if c.useless++; c.useless > maxUseless || c.have > 0 && typ != typeHandshake {
		return nil, UnexpectedMessage
	}
	switch typ {
	case typeData:
		return nil, nil
	case typeAlert:
		return nil, c.alerted(content)
	case typeHandshake:
		return nil, c.handshake(content)
	}
	return nil, UnexpectedMessage
}

func (c *Conn) alerted(content []byte) error {
	if len(content) != 2 {
		return DecodeError
	}
	switch a := Alert(content[1]); {
	case a == CloseNotify:
		return io.EOF
	case a == userCanceled, !c.is13 && content[0] == 1: // a warning
		return nil
	default:
		return PeerAlert(a)
	}
}

// handshake takes a KeyUpdate. Nothing else may come, and nothing behind it under the old keys.
func (c *Conn) handshake(content []byte) error {
	if len(content) == 0 || int(c.have)+len(content) > updateLen && c.is13 {
		return UnexpectedMessage
	}
	if !c.is13 {
		if content[0] == clientHello {
			return NoRenegotiation
		}
		return UnexpectedMessage
	}
	c.have += uint8(copy(c.message[c.have:], content))
	if c.message[0] != keyUpdate {
		return UnexpectedMessage
	}
	if c.have < updateLen {
		return nil
	}
	c.have = 0
	if m := &c.message; m[1] != 0 || m[2] != 0 || m[3] != 1 {
		return DecodeError
	}
	switch c.message[4] {
	case 0:
	case 1:
		c.asked = true
	default:
		return IllegalParameter
	}
	if c.in.update(c.suite) != nil {
		return InternalError
	}
	return nil
}
