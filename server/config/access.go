package config

import (
	"net/netip"
	"slices"

	"github.com/fserve/fserve/server"
)

// Access is which requests are answered.
type Access struct {
	// Allow are the networks (CIDR) and addresses of the clients that are answered, and
	// unix for those on Unix sockets, all for everybody; the others get 403. Of the
	// networks of allow and deny with the client in them the smallest decides, and deny
	// if it is in both. Default: none, which stands for everybody.
	Allow []string `key:"allow" flag:"allow" sep:"," live:"yes" help:"networks and addresses of the clients that are answered, the others get 403; unix for Unix sockets, all; repeatable" own:"As allow above. It takes the place of that around it. Default: that around it."`
	// Deny are the networks and addresses of the clients that get 403; see allow.
	// Default: none.
	Deny []string `key:"deny" flag:"deny" sep:"," live:"yes" help:"networks and addresses of the clients that get 403; unix for Unix sockets, all; repeatable" own:"As deny above, beside those around it; of these a network counts no more that allow names here. Default: none of its own."`
	// Satisfy says whether a client needs both, an address that is allowed and a password (all),
	// or one of them (any). Default: all.
	Satisfy *Satisfy `key:"satisfy" flag:"satisfy" live:"yes" help:"what a client needs where there are allow or deny and a password: all, or any of them" own:"As satisfy above. Default: that around it."`
	// PasswordFile is a file of users and bcrypt hashes, as htpasswd -B makes it: only they are
	// answered, the others get 401. It is read anew when it changes. off asks for no password.
	// Default: none.
	PasswordFile *string `key:"password_file" flag:"password-file" file:"file" live:"yes" help:"file of users and bcrypt hashes (htpasswd -B) who alone are answered" own:"As password_file above. Default: that around it."`
	// Realm is what browsers say that the password is for. Default: none, which stands for the
	// name of the host.
	Realm *string `key:"realm" flag:"realm" live:"yes" help:"what browsers say that the password is for (default: the name of the host)" own:"As realm above. Default: that around it."`
	// Require are the ways, of which a request needs one, to prove who asks: link (a signed
	// link), key (an API key), jwt (a token), or none. identity says by which keys; docs/identity.md tells more. Default: none.
	Require []Way `key:"require" flag:"require" sep:"," live:"yes" help:"ways, of which a request needs one, to prove who asks: link, key, jwt, none; repeatable" own:"As require above. It takes the place of that around it. Default: that around it."`
	// SecureLink and secure_link_md5 ask for links as nginx's directives of these names do, with
	// the variables $secure_link_expires, $uri, $remote_addr, $host, $args and $arg_NAME:
	// $arg_md5,$arg_expires. A bad link gets 403, one that is over 410. off asks for none.
	// Default: none.
	SecureLink *string `key:"secure_link" flag:"secure-link" live:"yes" help:"link of nginx's secure_link: what of the request has hash and time, like '$arg_md5,$arg_expires'" own:"As secure_link above. Default: that around it."`
	// SecureLinkMD5 is the text whose MD5 the link has, with its secret:
	// $secure_link_expires$uri$remote_addr SECRET. Default: none.
	SecureLinkMD5 *string `key:"secure_link_md5" env:"SECURE_LINK_MD5" secret:"yes" live:"yes" own:"As secure_link_md5 above. Default: that around it."`
	// Referers are the pages that may refer to what is served, by the field Referer; other
	// requests get 403. Each is a name, *.NAME, .NAME (both), NAME.*, one of these with the
	// beginning of a path, or ~ and a regular expression (RE2); server_names, the names of the
	// host; none, requests without the field; blocked, those with a value that is no http or
	// https; all. Default: none, which stands for all.
	Referers []string `key:"referers" flag:"referer" live:"yes" help:"pages that may refer here: NAME, *.NAME, NAME.*, NAME/PATH, '~ REGEXP', server_names, none (no Referer), blocked, all; repeatable" own:"As referers above. It takes the place of that around it. Default: that around it."`
	// AllowAgents are regular expressions (RE2) for User-Agent: if there are any, one must
	// match, or the answer is 403. Default: none.
	AllowAgents []string `key:"allow_agents" flag:"allow-agent" live:"yes" help:"REGEXP: User-Agents of which one must match; repeatable" own:"As allow_agents above. It takes the place of that around it. Default: that around it."`
	// DenyAgents are regular expressions (RE2) for User-Agent: what one matches gets 403.
	// Default: none.
	DenyAgents []string `key:"deny_agents" flag:"deny-agent" live:"yes" help:"REGEXP: User-Agents that get 403; repeatable" own:"As deny_agents above, beside those around it. Default: none of its own."`
}

// Satisfy says which of address and password a client needs.
type Satisfy uint8

const (
	SatisfyAll Satisfy = iota
	SatisfyAny
)

// Way is one in which a request may prove who asks.
type Way uint8

const (
	WayNone Way = iota
	WayLink
	WayKey
	WayJWT
)

// ways are the Ways of a server, by Way.
var ways = [...]server.Ways{WayLink: server.ByLink, WayKey: server.ByKey, WayJWT: server.ByToken}

