package auth

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/link"
)

// Config says how requests prove who asks, beside passwords.
type Config struct{ Links Links }

// Links are the keys of signed links, see package link.
type Links struct {
	// Keys are files with secrets, by the names of the keys. White space around a secret does not
	// count.
	Keys map[string]string
	// Param is the parameter of a query that has a link. Default: fs.
	Param string
	// MaxLifetime bounds how long a link may still be good. 0: no bound.
	MaxLifetime time.Duration
}

// Ways are those in which a request may prove who asks.
type Ways uint8

// ByLink is by a signed link.
const ByLink Ways = 1 << iota

func (w Ways) String() string {
	var names []string
	for i, name := range []string{"link"} {
		if w&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// Methods are what a Config says, with its keys. They are safe for concurrent use.
type Methods struct {
	links *link.Keys // nil: there are none
	param string
}

// Fault is what is wrong with a value of a Config.
type Fault struct {
	Key string // links.keys[NAME]
	Err error
}

// NewMethods reads the keys of a Config.
func NewMethods(c *Config) (*Methods, []Fault) {
	m := &Methods{param: cmp.Or(c.Links.Param, "fs")}
	var faults []Fault
	var keys []link.Key
	for _, id := range slices.Sorted(maps.Keys(c.Links.Keys)) {
		secret, err := readSecret(c.Links.Keys[id])
		if err == nil {
			_, err = link.NewKeys([]link.Key{{ID: id, Secret: secret}}, 0)
		}
		if err != nil {
			faults = append(faults, Fault{"links.keys[" + id + "]", err})
		}
		keys = append(keys, link.Key{ID: id, Secret: secret})
	}
	if len(keys) > 0 && len(faults) == 0 {
		var err error
		if m.links, err = link.NewKeys(keys, c.Links.MaxLifetime); err != nil {
			faults = append(faults, Fault{"links.keys", err})
		}
	}
	return m, faults
}

// maxSecret bounds a file with a secret, in bytes.
const maxSecret = 4 << 10

// readSecret reads a file without the white space around what it has.
func readSecret(path string) ([]byte, error) {
	file, _, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	if len(b) > maxSecret {
		err = fmt.Errorf("%s: more than %d bytes", path, maxSecret)
	}
	return bytes.TrimSpace(b), err
}

// openRegular opens a file that is a regular one. A FIFO would wait for its writer.
func openRegular(path string) (*os.File, os.FileInfo, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", path)
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, info, nil
}

// Lacks returns those of the ways for which nothing is configured.
func (m *Methods) Lacks(w Ways) (without Ways) {
	if m.links == nil {
		without |= w & ByLink
	}
	return without
}

// Wants is what a place asks for.
type Wants struct {
	Ways Ways      // any of them; 0: none is asked for
	MD5  *link.MD5 // nil: none is asked for
}

// Any reports whether anything is asked for.
func (w *Wants) Any() bool { return w.Ways != 0 || w.MD5 != nil }

// Asked is a request, as far as it may say who asks.
type Asked struct{ link.Visit }

// Caller is who asks. It is used again by Identify; what it says is valid until then.
type Caller struct {
	// User is whom responses are counted by; nil: the address.
	User []byte
	// FileName is the name under which clients save the file; nil: its own.
	FileName []byte
	// Rate is in bytes per second; 0: there is no limit.
	Rate int64

	link link.Link
}

// Clone returns a copy that is valid for ever.
func (c *Caller) Clone() *Caller {
	return &Caller{User: bytes.Clone(c.User), FileName: bytes.Clone(c.FileName), Rate: c.Rate}
}

// Identify finds out who asks for what wants something: Passed, or what the request is refused by.
func (m *Methods) Identify(c *Caller, w *Wants, a *Asked) admit.Judgement {
	*c = Caller{link: c.link}
	if w.MD5 != nil {
		if j := ofLink(w.MD5.Verify(&a.Visit)); j != admit.Passed {
			return j
		}
	}
	if w.Ways == 0 {
		return admit.Passed
	}
	value, n := link.Find(a.Query, m.param)
	switch {
	case w.Ways&ByLink == 0 || n == 0:
		return admit.NoCredential
	case n > 1:
		return admit.Repeated
	}
	l := &c.link
	j := ofLink(m.links.Verify(l, value, &a.Request))
	if j != admit.Passed {
		return j
	}
	c.User, c.FileName, c.Rate = l.User, l.FileName, l.Rate
	if c.User == nil {
		c.User = l.ID
	}
	return admit.Passed
}

func ofLink(v link.Verdict) admit.Judgement {
	return [...]admit.Judgement{link.Good: admit.Passed, link.Expired: admit.ExpiredLink, link.Bad: admit.BadLink}[v]
}

// Token returns what of a query is a secret; nil: nothing.
func (m *Methods) Token(query []byte) []byte {
	value, _ := link.Find(query, m.param)
	return value
}
