package tlsrec

import (
	"crypto/tls"
	"encoding/binary"
)

// Numbers of ciphers in the kernel (include/uapi/linux/tls.h).
var kernelCiphers = map[uint16]uint16{
	tls.TLS_AES_128_GCM_SHA256:       51,
	tls.TLS_AES_256_GCM_SHA384:       52,
	tls.TLS_CHACHA20_POLY1305_SHA256: 54,
}

// LetGo notes that others seal what is sent from now on: the keys for it are forgotten. Nothing may be sealed
// any more, and ByKernel reports true.
func (c *Conn) LetGo() {
	c.out.wipe()
	c.byKernel = true
}

// ByKernel reports whether LetGo was called.
func (c *Conn) ByKernel() bool { return c.byKernel }

// KernelInfo returns what Linux needs to seal what follows (struct tls12_crypto_info_...), nil if it
// is not TLS 1.3. It is secret, and the caller's to wipe.
func (c *Conn) KernelInfo() ([]byte, error) {
	cipher := kernelCiphers[c.number]
	if cipher == 0 {
		return nil, nil
	}
	secret := c.out.secret[:c.suite.hash().Size()]
	key, err := expandLabel(c.suite, secret, "key", c.suite.key)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	info := binary.NativeEndian.AppendUint16(nil, tls.VersionTLS13)
	info = binary.NativeEndian.AppendUint16(info, cipher)
	// Of GCM the kernel calls the first four bytes of the nonce's fixed part salt, and has them
	// behind the key.
	salt := 4
	if c.number == tls.TLS_CHACHA20_POLY1305_SHA256 {
		salt = 0
	}
	info = append(info, c.out.salt[salt:]...)
	info = append(info, key...)
	info = append(info, c.out.salt[:salt]...)
	return binary.BigEndian.AppendUint64(info, c.out.seq), nil
}

// TrialInfo returns what KernelInfo does of keys that nobody has, for a trial.
func TrialInfo() []byte {
	const aes128 = 51
	info := binary.NativeEndian.AppendUint16(nil, tls.VersionTLS13)
	info = binary.NativeEndian.AppendUint16(info, aes128)
	return append(info, make([]byte, nonceLen+16+8)...)
}
