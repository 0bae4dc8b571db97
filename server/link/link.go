// Package link makes and verifies signed links: URLs that carry who may get what, until when and
// how fast, in one parameter of their query:
//
//	https://example.com/releases/f.iso?fs=POLICY.MAC
//
// POLICY is base64url (RFC 4648, without padding) of KEY=VALUE with semicolons between them, and MAC
// is that of the HMAC-SHA256 over "fs1\n" and POLICY as it is transmitted. Nothing is put into a
// canonical form: what is signed are bytes, and the path in them is compared with the one that
// is routed. Bytes of a value that are ';', '%' or a control character are percent-encoded.
//
// It is pure: the time is an argument. secure_link_md5 of nginx is here for links that are there
// already.
package link

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// signed begins what is signed. Another format has another beginning.
	signed = "fs1\n"
	// maxPolicy bounds a policy, in bytes.
	maxPolicy = 1 << 10
	// leastSecret is how long a secret is at least, in bytes.
	leastSecret = 16
	// maxKeys bounds the keys of Keys.
	maxKeys = 8
)

var (
	encoding  = base64.RawURLEncoding.Strict()
	macLen    = encoding.EncodedLen(sha256.Size)
	policyLen = encoding.EncodedLen(maxPolicy)
)

// Policy is what a link allows. All but Path and Expires may be left out.
type Policy struct {
	// Path is the path of the one file, decoded, or the beginning of all paths if it ends
	// with a slash.
	Path    string
	Expires time.Time // in whole seconds
	// NotBefore is when it begins to count.
	NotBefore time.Time
	// Host is the name of the host, without a port.
	Host string
	// Networks are those of the clients.
	Networks []netip.Prefix
	// User is whom responses are counted by, and Tier how they are limited.
	User, Tier string
	// Rate is in bytes per second.
	Rate int64
	// Connections is how many responses may be under way at a time.
	Connections int
	// Bytes is how many all who use the link may have together. It needs an ID.
	Bytes int64
	// ID is the name of the link. Without a User responses are counted by it.
	ID string
	// FileName is the name under which clients save the file.
	FileName string
}

// Key signs links, and verifies them.
type Key struct {
	ID     string
	Secret []byte // at least 16 bytes
}

// Sign returns the value of the parameter.
func (k *Key) Sign(p *Policy) (string, error) {
	if err := errors.Join(k.check(), p.check()); err != nil {
		return "", err
	}
	fields := []string{"k=" + escape(k.ID), "p=" + escape(p.Path), "e=" + strconv.FormatInt(p.Expires.Unix(), 10)}
	add := func(name, value string) {
		if value != "" {
			fields = append(fields, name+"="+escape(value))
		}
	}
	if !p.NotBefore.IsZero() {
		add("n", strconv.FormatInt(p.NotBefore.Unix(), 10))
	}
	add("h", p.Host)
	networks := make([]string, len(p.Networks))
	for i, n := range p.Networks {
		networks[i] = n.String()
	}
	add("a", strings.Join(networks, ","))
	add("u", p.User)
	add("t", p.Tier)
	if p.Rate > 0 {
		add("r", strconv.FormatInt(p.Rate, 10))
	}
	if p.Connections > 0 {
		add("c", strconv.Itoa(p.Connections))
	}
	if p.Bytes > 0 {
		add("q", strconv.FormatInt(p.Bytes, 10))
	}
	add("i", p.ID)
	add("f", p.FileName)
	policy := strings.Join(fields, ";")
	if len(policy) > maxPolicy {
		return "", fmt.Errorf("a link says %d bytes, at most %d", len(policy), maxPolicy)
	}
	text := encoding.EncodeToString([]byte(policy))
	m := hmac.New(sha256.New, k.Secret)
	m.Write([]byte(signed + text))
	return text + "." + encoding.EncodeToString(m.Sum(nil)), nil
}

// check reports what no request could agree with.
func (p *Policy) check() error {
	switch {
	case !strings.HasPrefix(p.Path, "/") || slices.ContainsFunc(strings.Split(strings.TrimSuffix(p.Path[1:], "/"), "/"), func(s string) bool {
		return s == "" && p.Path != "/" || s == "." || s == ".."
	}):
		return fmt.Errorf("the path %q of a link: it begins with / and has no empty, . and .. segments, as requests have it when they are decoded", p.Path)
	case p.Expires.IsZero():
		return errors.New("a link needs a time when it expires")
	case p.Bytes > 0 && p.ID == "":
		return errors.New("a link that is good for so many bytes needs an id, by which they are counted")
	case p.Rate < 0 || p.Connections < 0 || p.Bytes < 0:
		return errors.New("a limit of a link is negative")
	case strings.Contains(p.Host, ":") && !strings.HasSuffix(p.Host, "]"):
		return fmt.Errorf("the host %q of a link has no port", p.Host)
	}
	return nil
}

func (k *Key) check() error {
	if k.ID == "" || len(k.Secret) < leastSecret {
		return fmt.Errorf("the key %q of links: it needs a name, and a secret of at least %d bytes", k.ID, leastSecret)
	}
	return nil
}

// escape encodes what would end a value, or a line of a log.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c == ';' || c == '%' || c < ' ' || c == 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Keys verify links. They are not changed, and safe for concurrent use.
type Keys struct {
	signers  []*signer
	lifetime time.Duration // 0: no bound
}

// signer verifies by one key.
type signer struct {
	id   string
	free sync.Pool // of *state
}

// state is the memory of one verification.
type state struct {
	mac  hash.Hash
	sum  [sha256.Size]byte
	sent [sha256.Size]byte
}

// NewKeys returns keys of which none has the name of another. Links that expire later than in
// lifetime are refused; 0: there is no bound.
func NewKeys(keys []Key, lifetime time.Duration) (*Keys, error) {
	out := &Keys{lifetime: lifetime}
	if len(keys) == 0 || len(keys) > maxKeys {
		return nil, fmt.Errorf("%d keys of links: from 1 to %d are needed", len(keys), maxKeys)
	}
	for i := range keys {
		k := &keys[i]
		if err := k.check(); err != nil {
			return nil, err
		}
		if out.find([]byte(k.ID)) != nil {
			return nil, fmt.Errorf("two keys of links with the name %q", k.ID)
		}
		secret := slices.Clone(k.Secret)
		s := &signer{id: k.ID}
		s.free.New = func() any { return &state{mac: hmac.New(sha256.New, secret)} }
		out.signers = append(out.signers, s)
	}
	return out, nil
}

func (k *Keys) find(id []byte) *signer {
	for _, s := range k.signers {
		if s.id == string(id) {
			return s
		}
	}
	return nil
}
