package config

import (
	"maps"
	"slices"
	"time"

	"github.com/fserve/fserve/server"
)

// Identity is how requests prove who asks, beside passwords.
type Identity struct {
	// Links are signed links: URLs that say in a parameter who may get what, until when and how
	// fast.
	Links Links `key:"links"`
}

// Links are the keys of signed links.
type Links struct {
	// Keys are files with the secrets that sign links, at least 16 bytes each, by names of yours.
	// fserve sign makes links with one; a link that any of them has signed counts. Default: none.
	Keys map[string]string `key:"keys" flag:"link-key" form:"NAME=FILE" file:"file" live:"yes" help:"NAME=FILE: secret that signs links; repeatable"`
	// Param is the parameter of a query that has a link. Default: fs.
	Param string `key:"param" flag:"link-param" live:"yes" help:"parameter of a query that has a signed link"`
	// MaxLifetime bounds how long a link may still be good, so that one that was made by mistake
	// counts for nobody: 168h. Default: 0s, no bound.
	MaxLifetime time.Duration `key:"max_lifetime" flag:"link-max-lifetime" live:"yes" help:"how long a signed link may still be good (default: no bound)"`
}

// identity returns the Identity as a server has it.
func (i *Identity) identity() server.Identity {
	return server.Identity{Links: server.IdentityLinks{Keys: i.Links.Keys, Param: i.Links.Param, MaxLifetime: i.Links.MaxLifetime}}
}

func (v *validator) identity() {
	l := &v.Identity.Links
	if l.MaxLifetime < 0 {
		v.form("identity.links.max_lifetime", "%v: --link-max-lifetime must not be negative", l.MaxLifetime)
	}
	if !isParam(l.Param) {
		v.form("identity.links.param", "%q is not the name of a parameter: letters, digits, _ and -", l.Param)
	}
	for _, name := range slices.Sorted(maps.Keys(l.Keys)) {
		if !isParam(name) {
			v.form("identity.links.keys["+name+"]", "%q is not the name of a key: letters, digits, _ and -", name)
		}
	}
}

// isParam reports whether a name can stand in a URL as it is.
func isParam(s string) bool {
	for _, c := range []byte(s) {
		if c != '_' && c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return s != ""
}
