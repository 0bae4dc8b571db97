// Package auth checks passwords of Basic authentication (RFC 7617): who the users are (a file
// with bcrypt hashes, which is read anew when it changes), whether a password is right (off the
// event loops, a bounded number at a time), and what was found before.
package auth

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/bcrypt"
)

const (
	// maxCost bounds the cost of a hash: each step doubles the time, of some 60 ms at 10.
	maxCost = 15
	// maxUsers bounds the users of a file.
	maxUsers = 100_000
)

// Users are those of one version of a file. They are not changed.
type Users struct {
	hashes  map[string][]byte
	nobody  []byte // a hash of the highest cost that there is: who is not known takes as long
	version uint64 // of all that there were
}

// versions counts Users.
var versions atomic.Uint64

// parse reads lines of USER:HASH, as htpasswd -B writes them. Empty lines and those that begin
// with # are passed over.
func parse(content []byte) (*Users, error) {
	u := &Users{hashes: make(map[string][]byte), version: versions.Add(1)}
	costliest, n := bcrypt.MinCost, 0
	var faults []error
	for line := range bytes.Lines(content) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		name, hash, ok := strings.Cut(string(line), ":")
		cost, err := checkHash(hash)
		switch {
		case !ok || name == "":
			err = errors.New("not USER:HASH")
		case u.hashes[name] != nil:
			err = fmt.Errorf("user %q is there already", name)
		case len(u.hashes) == maxUsers:
			return nil, fmt.Errorf("line %d: more than %d users", n, maxUsers)
		case err == nil:
			u.hashes[name] = []byte(hash)
			costliest = max(costliest, cost)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", n, err))
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	var err error
	u.nobody, err = hashOf(costliest)
	return u, err
}

// hashOf returns the hash of no password in particular.
func hashOf(cost int) ([]byte, error) {
	// The salt and the digest do not count for how long a check takes.
	h := fmt.Appendf(nil, "$2y$%02d$%s", cost, strings.Repeat(".", 22+31))
	_, err := bcrypt.Cost(h)
	return h, err
}

// checkHash returns the cost of a hash.
func checkHash(hash string) (cost int, err error) {
	for prefix, name := range map[string]string{"$apr1$": "MD5", "$1$": "MD5", "{SHA}": "SHA-1", "{SSHA}": "SHA-1", "{PLAIN}": "not hashed",
		"$5$": "SHA-256 of crypt", "$6$": "SHA-512 of crypt", "$argon2": "Argon2"} {
		if strings.HasPrefix(hash, prefix) {
			return 0, fmt.Errorf("a password that is %s: bcrypt is needed, which htpasswd -B makes", name)
		}
	}
	cost, err = bcrypt.Cost([]byte(hash))
	if err != nil || len(hash) != bcryptLen {
		return 0, errors.New("not a bcrypt hash, which htpasswd -B makes")
	}
	if cost > maxCost {
		return 0, fmt.Errorf("a bcrypt hash of the cost %d: more than %d takes seconds for each check", cost, maxCost)
	}
	return cost, nil
}

// bcryptLen is the length of a hash, in bytes.
const bcryptLen = 60

// check reports whether a password is that of a user. It takes some 60 ms, also for a user who
// is not there.
func (u *Users) check(user string, password []byte) bool {
	hash, known := u.hashes[user]
	if !known {
		hash = u.nobody
	}
	right := bcrypt.CompareHashAndPassword(hash, password) == nil
	return right && known
}
