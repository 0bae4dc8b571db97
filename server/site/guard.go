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
	g.Proof = s.PasswordFile != "" || p.Wants.Any()
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
// otherwise.
func (l *Location) private() *Location {
	if l.Require == 0 && l.SecureLinkMD5 == "" {
		return l
	}
	out := *l
	out.Files.CacheControl = append(slices.Clone(l.Files.CacheControl), httpfile.Rule{Match: "/", Value: "private"})
	out.Headers = append(slices.Clone(l.Headers), HeaderRule{Match: "/", Name: "Referrer-Policy", Value: "no-referrer"}) // the URL may be a secret
	return &out
}

// identity reads the keys by which requests prove who asks.
func (b *compilation) identity() {
	m, faults := auth.NewMethods(&b.Identity)
	for _, f := range faults {
		b.faults = append(b.faults, &Fault{"", "", "identity." + f.Key, f.Err})
	}
	b.out.methods = m
}

// passwordFile opens the password file of a place, or looks at it if it is open.
func (b *compilation) passwordFile(p *Place, l *Location, where string) {
	realm := cmp.Or(l.Realm, p.host.name, "files")
	if strings.ContainsFunc(realm, func(r rune) bool { return r < ' ' || r > '~' }) {
		b.fault(where, errors.New("realm: printable ASCII characters are needed"))
	}
	p.Challenge = fmt.Sprintf("Basic realm=\"%s\", charset=\"UTF-8\"", strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(realm))
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
