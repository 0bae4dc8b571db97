package auth

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fserve/fserve/engine/rate"
	"github.com/fserve/fserve/server/quota"
)

// Issuer is one whose tokens (JWT, RFC 7519) are believed.
type Issuer struct {
	// Audience are the names that this server has for it: a token is for one of them.
	Audience []string
	// Algorithms are those of its keys, as RS256.
	Algorithms []string
	// JWKS is a file or a URL with its public keys, and Secret a file with the secret of HS256,
	// HS384, HS512. One of them is needed.
	JWKS, Secret string
	// Leeway is how wrong clocks may be.
	Leeway time.Duration
	// User, Tier, Rate, Connections and Quota are the names of claims. Default: sub for the User, and
	// none for the others.
	User, Tier, Rate, Connections, Quota string
	// Tiers are the names that tiers have here, by those in the claim; what is not among them has
	// its own name.
	Tiers map[string]string
}

const (
	// maxToken bounds a token, in bytes.
	maxToken = 8 << 10
	// believedFor is how long a token that was verified is not verified again.
	believedFor = 5 * time.Minute
	leastHMAC   = 32 // bytes
)

// algorithms are those that are known, and what kind of key each has.
var algorithms = map[string]string{
	"HS256": "secret", "HS384": "secret", "HS512": "secret", "RS256": "RSA", "RS384": "RSA", "RS512": "RSA", "PS256": "RSA", "PS384": "RSA", "PS512": "RSA",
	"ES256": "ECDSA", "ES384": "ECDSA", "ES512": "ECDSA", "EdDSA": "Ed25519",
}

// Validate reports what is wrong with an issuer by itself.
func (i *Issuer) Validate() error {
	switch {
	case len(i.Audience) == 0 || slices.Contains(i.Audience, ""):
		return errors.New("audience is missing: a token for another server would be good here")
	case len(i.Algorithms) == 0:
		return errors.New("algorithms are missing: RS256, ES256, EdDSA")
	case (i.JWKS == "") == (i.Secret == ""):
		return errors.New("one of jwks and secret is needed")
	case i.Leeway < 0 || i.Leeway > time.Hour:
		return fmt.Errorf("a leeway of %v: from 0s to 1h", i.Leeway)
	}
	for _, alg := range i.Algorithms {
		kind, ok := algorithms[alg]
		if !ok {
			return fmt.Errorf("the algorithm %q is not known: HS256, RS256, PS256, ES256 with 384 and 512, EdDSA", alg)
		}
		if (kind == "secret") != (i.Secret != "") {
			return fmt.Errorf("the algorithm %s does not go with this kind of key", alg)
		}
	}
	return nil
}

// issuer is one that is open.
type issuer struct {
	Issuer
	name   string
	parser *jwt.Parser
	source *source // nil: it has a secret
	secret []byte
}

// tokens verify those of all issuers, and keep what they have found. They are safe for concurrent use.
type tokens struct {
	issuers map[string]*issuer
	cache   cache
	stats   *Stats
}

// Stats count tokens that were verified, apart from those that were known.
type Stats struct{ Good, Bad, Unknown atomic.Uint64 }

var errNoKeys = errors.New("there are no keys of the issuer")

// open opens the keys of an issuer. sources are those that are open already.
func (i *Issuer) open(name string, sources map[string]*source, log *slog.Logger, clock func() time.Time) (*issuer, error) {
	if err := i.Validate(); err != nil {
		return nil, err
	}
	o := &issuer{Issuer: *i, name: name}
	o.User = cmp.Or(o.User, "sub")
	o.parser = jwt.NewParser(jwt.WithValidMethods(i.Algorithms), jwt.WithAudience(i.Audience...), jwt.WithIssuer(name), jwt.WithExpirationRequired(),
		jwt.WithLeeway(i.Leeway), jwt.WithTimeFunc(clock), jwt.WithIssuedAt(), jwt.WithStrictDecoding(), jwt.WithJSONNumber())
	var err error
	if i.Secret != "" {
		if o.secret, err = readSecret(i.Secret); err == nil && len(o.secret) < leastHMAC {
			err = fmt.Errorf("%s: a secret of at least %d bytes is needed", i.Secret, leastHMAC)
		}
		return o, err
	}
	if o.source = sources[i.JWKS]; o.source == nil {
		if o.source, err = openSource(i.JWKS, log); err == nil {
			sources[i.JWKS] = o.source
		}
	}
	return o, err
}

// keyOf returns the key that a token of the issuer is to be verified by: it is named by the kid, and
// goes with the algorithm.
func (i *issuer) keyOf(t *jwt.Token, at instant) (any, error) {
	for _, name := range []string{"crit", "b64"} {
		if t.Header[name] != nil {
			return nil, errors.New("an extension that is not known")
		}
	}
	if i.source == nil {
		return i.secret, nil
	}
	kid, _ := t.Header["kid"].(string)
	key, alg, known := i.source.key(kid, at)
	if !known {
		return nil, errNoKeys
	}
	kind := ""
	switch key.(type) {
	case *rsa.PublicKey:
		kind = "RSA"
	case *ecdsa.PublicKey:
		kind = "ECDSA"
	case ed25519.PublicKey:
		kind = "Ed25519"
	}
	if used := t.Method.Alg(); key == nil || algorithms[used] != kind || alg != "" && alg != used {
		return nil, errors.New("no key of this kid and algorithm")
	}
	return key, nil
}