// within returns a with everything that it leaves out as it is around it. What is denied there
// is denied here, too, and what is allowed there is not if a network that is denied here has it in it.
func (a Access) within(around Access) Access {
	deny := slices.DeleteFunc(slices.Clone(around.Deny), func(n string) bool {
		return slices.ContainsFunc(a.Allow, func(m string) bool { return sameNetwork(n, m) })
	})
	deny, agents := append(deny, a.Deny...), append(slices.Clone(around.DenyAgents), a.DenyAgents...)
	if a.Allow == nil && around.Allow != nil {
		around.Allow = slices.DeleteFunc(slices.Clone(around.Allow), func(n string) bool {
			return slices.ContainsFunc(a.Deny, func(m string) bool { return covers(m, n) })
		})
		if len(around.Allow) == 0 { // which would stand for everybody
			around.Allow, deny = nil, append(deny, "all")
		}
	}
	a = leftOut(a, around)
	a.Deny, a.DenyAgents = deny, agents
	return a
}

func sameNetwork(a, b string) bool {
	x, errX := server.ParseNetworks([]string{a})
	y, errY := server.ParseNetworks([]string{b})
	return errX == nil && errY == nil && x.Unix == y.Unix && slices.Equal(x.Prefixes, y.Prefixes)
}

// covers reports whether all of the network n is in m.
func covers(m, n string) bool {
	x, errX := server.ParseNetworks([]string{m})
	y, errY := server.ParseNetworks([]string{n})
	return errX == nil && errY == nil && (x.Unix || !y.Unix) && !slices.ContainsFunc(y.Prefixes, func(q netip.Prefix) bool {
		return !slices.ContainsFunc(x.Prefixes, func(p netip.Prefix) bool { return p.Bits() <= q.Bits() && p.Contains(q.Addr()) })
	})
}

// into puts the rules into a site.
func (a *Access) into(s *server.Site) {
	s.Access.Allow, _ = server.ParseNetworks(a.Allow) // Validate has read them
	s.Access.Deny, _ = server.ParseNetworks(a.Deny)
	s.Referers, s.AllowAgents, s.DenyAgents = a.Referers, a.AllowAgents, a.DenyAgents
	for _, w := range a.Require {
		s.Require |= ways[w]
	}
	if *a.SecureLink != LogOff {
		s.SecureLink, s.SecureLinkMD5 = *a.SecureLink, *a.SecureLinkMD5
	}
	if *a.PasswordFile != LogOff {
		s.PasswordFile = *a.PasswordFile
	}
	// Both are taken over from around a place, which may ask for no proof.
	s.Either = *a.Satisfy == SatisfyAny && (s.PasswordFile != "" || s.Require != 0 || s.SecureLink != "")
	if a.asksUser() {
		s.Realm = *a.Realm
	}
}

// asksUser reports whether a says that requests need a password, a key or a token.
func (a *Access) asksUser() bool {
	return a.PasswordFile != nil && *a.PasswordFile != "" && *a.PasswordFile != LogOff || slices.Contains(a.Require, WayKey) || slices.Contains(a.Require, WayJWT)
}

// realms reports realms where nobody is asked who he is, as if the file of passwords had been
// forgotten.
func (v *validator) realms() {
	asked := v.Access.asksUser()
	for key, h := range v.Hosts {
		asked = v.realm("hosts["+key+"].", &h.Access, h.Access.within(v.Access), h.Locations) || asked
	}
	if !v.realm("", &v.Access, v.Access, v.Locations) && !asked && *v.Realm != "" {
		v.form("realm", noPassword)
	}
}

// realm checks the realm of a place, of which in is what counts there, and those of its locations. It
// reports whether anybody is asked who he is.
func (v *validator) realm(prefix string, own *Access, in Access, locations map[string]Location) (asked bool) {
	asked = in.asksUser()
	for key, l := range locations {
		asked = v.realm(prefix+"locations["+key+"].", &l.Access, l.Access.within(in), nil) || asked
	}
	if !asked && prefix != "" && own.Realm != nil && *own.Realm != "" {
		v.form(prefix+"realm", noPassword)
	}
	return asked
}

const noPassword = "no password is asked for: password_file is missing"

// access checks rules; prefix stands before their keys.
func (v *validator) access(prefix string, a *Access) {
	for key, list := range map[string][]string{"allow": a.Allow, "deny": a.Deny} {
		for i, n := range list {
			if _, err := server.ParseNetworks([]string{n}); err != nil {
				v.form(element(prefix+key, i), "%v", err)
			}
		}
	}
	for key, list := range map[string][]string{"referers": a.Referers, "allow_agents": a.AllowAgents, "deny_agents": a.DenyAgents} {
		for i, s := range list {
			v.sense(element(prefix+key, i), server.CheckAccessRule(key == "referers", s))
		}
	}
	if a.SecureLink != nil && a.SecureLinkMD5 != nil && *a.SecureLink != LogOff && *a.SecureLink+*a.SecureLinkMD5 != "" {
		v.sense(prefix+"secure_link", server.CheckSecureLink(*a.SecureLink, *a.SecureLinkMD5))
	}
	if len(a.Require) > 1 && slices.Contains(a.Require, WayNone) {
		v.form(prefix+"require", "none stands alone: no proof is asked for")
	}
	for key, list := range map[string][]string{"allow": a.Allow, "referers": a.Referers, "allow_agents": a.AllowAgents} {
		if list != nil && len(list) == 0 && prefix != "" { // on top it is the default
			v.form(prefix+key, "an empty list might mean everybody or nobody: leave the key out for what is around it, %s", map[string]string{
				"allow": "or write all; nobody is deny: [all]", "referers": "or write all", "allow_agents": "or write .*",
			}[key])
		}
	}
}
