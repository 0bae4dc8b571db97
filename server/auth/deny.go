package auth

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/fserve/fserve/internal/sys"
)

// Denial takes back what a proof says before it ends by itself.
type Denial struct {
	// Kind is user, jti (of a token) or link (its id), and Name which one.
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Until is when it ends, in Unix seconds: when the proof does.
	Until int64 `json:"until"`
}

const (
	// maxDenials bounds those that are known at a time: each change copies them.
	maxDenials = 10_000
	// keptAfter is how long one is known after its time, in seconds: tokens have a leeway, and clocks are set.
	keptAfter = 2 * 24 * 60 * 60
)

// denials are looked at by loops without a lock.
type denials struct {
	now atomic.Pointer[map[denied]int64] // until when; nil: there are none

	mu   sync.Mutex
	path string // where they are kept; empty: nowhere
}

// denied is whom a Denial is about.
type denied struct{ kind, name string }

// denies reports whether somebody is denied at now.
func (d *denials) denies(kind string, name []byte, now int64) bool {
	m := d.now.Load()
	if m == nil || len(name) == 0 {
		return false
	}
	return (*m)[denied{kind, string(name)}] > now
}

// keep reads what is kept in a file, and keeps there what comes.
func (d *denials) keep(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if path == "" || path == d.path {
		return nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		d.path = path
		return nil
	}
	var list []Denial
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil { // whoever tries again is told again: nobody is let in by a file that cannot be read
		return fmt.Errorf("what is denied: %w", err)
	}
	m := d.copied()
	for _, e := range list {
		m[denied{e.Kind, e.Name}] = e.Until
	}
	d.path = path
	d.now.Store(&m)
	return nil
}

func (d *denials) copied() map[denied]int64 {
	m := make(map[denied]int64)
	if old := d.now.Load(); old != nil {
		maps.Copy(m, *old)
	}
	return m
}

// set denies somebody, or does not any more if Until is not after now.
func (d *denials) set(e Denial, now int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.copied()
	maps.DeleteFunc(m, func(_ denied, until int64) bool { return until <= now-keptAfter })
	if m[denied{e.Kind, e.Name}] = e.Until; e.Until <= now {
		delete(m, denied{e.Kind, e.Name})
	}
	if len(m) > maxDenials {
		return fmt.Errorf("%d are denied, and no more can be", maxDenials)
	}
	d.now.Store(&m) // it counts, also if it cannot be kept
	return d.write(listDenials(m))
}

// learn denies whom another process has denied, too, as long as that or this one does.
func (d *denials) learn(list []Denial) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.copied()
	news := false
	for _, e := range list {
		if who := (denied{e.Kind, e.Name}); e.Until > m[who] {
			m[who], news = e.Until, true
		}
	}
	if !news {
		return nil
	}
	d.now.Store(&m)
	return d.write(listDenials(m))
}

// write puts the list into its file, whole.
func (d *denials) write(list []Denial) error {
	if d.path == "" {
		return nil
	}
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(d.path), 0o700); err != nil {
		return err
	}
	return sys.ReplaceFile(d.path, text)
}

func listDenials(m map[denied]int64) []Denial {
	list := make([]Denial, 0, len(m))
	for who, until := range m {
		list = append(list, Denial{who.kind, who.name, until})
	}
	slices.SortFunc(list, func(a, b Denial) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) })
	return list
}

// DenialKinds are those that a Denial may have.
var DenialKinds = []string{"user", "jti", "link"}

// Deny denies somebody from the next request on, or does not any more if Until is not after now, in Unix
// seconds. After an error it counts, if it has not named a bound, but not after the process.
func (m *Methods) Deny(d Denial, now int64) error { return m.opened.denials.set(d, now) }

// Learn denies whom another process has denied, too: the one that this takes the place of may have been told after this one
// has read the file. After an error it counts all the same.
func (m *Methods) Learn(list []Denial) error { return m.opened.denials.learn(list) }

// Denials returns whom Deny has denied, those whose time is over included.
func (m *Methods) Denials() []Denial {
	if now := m.opened.denials.now.Load(); now != nil {
		return listDenials(*now)
	}
	return []Denial{}
}

// denied reports whether what a caller has proved was taken back. A denial counts as long as the token, for
// which the leeway of its issuer does.
func (m *Methods) denied(c *Caller, now int64) bool {
	d := &m.opened.denials
	now -= c.leeway
	return d.now.Load() != nil && (d.denies("user", c.User, now) || d.denies("jti", c.tokenID, now) || d.denies("link", c.LinkID, now))
}
