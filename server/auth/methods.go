package auth

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/link"
	"github.com/fserve/fserve/server/quota"
)

// Config says how requests prove who asks, beside passwords.
type Config struct {
	Links Links
	// Keys is a file of API keys, see OpenKeys; empty: there are none.
	Keys string
	// Issuers are those whose tokens are believed, by their names (the claim iss).
	Issuers map[string]Issuer
	// Tiers are kinds of users by name, and Tier is that of who is in none; empty: none is.
	Tiers map[string]Tier
	Tier  string
	// DenialsFile is where Deny keeps whom it denies. Empty: nowhere.
	DenialsFile string
}

// Links are the keys of signed links, see package link.
type Links struct {
	// Keys are files with secrets, by the names of the keys. White space around a secret does not
	// count.
	Keys map[string]string
	// Param is the parameter of a query that has a link. Default: fs.
	Param string
	// Cookie is the name of a cookie that has a link, where the query of a GET or HEAD has none. Empty: none
	// is looked at.
	Cookie string
	// MaxLifetime bounds how long a link may still be good. 0: no bound.
	MaxLifetime time.Duration
}

// Ways are those in which a request may prove who asks.
type Ways uint8

const (
	ByLink  Ways = 1 << iota // by a signed link
	ByKey                    // by an API key, in X-API-Key or Authorization: Bearer
	ByToken                  // by a token (JWT), in Authorization: Bearer
)

