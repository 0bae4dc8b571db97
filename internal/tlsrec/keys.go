package tlsrec

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// suite is a way to protect records.
type suite struct {
	hash     func() hash.Hash
	key      int  // bytes
	salt     int  // bytes of a nonce that come from the keys
	explicit bool // the other eight travel with each record: GCM of TLS 1.2
	version  uint16
	aead     func(key []byte) (cipher.AEAD, error)
}

func gcm(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

const nonceLen = 12

var suites = func() map[uint16]*suite {
	of := func(version uint16, salt int) (aes128, aes256, chacha *suite) {
		explicit := salt < nonceLen
		return &suite{hash: sha256.New, key: 16, salt: salt, explicit: explicit, version: version, aead: gcm},
			&suite{hash: sha512.New384, key: 32, salt: salt, explicit: explicit, version: version, aead: gcm},
			&suite{hash: sha256.New, key: 32, salt: nonceLen, version: version, aead: chacha20poly1305.New}
	}
	aes128, aes256, chacha := of(tls.VersionTLS13, nonceLen)
	old128, old256, oldChacha := of(tls.VersionTLS12, nonceLen-explicitLen)
	return map[uint16]*suite{
		tls.TLS_AES_128_GCM_SHA256: aes128, tls.TLS_AES_256_GCM_SHA384: aes256, tls.TLS_CHACHA20_POLY1305_SHA256: chacha,

		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: old128, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: old128,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: old256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: old256,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: oldChacha, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: oldChacha,
	}
}()

// ErrUnsupported is returned for versions and suites that this package does not know.
var ErrUnsupported = errors.New("TLS records: version or suite not supported")

// Secrets are what a handshake has agreed on. The slices are not kept.
type Secrets struct {
	Version, Suite uint16 // as package crypto/tls numbers them

	// Client and Server are the application traffic secrets of TLS 1.3.
	Client, Server []byte

	// Master is the master secret of TLS 1.2, and the randoms are those of the hellos.
	Master, ClientRandom, ServerRandom []byte
}

// Wipe overwrites the secrets with zeros.
func (s *Secrets) Wipe() {
	clear(s.Client)
	clear(s.Server)
	clear(s.Master)
}

// New returns the server's side of a connection whose handshake has just ended, without any
// record after it. The error is ErrUnsupported, or says that the secrets are not whole.
func New(s *Secrets) (*Conn, error) {
	u := suites[s.Suite]
	if u == nil || u.version != s.Version {
		return nil, fmt.Errorf("%w: %s, %s", ErrUnsupported, tls.VersionName(s.Version), tls.CipherSuiteName(s.Suite))
	}
	c := &Conn{suite: u, number: s.Suite, is13: s.Version == tls.VersionTLS13, RekeyAfter: MaxRecords}
	var err error
	if c.is13 {
		err = errors.Join(c.in.init(u, s.Client), c.out.init(u, s.Server))
	} else {
		err = c.init12(s)
		c.in.seq, c.out.seq = 1, 1 // Finished was the first
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// half is one direction.
type half struct {
	aead    cipher.AEAD
	seq     uint64
	salt    [nonceLen]byte
	secret  [sha512.Size384]byte // of TLS 1.3, for the next keys
	scratch [nonceLen + 13]byte  // a nonce, then what TLS 1.2 authenticates besides
}

// init sets the keys of a traffic secret (RFC 8446 section 7.3).
func (h *half) init(u *suite, secret []byte) error {
	if len(secret) != u.hash().Size() {
		return errors.New("TLS records: a traffic secret is missing")
	}
	copy(h.secret[:], secret)
	key, err := expandLabel(u, secret, "key", u.key)
	if err != nil {
		return err
	}
	iv, err := expandLabel(u, secret, "iv", nonceLen)
	if err != nil {
		return err
	}
	return h.use(u, key, iv)
}

// use sets keys, and wipes what they came in.
func (h *half) use(u *suite, key, salt []byte) (err error) {
	copy(h.salt[:], salt)
	h.seq = 0
	h.aead, err = u.aead(key)
	clear(key)
	clear(salt)
	return err
}

// update goes on to the next keys (RFC 8446 section 7.2).
func (h *half) update(u *suite) error {
	next, err := expandLabel(u, h.secret[:u.hash().Size()], "traffic upd", u.hash().Size())
	if err != nil {
		return err
	}
	defer clear(next)
	return h.init(u, next)
}

// wipe forgets the keys. What the cipher has made of them is left to the garbage collector.
func (h *half) wipe() { *h = half{} }

// expandLabel is HKDF-Expand-Label of RFC 8446 section 7.1 with an empty context.
func expandLabel(u *suite, secret []byte, label string, n int) ([]byte, error) {
	info := binary.BigEndian.AppendUint16(make([]byte, 0, 32), uint16(n))
	info = append(info, byte(len("tls13 ")+len(label)))
	info = append(append(append(info, "tls13 "...), label...), 0)
	return hkdf.Expand(u.hash, secret, string(info), n)
}

// init12 sets the keys of TLS 1.2 (RFC 5246 section 6.3), which is the server.
func (c *Conn) init12(s *Secrets) error {
	if len(s.Master) == 0 || len(s.ClientRandom) == 0 || len(s.ServerRandom) == 0 {
		return errors.New("TLS records: the master secret or a random is missing")
	}
	u := c.suite
	seed := append(append([]byte("key expansion"), s.ServerRandom...), s.ClientRandom...)
	block := prf12(u.hash, s.Master, seed, 2*(u.key+u.salt))
	keys, salts := block[:2*u.key], block[2*u.key:]
	return errors.Join(
		c.in.use(u, keys[:u.key], salts[:u.salt]),
		c.out.use(u, keys[u.key:], salts[u.salt:]))
}

// prf12 is P_hash of RFC 5246 section 5.
func prf12(h func() hash.Hash, secret, seed []byte, n int) []byte {
	mac := hmac.New(h, secret)
	sum := func(parts ...[]byte) []byte {
		mac.Reset()
		for _, p := range parts {
			mac.Write(p)
		}
		return mac.Sum(nil)
	}
	var out []byte
	for a := sum(seed); len(out) < n; a = sum(a) {
		out = append(out, sum(a, seed)...)
	}
	return out[:n]
}
