package config

import (
	"maps"
	"slices"
	"time"

	"github.com/fserve/fserve/engine/rate"
	"github.com/fserve/fserve/server"
)

// Identity is how requests prove who asks, beside passwords.
type Identity struct {
	// Links are signed links: URLs that say in a parameter who may get what, until when and how
	// fast.
	Links Links `key:"links"`
	// APIKeys is a file of API keys with lines NAME SHA256 [tier=TIER] [expires=DATE]; a request has
	// the key in X-API-Key, or in Authorization: Bearer. It is read anew when it changes. Default:
	// none.
	APIKeys string `key:"api_keys" flag:"api-keys" file:"file" live:"yes" help:"file of API keys: lines NAME SHA256 [tier=TIER] [expires=DATE]; read anew when it changes"`
	// JWT are the issuers whose tokens are believed, by their names (the claim iss), each with the
	// keys of [an issuer](#an-issuer). Default: none.
	JWT map[string]Issuer `key:"jwt" live:"yes"`
	// Tiers are kinds of users by their names, each with the keys of [a tier](#a-tier): a token, a
	// key, a link or the network of the client says who is of which. A name that is none of them
	// stands for the lowest. Default: none.
	Tiers map[string]Tier `key:"tiers" live:"yes"`
	// Tier is that of the clients which are in no other. Default: none.
	Tier string `key:"tier" flag:"tier" live:"yes" help:"tier of clients which are in no other"`
}

// Tier is what each user of a kind gets.
type Tier struct {
	// Rate is the rate of a user over all connections, in place of limits.client. Default:
	// unlimited, which stands for limits.client.
	Rate rate.Rate `key:"rate"`
	// Weight is the share of a user beside others, from 1 to 1000. Default: 0, which counts as 1.
	Weight int `key:"weight"`
	// Connections is how many downloads of a user may be under way at a time; one more waits in the
	// queue of admission, or gets 429. Default: 0, no bound.
	Connections int `key:"connections"`
	// Requests is how many requests of a user are answered, as 600/min burst 100; what is beyond
	// that gets 429. Default: none.
	Requests RequestRate `key:"requests"`
	// Quota is how many bytes a user may have in a day or a month of UTC, and what comes then: 20GiB/day
	// (requests get 429), 20GiB/day then cut (what is under way ends, too), 500GiB/month then 200KiB/s
	// (all goes on slowly). It is kept in the state directory. Default: none.
	Quota Quota `key:"quota"`
	// Networks are those whose clients are of the tier if nothing that they prove says otherwise, or
	// addresses, unix, all; the smallest with the client in it decides. Default: none.
	Networks []string `key:"networks"`
}

// tier returns the tier as a server has it.
func (t *Tier) tier() server.Tier {
	networks, _ := server.ParseNetworks(t.Networks) // Validate has read them
	return server.Tier{Rate: t.Rate, Weight: t.Weight, Connections: t.Connections, Requests: t.Requests.rate(), Quota: t.Quota.limit(), Networks: networks}
}

// Issuer is one whose tokens (JWT) are believed.
type Issuer struct {
	// Audience are the names that this server has for the issuer; a token is for one of them.
	Audience []string `key:"audience" required:"yes"`
	// Algorithms are those of its keys: HS256, RS256, PS256, ES256, each with 384 and 512, and
	// EdDSA.
	Algorithms []string `key:"algorithms" required:"yes"`
	// JWKS is where its public keys are: a file, or a URL with https (http to this machine).
	// Default: none, there is a secret.
	JWKS string `key:"jwks" file:"file"`
	// Secret is a file with the secret of HS256, HS384, HS512, at least 32 bytes. Default: none.
	Secret string `key:"secret" file:"file"`
	// Leeway is how wrong clocks may be, up to 1h. Default: 0s.
	Leeway time.Duration `key:"leeway"`
	// User is the claim by which downloads are counted. Default: sub.
	User string `key:"user"`
	// Tier is the claim that names a tier. Default: none.
	Tier string `key:"tier"`
	// Rate is the claim with the rate of the user: bytes per second, or a text like 5MiB/s.
	// Default: none.
	Rate string `key:"rate"`
	// Connections is the claim with the downloads that the user may have at a time. Default: none.
	Connections string `key:"connections"`
	// Quota is the claim with the quota of the user: bytes a day, or a text like 20GiB/month. Default:
	// none.
	Quota string `key:"quota"`
	// Tiers are the names that tiers have here by those in the claim: gold: vip. What is not
	// among them has its own name. Default: none.
	Tiers map[string]string `key:"tiers"`
}

