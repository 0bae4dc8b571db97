package site

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/auth"
)

// guard compiles who is answered at a place.
func (b *compilation) guard(p *Place, l *Location, where string) {
	s := &l.Site
	g := admit.Guard{Access: s.Access, Password: s.PasswordFile != "", Either: s.Either}
	var err error
	g.Referers, err = admit.NewReferers(s.Referers, p.host.names)
	b.fault(where, err)
	g.Agents, err = admit.NewAgents(s.AllowAgents, s.DenyAgents)
	b.fault(where, err)
	if g.Password {
		b.passwordFile(p, l, where)
	}
	if !g.Everybody() {
		p.Guard = &g
	}
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