// verify finds out who a token stands for, and keeps that.
func (v *tokens) verify(token string, p Proof, at instant) Result {
	var said jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &said); err != nil {
		return v.refuse(p, nil, nil, at.unix)
	}
	i := v.issuers[said.Issuer]
	if i == nil {
		return v.refuse(p, nil, nil, at.unix)
	}
	epoch := i.epoch()
	claims := jwt.MapClaims{}
	_, err := i.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) { return i.keyOf(t, at) })
	if err != nil {
		return v.refuse(p, i, err, at.unix)
	}
	id := i.identity(claims)
	if len(id.User) == 0 {
		return v.refuse(p, i, nil, at.unix)
	}
	v.stats.Good.Add(1)
	v.cache.good.put(&found{proof: p, id: id, until: min(at.unix+int64(believedFor/time.Second), id.Expires+int64(i.Leeway/time.Second)), issuer: i, epoch: epoch})
	return Right
}

// refuse keeps that a token is bad, for a reason.
func (v *tokens) refuse(p Proof, i *issuer, err error, now int64) Result {
	if errors.Is(err, errNoKeys) {
		v.stats.Unknown.Add(1)
		return Unknown
	}
	v.stats.Bad.Add(1)
	f := &found{proof: p, until: now + int64(wrongFor/time.Second), issuer: i, expired: errors.Is(err, jwt.ErrTokenExpired)}
	if i != nil {
		f.epoch = i.epoch()
	}
	v.cache.bad.put(f)
	return Wrong
}

func (i *issuer) epoch() uint64 {
	if i.source == nil {
		return 0
	}
	return i.source.epoch.Load()
}

// identity reads the claims of a token that was verified. What cannot be read of a limit leaves the
// tier unsaid: nobody is limited less by it.
func (i *issuer) identity(claims jwt.MapClaims) *Identity {
	id := &Identity{User: []byte(text(claims[i.User])), ID: []byte(text(claims["jti"]))}
	if t, err := claims.GetExpirationTime(); err == nil && t != nil {
		id.Expires = t.Unix()
	}
	if c, there := claims[i.Tier]; there && i.Tier != "" {
		name := text(c)
		if to, ok := i.Tiers[name]; ok {
			name = to
		}
		id.Tier = []byte(name)
	}
	if c, there := claims[i.Rate]; there && i.Rate != "" {
		id.Rate = rateOf(c)
	}
	if c, there := claims[i.Connections]; there && i.Connections != "" {
		n, err := number(c)
		id.Connections = int(min(max(n, 1), math.MaxInt32))
		if err != nil {
			id.Connections = 1
		}
	}
	if c, there := claims[i.Quota]; there && i.Quota != "" {
		id.Quota = quotaOf(c)
	}
	return id
}

// text returns a claim that is a text or a number.
func text(claim any) string {
	switch c := claim.(type) {
	case string:
		return c
	case json.Number:
		return c.String()
	}
	return ""
}

func number(claim any) (int64, error) {
	n, ok := claim.(json.Number)
	if !ok {
		return 0, errors.New("not a number")
	}
	return n.Int64()
}

// leastRate is what a rate that cannot be read is, in bytes per second: not unlimited.
const leastRate = 64 << 10

// rateOf reads a rate: bytes per second, or a text like 5MiB/s.
func rateOf(claim any) int64 {
	if n, err := number(claim); err == nil && n > 0 {
		return n
	}
	if r, err := rate.Parse(text(claim)); err == nil && r > 0 {
		return int64(r)
	}
	return leastRate
}

// quotaOf reads a quota: bytes a day, or a text like 20GiB/month. What cannot be read is a byte a day, so
// that the tier, which has a reason, is seen to be cut short.
func quotaOf(claim any) quota.Limit {
	if n, err := number(claim); err == nil && n > 0 {
		return quota.Limit{Bytes: n, Kind: quota.Day}
	}
	if l, err := quota.ParseLimit(text(claim)); err == nil && l.Bytes > 0 {
		return l
	}
	return quota.Limit{Bytes: 1, Kind: quota.Day}
}

// isToken reports whether a credential has the form of a JWT.
func isToken(s []byte) bool { return bytes.Count(s, []byte(".")) == 2 }

// bearer returns the credential of the scheme Bearer (RFC 6750) in a field Authorization; nil: it has
// none.
func bearer(field []byte) []byte {
	scheme, token, ok := bytes.Cut(field, []byte(" "))
	if !ok || !bytes.EqualFold(scheme, []byte("Bearer")) {
		return nil
	}
	return bytes.Trim(token, " ")
}