// Links are the keys of signed links.
type Links struct {
	// Keys are files with the secrets that sign links, at least 16 bytes each, by names of yours.
	// fserve sign makes links with one; a link that any of them has signed counts. Default: none.
	Keys map[string]string `key:"keys" flag:"link-key" form:"NAME=FILE" file:"file" live:"yes" help:"NAME=FILE: secret that signs links; repeatable"`
	// Param is the parameter of a query that has a link. Default: fs.
	Param string `key:"param" flag:"link-param" live:"yes" help:"parameter of a query that has a signed link"`
	// Cookie is the name of a cookie that has a link, for GET and HEAD whose query has none: so one link
	// with a slash at its end is enough for many files. Default: none.
	Cookie string `key:"cookie" flag:"link-cookie" live:"yes" help:"name of a cookie that has a signed link (default: none is looked at)"`
	// MaxLifetime bounds how long a link may still be good, so that one that was made by mistake
	// counts for nobody: 168h. Default: 0s, no bound.
	MaxLifetime time.Duration `key:"max_lifetime" flag:"link-max-lifetime" live:"yes" help:"how long a signed link may still be good (default: no bound)"`
}

// identity returns the Identity as a server has it.
func (i *Identity) identity() server.Identity {
	out := server.Identity{Links: server.IdentityLinks{Keys: i.Links.Keys, Param: i.Links.Param, Cookie: i.Links.Cookie, MaxLifetime: i.Links.MaxLifetime}, Keys: i.APIKeys}
	for name, issuer := range i.JWT {
		if out.Issuers == nil {
			out.Issuers = make(map[string]server.IdentityIssuer)
		}
		out.Issuers[name] = server.IdentityIssuer(issuer)
	}
	for name, t := range i.Tiers {
		if out.Tiers == nil {
			out.Tiers = make(map[string]server.Tier)
		}
		out.Tiers[name] = t.tier()
	}
	out.Tier = i.Tier
	return out
}

func (v *validator) identity() {
	v.tiers()
	v.issuers()
	l := &v.Identity.Links
	if l.MaxLifetime < 0 {
		v.form("identity.links.max_lifetime", "%v: --link-max-lifetime must not be negative", l.MaxLifetime)
	}
	if l.Cookie != "" && !isParam(l.Cookie) {
		v.form("identity.links.cookie", "%q is not the name of a cookie: letters, digits, _ and -", l.Cookie)
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

// tiers checks the kinds of users, and that there are those that are named.
func (v *validator) tiers() {
	i := &v.Identity
	for _, name := range slices.Sorted(maps.Keys(i.Tiers)) {
		t, at := i.Tiers[name], "identity.tiers["+name+"]"
		for n, network := range t.Networks {
			if _, err := server.ParseNetworks([]string{network}); err != nil {
				v.form(element(at+".networks", n), "%v", err)
			}
		}
		if t.Quota != "" && v.StateDir == "" {
			v.form(at+".quota", "%s: there is no state directory in which it would be kept: --state-dir, or StateDirectory= of systemd", t.Quota)
		}
		of := t.tier()
		v.sense(at, of.Validate())
	}
	if _, ok := i.Tiers[i.Tier]; i.Tier != "" && !ok {
		v.form("identity.tier", "there is no tier %q", i.Tier)
	}
	for _, name := range slices.Sorted(maps.Keys(i.JWT)) {
		for from, to := range i.JWT[name].Tiers {
			if _, ok := i.Tiers[to]; !ok {
				v.form("identity.jwt["+name+"].tiers["+from+"]", "there is no tier %q", to)
			}
		}
	}
}

// issuers checks those of tokens.
func (v *validator) issuers() {
	for _, name := range slices.Sorted(maps.Keys(v.Identity.JWT)) {
		i := server.IdentityIssuer(v.Identity.JWT[name])
		v.sense("identity.jwt["+name+"]", i.Validate())
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

// Quota is how many bytes a user may have, as server.ParseQuota reads it; empty: there is no bound.
type Quota string

// Set reads a quota.
func (q *Quota) Set(s string) error {
	l, err := server.ParseQuota(s)
	if err == nil {
		*q = Quota(l.String())
	}
	return err
}

// limit returns what Set has read.
func (q Quota) limit() server.Quota {
	l, _ := server.ParseQuota(string(q)) // Set has read it
	return l
}
