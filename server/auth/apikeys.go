package auth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fserve/fserve/server/quota"
)

const (
	// maxKeys bounds the keys of a file.
	maxKeys = 1_000_000
	// maxKeyLen bounds a key that a request has, in bytes.
	maxKeyLen = 256
)

// APIKeys are the keys of one version of a file, by their hashes. They are not changed. A hash
// without a salt is enough for what nobody can guess.
type APIKeys struct {
	byHash map[[sha256.Size]byte]*Identity
}

// Identity is who a key or a token stands for. It is not changed.
type Identity struct {
	User        []byte
	Tier        []byte // nil: none is said
	Rate        int64  // bytes per second; 0: none is said
	Connections int    // 0: none is said
	Quota       quota.Limit
	ID          []byte // of a token: jti
	Expires     int64  // Unix seconds; 0: never
}

// parseKeys reads lines of NAME SHA256 [tier=TIER] [expires=DATE]. Empty lines and those that begin
// with # are passed over.
func parseKeys(content []byte) (*APIKeys, error) {
	k := &APIKeys{byHash: make(map[[sha256.Size]byte]*Identity)}
	var faults []error
	n := 0
	for line := range bytes.Lines(content) {
		n++
		words := strings.Fields(string(line))
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if len(k.byHash) == maxKeys {
			return nil, fmt.Errorf("line %d: more than %d keys", n, maxKeys)
		}
		if err := k.add(words); err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", n, err))
		}
	}
	return k, errors.Join(faults...)
}

func (k *APIKeys) add(words []string) error {
	var hash [sha256.Size]byte
	if len(words) < 2 || len(words[1]) != hex.EncodedLen(len(hash)) {
		return errors.New("not NAME SHA256, with 64 hexadecimal digits of the hash of a key")
	}
	if _, err := hex.Decode(hash[:], []byte(words[1])); err != nil {
		return errors.New("not NAME SHA256, with 64 hexadecimal digits of the hash of a key")
	}
	if hash == sha256.Sum256(nil) {
		return errors.New("the hash of an empty key: was the variable empty?")
	}
	id := &Identity{User: []byte(words[0])}
	if other := k.byHash[hash]; other != nil {
		return fmt.Errorf("the key of %s is that of %s already", id.User, other.User)
	}
	for _, w := range words[2:] {
		switch name, value, _ := strings.Cut(w, "="); {
		case name == "tier" && value != "":
			id.Tier = []byte(value)
		case name == "expires":
			t, err := time.Parse(time.RFC3339, value)
			if err != nil {
				t, err = time.Parse(time.DateOnly, value)
			}
			if err != nil {
				return fmt.Errorf("expires=%s: not a date like 2027-01-31 or 2027-01-31T12:00:00Z", value)
			}
			id.Expires = t.Unix()
		default:
			return fmt.Errorf("%q is neither tier=TIER nor expires=DATE", name)
		}
	}
	k.byHash[hash] = id
	return nil
}

// find returns who a key stands for at now, in Unix seconds; nil: nobody.
func (k *APIKeys) find(key []byte, now int64) *Identity {
	if len(key) > maxKeyLen {
		return nil
	}
	id := k.byHash[sha256.Sum256(key)]
	if id == nil || id.Expires != 0 && id.Expires <= now {
		return nil
	}
	return id
}
