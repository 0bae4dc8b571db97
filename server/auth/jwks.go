package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
)

const (
	// pollEvery is how old a set of keys may be before it is fetched anew, while tokens come.
	pollEvery = 15 * time.Minute
	// forceEvery is how often a key that is not known may have the set fetched anew.
	forceEvery = 30 * time.Second
	// fetchTimeout bounds a fetch, and fetchPatience how long a token waits for one.
	fetchTimeout  = 10 * time.Second
	fetchPatience = 2 * time.Second
	// maxKeySet bounds a set, in bytes.
	maxKeySet = 1 << 20
	// leastRSA is the size that an RSA key has at least, in bits (RFC 7518 section 3.3).
	leastRSA = 2048
)

// keySet are the public keys of an issuer by their kid. It is not changed.
type keySet struct {
	keys map[string]any
	algs map[string]string // for which a key is, if it says so
}

// parseKeySet reads a JWKS (RFC 7517). Keys that are not for signatures, or that are secrets, are left
// out.
func parseKeySet(content []byte) (*keySet, error) {
	var sent jwkset.JWKSMarshal
	if err := json.Unmarshal(content, &sent); err != nil {
		return nil, fmt.Errorf("not a JWKS: %w", err)
	}
	s := &keySet{make(map[string]any), make(map[string]string)}
	for _, m := range sent.Keys {
		if m.USE != "" && m.USE != jwkset.UseSig || m.KTY == jwkset.KtyOct {
			continue
		}
		m.X5C, m.X5U, m.X5T, m.X5TS256 = nil, "", "", "" // nobody is asked about certificates
		k, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil {
			continue // of a kind that is not known
		}
		switch key := k.Key().(type) {
		case *rsa.PublicKey:
			if key.N.BitLen() < leastRSA {
				continue
			}
		case *ecdsa.PublicKey, ed25519.PublicKey:
		default:
			continue
		}
		if _, twice := s.keys[m.KID]; twice {
			return nil, fmt.Errorf("two keys with the kid %q", m.KID)
		}
		s.keys[m.KID], s.algs[m.KID] = k.Key(), m.ALG.String()
	}
	if len(s.keys) == 0 {
		return nil, errors.New("a JWKS without a public key for signatures")
	}
	return s, nil
}

// find returns the key of a kid, or without one the only key that there is.
func (s *keySet) find(kid string) (key any, alg string) {
	if kid == "" && len(s.keys) == 1 {
		for k := range s.keys {
			kid = k
		}
	}
	return s.keys[kid], s.algs[kid]
}

// instant is a time by two clocks.
type instant struct {
	unix int64 // seconds
	mono int64 // monotonic ns, of event loops
}

// source has the keys of an issuer: those of a file, or of a URL, which is asked while tokens come. The
// last good ones stay while it cannot be reached. It is safe for concurrent use.
type source struct {
	from  string
	file  *watched[keySet] // nil: it is a URL
	log   *slog.Logger
	http  *http.Client
	epoch atomic.Uint64 // changes when a key is gone or another one

	set      atomic.Pointer[keySet] // of a URL; nil: there was none yet
	failures atomic.Uint64
	fetched  atomic.Int64 // Unix seconds, when it was good
	due      atomic.Int64 // Unix seconds, when it is to be fetched anew; 0: it was not

	mu      sync.Mutex
	running chan struct{} // closed when the fetch that is under way has ended; nil: none is
	polled  time.Time     // when the last one began
	fault   string        // of the last fetch; each is logged once
}

// openSource returns the source of a file, or of a URL with https or to this machine.
func openSource(from string, log *slog.Logger) (*source, error) {
	s := &source{from: from, log: log}
	if !strings.Contains(from, "://") {
		s.file = &watched[keySet]{path: from, what: "JWKS", log: log, parse: parseKeySet, changed: s.changed}
		_, err := s.file.read()
		return s, err
	}
	u, err := url.Parse(from)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return nil, fmt.Errorf("%s: neither a file nor https://HOST/PATH", from)
	}
	s.http = &http.Client{Timeout: fetchTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// key returns the key of a kid. known is false if there are no keys at all. It may wait for a
// fetch, and is not for event loops.
func (s *source) key(kid string, t instant) (key any, alg string, known bool) {
	s.look(t)
	if s.file != nil {
		key, alg = s.file.good.Load().find(kid)
		return key, alg, true
	}
	set := s.set.Load()
	if set != nil {
		if key, alg = set.find(kid); key != nil {
			return key, alg, true
		}
	}
	if done := s.fetch(time.Unix(t.unix, 0), forceEvery); done != nil {
		select {
		case <-done:
		case <-time.After(fetchPatience):
		}
	}
	if set = s.set.Load(); set == nil {
		return nil, "", false
	}
	key, alg = set.find(kid)
	return key, alg, true
}

// look sees to it that the keys are not too old. It waits for nothing.
func (s *source) look(t instant) {
	switch due := s.due.Load(); {
	case s.file != nil:
		s.file.at(t.mono)
	case (t.unix >= due || due-t.unix > int64(pollEvery/time.Second)) && s.due.CompareAndSwap(due, t.unix+int64(pollEvery/time.Second)) && due != 0: // the first token waits for its keys
		go s.fetch(time.Unix(t.unix, 0), pollEvery)
	}
}

// fetch begins a fetch unless the last one is younger, and returns what is closed when the one that
// is under way ends; nil: none is.
func (s *source) fetch(now time.Time, every time.Duration) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil && (s.polled.IsZero() || now.Sub(s.polled).Abs() >= every) { // a clock may have been set back
		s.polled, s.running = now, make(chan struct{})
		go s.run(now)
	}
	return s.running
}

func (s *source) run(now time.Time) {
	set, err := s.get()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch old := s.set.Load(); {
	case err == nil:
		s.set.Store(set)
		s.changed(old, set)
		s.fetched.Store(now.Unix())
		if s.fault != "" || old == nil {
			s.log.Info("JWKS fetched", "from", s.from, "keys", len(set.keys))
		}
		s.fault = ""
	default:
		s.failures.Add(1)
		if text := err.Error(); text != s.fault {
			s.fault = text
			s.log.Error("JWKS not fetched: going on with the last good one", "from", s.from, "err", err)
		}
	}
	close(s.running)
	s.running = nil
}

// changed has what was verified with the keys of old, nil if there were none, verified again if one
// of them is gone.
func (s *source) changed(old, next *keySet) {
	if old == nil {
		return
	}
	for kid, key := range old.keys {
		if !reflect.DeepEqual(key, next.keys[kid]) || old.algs[kid] != next.algs[kid] {
			s.epoch.Add(1)
			return
		}
	}
}

func (s *source) get() (*keySet, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.from, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", s.from, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySet+1))
	if err == nil && len(b) > maxKeySet {
		err = fmt.Errorf("%s: more than %d bytes", s.from, maxKeySet)
	}
	if err != nil {
		return nil, err
	}
	return parseKeySet(b)
}

// FetchKeys fetches the keys of all issuers anew, which have URLs, and waits for that for a while.
func (m *Methods) FetchKeys() {
	if m.tokens == nil {
		return
	}
	for _, i := range m.tokens.issuers {
		if i.source == nil || i.source.file != nil {
			continue
		}
		if done := i.source.fetch(time.Now(), 0); done != nil {
			select {
			case <-done:
			case <-time.After(fetchPatience):
			}
		}
	}
}