func (w Ways) String() string {
	var names []string
	for i, name := range []string{"link", "key", "jwt"} {
		if w&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// Methods are what a Config says, with its keys. They are safe for concurrent use.
type Methods struct {
	links  *link.Keys // nil: there are none
	param  string
	cookie string   // empty: none is looked at
	keys   *KeyFile // nil: there are none
	tokens *tokens  // nil: there are none
	tiers  *tiers   // nil: there are none
	opened *Opener
}

// Opener makes Methods for one Config after another, and remembers what they share: files, sets of
// keys, and what was found about tokens. The zero value is ready. One goroutine at a time may Open.
type Opener struct {
	Log     *slog.Logger // nil: slog.Default
	checker Checker
	stats   Stats
	keys    *KeyFile
	sources map[string]*source
	tokens  *tokens
	denials denials
	issuers map[string]Issuer // of tokens

	responses map[string]*atomic.Uint64 // by tier
}

// Fault is what is wrong with a value of a Config.
type Fault struct {
	Key string // links.keys[NAME]
	Err error
}

// Open reads the keys of a Config.
func (o *Opener) Open(c *Config) (*Methods, []Fault) {
	m := &Methods{param: cmp.Or(c.Links.Param, "fs"), cookie: c.Links.Cookie, opened: o}
	faults := slices.Concat(m.openLinks(c), m.openKeys(c), m.openTokens(c), m.openTiers(c))
	if err := o.denials.keep(c.DenialsFile); err != nil {
		faults = append(faults, Fault{"denials", err})
	}
	if len(faults) == 0 {
		o.keys, o.tokens, o.issuers = m.keys, m.tokens, c.Issuers
	}
	return m, faults
}

// openKeys opens the file of API keys, or looks at it if it is open.
func (m *Methods) openKeys(c *Config) []Fault {
	if c.Keys == "" {
		return nil
	}
	if k := m.opened.keys; k != nil && k.path == c.Keys {
		m.keys = k
		_ = k.Look() // it has logged, and goes on with what there is
		return nil
	}
	var err error
	if m.keys, err = OpenKeys(c.Keys, m.opened.log()); err != nil {
		return []Fault{{"api_keys", err}}
	}
	return nil
}

func (o *Opener) log() *slog.Logger { return cmp.Or(o.Log, slog.Default()) }

// openTokens opens the keys of the issuers. What was found about tokens stays if they are the same.
func (m *Methods) openTokens(c *Config) (faults []Fault) {
	o := m.opened
	if len(c.Issuers) == 0 {
		return nil
	}
	t := &tokens{issuers: make(map[string]*issuer), stats: &o.stats}
	if o.sources == nil {
		o.sources = make(map[string]*source)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Issuers)) {
		i := c.Issuers[name]
		var err error
		if t.issuers[name], err = i.open(name, o.sources, o.log(), time.Now); err != nil {
			faults = append(faults, Fault{"jwt[" + name + "]", err})
		}
	}
	if m.tokens = t; o.tokens != nil && reflect.DeepEqual(c.Issuers, o.issuers) && len(faults) == 0 && t.sameSecrets(o.tokens) {
		m.tokens = o.tokens
		return nil
	}
	t.cache = newCache()
	return faults
}

// sameSecrets reports whether the issuers of v have the same secrets in other.
func (v *tokens) sameSecrets(other *tokens) bool {
	for name, i := range v.issuers {
		if !bytes.Equal(i.secret, other.issuers[name].secret) {
			return false
		}
	}
	return true
}

// openLinks reads the keys of signed links.
func (m *Methods) openLinks(c *Config) (faults []Fault) {
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
	return faults
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
	if m.keys == nil {
		without |= w & ByKey
	}
	if m.tokens == nil {
		without |= w & ByToken
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
type Asked struct {
	link.Visit
	// Authorization and Key are the values of the fields Authorization and X-API-Key; nil: the
	// request has none.
	Authorization, Key []byte
	Cookie             []byte // of the field Cookie, of a GET or HEAD
	Twice              bool   // one of these is there twice
	Mono               int64  // monotonic ns, by the clock of event loops
}

func (a *Asked) at() instant { return instant{a.Now, a.Mono} }

// Caller is who asks. It is used again by Identify; what it says is valid until then.
type Caller struct {
	// User is whom responses are counted by; nil: the address.
	User []byte
	// FileName is the name under which clients save the file; nil: its own.
	FileName []byte
	// Rate is in bytes per second, and Connections how many responses may be under way, as far as
	// proofs say so; 0: they do not. Connections is that of the tier, too.
	Rate        int64
	Connections int
	// Quota is how many bytes the user may have, and LinkBytes how many all who use the link have together
	// until LinkEnds, in Unix seconds; zero: there is no bound.
	Quota     quota.Limit
	LinkID    []byte
	LinkBytes int64
	LinkEnds  int64

	said  [2][]byte // names of tiers
	tier  *tier     // nil: none
	limit shape.Limit
	link  link.Link

	tokenID []byte // jti; nil: there is no token, or it has none
	leeway  int64  // of its issuer, in seconds
}

// Clone returns a copy that is valid for ever.
func (c *Caller) Clone() *Caller {
	return &Caller{User: bytes.Clone(c.User), FileName: bytes.Clone(c.FileName), Rate: c.Rate, Connections: c.Connections,
		Quota: c.Quota, LinkID: bytes.Clone(c.LinkID), LinkBytes: c.LinkBytes, LinkEnds: c.LinkEnds, tier: c.tier, limit: c.limit}
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
		m.place(c, a)
		return admit.Passed
	}
	some := false
	for _, by := range [...]struct {
		way Ways
		ask func(*Methods, *Caller, Ways, *Asked) admit.Judgement
	}{{ByLink, (*Methods).byLink}, {ByKey, (*Methods).byKey}, {ByToken, (*Methods).byToken}} {
		if w.Ways&by.way == 0 {
			continue
		}
		switch j := by.ask(m, c, w.Ways, a); j {
		case admit.Passed:
			some = true
		case admit.NoCredential:
		default:
			return j
		}
	}
	if !some {
		return admit.NoCredential
	}
	if m.denied(c, a.Now) {
		return admit.Denied
	}
	m.place(c, a)
	return admit.Passed
}

func (m *Methods) byLink(c *Caller, _ Ways, a *Asked) admit.Judgement {
	l := &c.link
	j := admit.NoCredential
	switch value, n := link.Find(a.Query, m.param); {
	case n == 1:
		j = ofLink(m.links.Verify(l, value, &a.Request))
	case n > 1:
		j = admit.Repeated
	case m.cookie != "":
		j = m.byCookie(l, a)
	}
	if j != admit.Passed {
		return j
	}
	user := l.User
	if user == nil {
		user = l.ID
	}
	c.add(user, l.Rate, l.Connections)
	c.FileName, c.said[1] = l.FileName, l.Tier
	c.LinkID, c.LinkBytes, c.LinkEnds = l.ID, l.Bytes, l.Expires
	return admit.Passed
}

// byCookie looks for a cookie with a link that is good here. There may be others: links for what is around
// it, or what a neighbour in the domain has set.
func (m *Methods) byCookie(l *link.Link, a *Asked) admit.Judgement {
	first := admit.NoCredential
	for value := range link.Cookies(a.Cookie, m.cookie) {
		j := ofLink(m.links.Verify(l, value, &a.Request))
		if j == admit.Passed {
			return j
		}
		if first == admit.NoCredential {
			first = j
		}
	}
	return first
}

// byKey takes a key from the field for it, or else a bearer that is for no token.
func (m *Methods) byKey(c *Caller, ways Ways, a *Asked) admit.Judgement {
	key := a.Key
	if key == nil {
		if key = bearer(a.Authorization); ways&ByToken != 0 && isToken(key) {
			key = nil
		}
	}
	switch {
	case a.Twice:
		return admit.Repeated
	case key == nil:
		return admit.NoCredential
	}
	id := m.keys.at(a.Mono).find(key, a.Now)
	if id == nil {
		return admit.BadKey
	}
	c.is(id)
	return admit.Passed
}

func (m *Methods) byToken(c *Caller, ways Ways, a *Asked) admit.Judgement {
	token := bearer(a.Authorization)
	switch {
	case a.Twice:
		return admit.Repeated
	case token == nil, !isToken(token) && a.Key == nil && ways&ByKey != 0: // it is a key
		return admit.NoCredential
	case len(token) > maxToken, !isToken(token):
		return admit.BadToken
	}
	f := m.tokens.cache.find(sha256.Sum256(token), a.at())
	switch {
	case f == nil:
		return admit.Unproven
	case f.expired:
		return admit.ExpiredToken
	case f.id == nil:
		return admit.BadToken
	}
	c.is(f.id)
	c.leeway = int64(f.issuer.Leeway / time.Second)
	return admit.Passed
}

// is adds what an identity says.
func (c *Caller) is(id *Identity) {
	c.add(id.User, id.Rate, id.Connections)
	c.Quota = c.Quota.Lower(id.Quota)
	c.said[0], c.tokenID = id.Tier, id.ID
}

// add adds what a proof says: of two users the later counts, of two limits the lower.
func (c *Caller) add(user []byte, rate int64, connections int) {
	if user != nil {
		c.User = user
	}
	if rate > 0 && (c.Rate == 0 || rate < c.Rate) {
		c.Rate = rate
	}
	if connections > 0 && (c.Connections == 0 || connections < c.Connections) {
		c.Connections = connections
	}
}

// Verify finds out about the token of a request for which Identify says Unproven. done is called
// once, on another goroutine or before Verify returns; then Identify knows more.
func (m *Methods) Verify(a *Asked, done func(Result)) {
	token := string(bearer(a.Authorization))
	p := Proof(sha256.Sum256([]byte(token)))
	at := a.at()
	m.opened.checker.do(p, a.Client, func() Result { return m.tokens.verify(token, p, at) }, done)
}

func ofLink(v link.Verdict) admit.Judgement {
	return [...]admit.Judgement{link.Good: admit.Passed, link.Expired: admit.ExpiredLink, link.Bad: admit.BadLink}[v]
}

// Token returns what of a query is a secret; nil: nothing. If there are two it is all from the first on.
func (m *Methods) Token(query []byte) []byte {
	value, n := link.Find(query, m.param)
	if n > 1 {
		_, value, _ = bytes.Cut(query, []byte(m.param+"="))
	}
	return value
}

// VerifiesTokens reports whether there are issuers.
func (m *Methods) VerifiesTokens() bool { return m != nil && m.tokens != nil }

// Verified returns how many tokens were verified since the start, apart from those that were known:
// good ones, bad ones, and those for which there were no keys.
func (m *Methods) Verified() (good, bad, unknown uint64) {
	s := &m.opened.stats
	return s.Good.Load(), s.Bad.Load(), s.Unknown.Load()
}

// Sources returns the issuers whose keys are fetched, with the time of the last good fetch (zero:
// there was none) and how many have failed.
func (m *Methods) Sources() iter.Seq2[string, Source] {
	return func(yield func(string, Source) bool) {
		for name, i := range m.tokens.issuers {
			if i.source == nil || i.source.file != nil {
				continue
			}
			s := Source{Failures: i.source.failures.Load()}
			if at := i.source.fetched.Load(); at != 0 {
				s.Fetched = time.Unix(at, 0)
			}
			if !yield(name, s) {
				return
			}
		}
	}
}

// Source is the state of what keys are fetched from.
type Source struct {
	Fetched  time.Time
	Failures uint64
}
