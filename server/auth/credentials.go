package auth

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
)

// Credentials are a user and a password, in memory that is used again.
type Credentials struct {
	User, Password []byte
	memory         []byte
}

// maxCredentials bounds user and password together, in bytes. What is longer is wrong: bcrypt
// looks at 72 bytes of a password.
const maxCredentials = 1 << 10

// Read reads the value of a field Authorization; nil: there is none. It reports false if that
// has no user and password of the scheme Basic.
func (c *Credentials) Read(field []byte) bool {
	c.User, c.Password = nil, nil
	scheme, token, _ := bytes.Cut(field, []byte(" "))
	if token = bytes.Trim(token, " "); !bytes.EqualFold(scheme, []byte("Basic")) {
		return false
	}
	token = bytes.TrimRight(token, "=")
	if base64.RawStdEncoding.DecodedLen(len(token)) > maxCredentials {
		return false
	}
	var err error
	if c.memory, err = base64.RawStdEncoding.AppendDecode(c.memory[:0], token); err != nil {
		return false
	}
	var ok bool
	c.User, c.Password, ok = bytes.Cut(c.memory, []byte(":"))
	return ok && len(c.User) > 0
}

// Forget wipes what was read.
func (c *Credentials) Forget() {
	clear(c.memory[:cap(c.memory)])
	c.User, c.Password = nil, nil
}

// Proof stands for Credentials and one version of a file: by it a verdict is found again, and
// nothing else is.
type Proof [sha256.Size]byte

// secret is the key of Proofs. It never leaves the process.
var secret = func() (s [32]byte) {
	_, _ = rand.Read(s[:]) // never fails
	return s
}()

// Proof returns that of c for users.
func (c *Credentials) Proof(u *Users) Proof {
	var b [len(secret) + 8 + maxCredentials]byte
	n := copy(b[:], secret[:])
	binary.BigEndian.PutUint64(b[n:], u.version)
	n += 8
	n += copy(b[n:], c.memory)
	p := sha256.Sum256(b[:n])
	clear(b[:])
	return p
}
