package site

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/auth"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/link"
)

// guard compiles who is answered at a place.
func (b *compilation) guard(p *Place, l *Location, where string) {
	s := &l.Site
	g := admit.Guard{Access: s.Access, Either: s.Either}
	var err error
	p.Wants.Ways = s.Require
	if s.SecureLink != "" || s.SecureLinkMD5 != "" {
		p.Wants.MD5, err = link.NewMD5(s.SecureLink, s.SecureLinkMD5)
		b.fault(where, err)
	}
	if lacking := b.out.methods.Lacks(s.Require); lacking != 0 {
		b.faults = append(b.faults, &Fault{p.host.name, l.Match, "require", fmt.Errorf("nothing is configured for %v: see identity", lacking)})
	}
	if s.Require&(auth.ByKey|auth.ByToken) != 0 {
		p.Bearer = "Bearer " + b.realm(p, l, where)
		if s.PasswordFile != "" {
			b.fault(where, errors.New("require: a key or a token and a password would both be in the field Authorization: password_file: off asks for no password"))
		}
	}
	g.Proof = s.PasswordFile != "" || p.Wants.Any()
	if g.Either && !g.Proof {
		b.fault(where, errors.New("neither a password nor another proof is asked for: Either has no effect"))
	}
	if s.Realm != "" && s.PasswordFile == "" && p.Bearer == "" {
		b.fault(where, errors.New("neither a password nor a key or token is asked for: Realm has no effect"))
	}
	g.Referers, err = admit.NewReferers(s.Referers, p.host.names)
	b.fault(where, err)
	g.Agents, err = admit.NewAgents(s.AllowAgents, s.DenyAgents)
	b.fault(where, err)
	if s.PasswordFile != "" {
		b.passwordFile(p, l, where)
	}
	if !g.Everybody() {
		p.Guard = &g
	}
}

// private returns a location whose answers are of nobody else than who has asked, unless it says
// otherwise. With cookie a link may come in one.
func (l *Location) private(cookie bool) *Location {
	if l.Require == 0 && l.SecureLinkMD5 == "" {
		return l
	}
	out := *l
	out.Files.CacheControl = append(slices.Clone(l.Files.CacheControl), httpfile.Rule{Match: "/", Value: "private"})
	out.Headers = append(slices.Clone(l.Headers), HeaderRule{Match: "/", Name: "Referrer-Policy", Value: "no-referrer"}) // the URL may be a secret
	var by []string
	if l.Require&(auth.ByKey|auth.ByToken) != 0 {
		by = append(by, "Authorization, X-API-Key")
	}
	if l.Require&auth.ByLink != 0 && cookie {
		by = append(by, "Cookie")
	}
	if len(by) > 0 {
		out.Headers = append(out.Headers, HeaderRule{Match: "/", Name: "Vary", Value: strings.Join(by, ", ")})
	}
	return &out
}

// identity reads the keys by which requests prove who asks.
func (b *compilation) identity() {
	b.opener.Log = b.Log
	m, faults := b.opener.Open(&b.Identity)
	for _, f := range faults {
		b.faults = append(b.faults, &Fault{"", "", "identity." + f.Key, f.Err})
	}
	b.out.methods = m
}

// realm returns the parameter of a challenge that says what a proof is for.
func (b *compilation) realm(p *Place, l *Location, where string) string {
	realm := cmp.Or(l.Realm, p.host.name, "files")
	if strings.ContainsFunc(realm, func(r rune) bool { return r < ' ' || r > '~' }) {
		b.fault(where, errors.New("realm: printable ASCII characters are needed"))
	}
	return `realm="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(realm) + `"`
}

// passwordFile opens the password file of a place, or looks at it if it is open.
func (b *compilation) passwordFile(p *Place, l *Location, where string) {
	p.Challenge = "Basic " + b.realm(p, l, where) + `, charset="UTF-8"`
	f := cmp.Or(b.users[l.PasswordFile], b.passwords[l.PasswordFile])
	var err error
	if f == nil {
		f, err = auth.Open(l.PasswordFile, cmp.Or(b.Log, slog.Default()))
	} else if b.users[l.PasswordFile] == nil {
		_ = f.Look() // it has logged, and goes on with what there is
	}
	if err != nil {
		b.faults = append(b.faults, &Fault{p.host.name, l.Match, "password_file", err})
		return
	}
	b.users[l.PasswordFile], p.Users = f, f
}
