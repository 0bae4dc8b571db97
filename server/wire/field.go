package wire

import "encoding/binary"

// Field names the fields that Parse finds for Get.
type Field uint8

const (
	noField Field = iota

	// Fields that frame the message and the connection; Parse acts on them.
	Host
	ContentLength
	TransferEncoding
	Connection
	Expect

	// Fields that the file path reads.
	Range
	IfRange
	IfMatch
	IfNoneMatch
	IfModifiedSince
	IfUnmodifiedSince
	Accept
	AcceptEncoding
	Authorization
	Cookie
	Forwarded
	Origin
	Referer
	UserAgent
	XAPIKey
	XForwardedFor
	XRealIP

	numField
)

// lists are the fields whose lines may be joined by commas (RFC 9110 section 5.3).
const lists = 1<<TransferEncoding | 1<<Connection | 1<<Expect | 1<<IfMatch | 1<<IfNoneMatch |
	1<<Accept | 1<<AcceptEncoding | 1<<Forwarded | 1<<XForwardedFor

var fieldNames = [numField]string{
	Host:              "host",
	ContentLength:     "content-length",
	TransferEncoding:  "transfer-encoding",
	Connection:        "connection",
	Expect:            "expect",
	Range:             "range",
	IfRange:           "if-range",
	IfMatch:           "if-match",
	IfNoneMatch:       "if-none-match",
	IfModifiedSince:   "if-modified-since",
	IfUnmodifiedSince: "if-unmodified-since",
	Accept:            "accept",
	AcceptEncoding:    "accept-encoding",
	Authorization:     "authorization",
	Cookie:            "cookie",
	Forwarded:         "forwarded",
	Origin:            "origin",
	Referer:           "referer",
	UserAgent:         "user-agent",
	XAPIKey:           "x-api-key",
	XForwardedFor:     "x-forwarded-for",
	XRealIP:           "x-real-ip",
}

// String returns the field's name in lower case.
func (f Field) String() string {
	if f >= numField {
		return "unknown"
	}
	return fieldNames[f]
}

const (
	minName    = 4  // len("host")
	maxName    = 19 // len("if-unmodified-since")
	candidates = 4  // known names of one length
)

// nameKey is a name of 4 to 24 bytes in three words, letters in lower case.
type nameKey struct{ a, m, z uint64 }

type candidate struct {
	key   nameKey
	field Field
}

// known holds the known names by length; unused places have noField.
var known = func() (t [maxName + 1][candidates]candidate) {
	for f := noField + 1; f < numField; f++ {
		name := fieldNames[f]
		row := &t[len(name)]
		for i := range row {
			if row[i].field == noField {
				row[i] = candidate{keyOf([]byte(name)), f}
				break
			}
		}
	}
	return t
}()

const lower = 0x20 * ones

// keyOf folds case by setting one bit of every byte. Among the characters of a
// token that maps only letters of either case to letters, and only '-' to '-'.
func keyOf(name []byte) nameKey {
	n := len(name)
	if n < 8 {
		a := uint64(binary.LittleEndian.Uint32(name)) | uint64(binary.LittleEndian.Uint32(name[n-4:]))<<32
		return nameKey{a: a | lower}
	}
	k := nameKey{
		a: binary.LittleEndian.Uint64(name) | lower,
		z: binary.LittleEndian.Uint64(name[n-8:]) | lower,
	}
	if n > 16 {
		k.m = binary.LittleEndian.Uint64(name[8:]) | lower
	}
	return k
}

// lookup returns the known field with this name, or noField. The name must be a token.
func lookup(name []byte) Field {
	n := len(name)
	if n < minName || n > maxName {
		return noField
	}
	row := &known[n]
	if row[0].field == noField {
		return noField
	}
	key := keyOf(name)
	for i := range row {
		if row[i].key == key {
			return row[i].field
		}
	}
	return noField
}
