package config

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/fserve/fserve/server/alerts"
)

// forgetDefault is the default of Profile.Forget.
const forgetDefault = 24 * time.Hour

// profiles checks the sets of limits that alerts switch on.
func (v *validator) profiles() {
	for _, name := range slices.Sorted(maps.Keys(v.Profiles)) {
		p, path := v.Profiles[name], "profiles["+name+"]"
		if name == "" {
			v.form(path, "a profile needs a name")
		}
		if len(p.Match) == 0 {
			v.form(path, "match is missing: without labels every alert would switch it on")
		}
		for label := range p.Match {
			if !alerts.IsLabel(label) {
				v.form(path+".match["+label+"]", "%q is not the name of a label", label)
			}
		}
		if p.Global == 0 && p.Client == 0 && p.Connection == 0 {
			v.form(path, "it has no rate: global, client or connection")
		}
		if err := p.Caps().Validate(); err != nil {
			v.form(path, "%v", err)
		}
		if p.Forget < 0 {
			v.form(path+".forget", "%v: it must not be negative", p.Forget)
		}
	}
}

// AlertProfiles returns the profiles as package alerts has them, by name.
func (c *Config) AlertProfiles() (list []alerts.Profile) {
	for _, name := range slices.Sorted(maps.Keys(c.Profiles)) {
		p := c.Profiles[name]
		list = append(list, alerts.Profile{Name: name, Match: p.Match, Caps: p.Caps(), Forget: cmp.Or(p.Forget, forgetDefault)})
	}
	return list
}

// alerts checks where alerts go.
func (v *validator) alerts() {
	a := &v.Alerts
	if a.Webhook == "" {
		if a.TokenFile != "" {
			v.form("alerts.token_file", "without a webhook there is nobody to show the token")
		}
		return
	}
	u, err := url.Parse(a.Webhook)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		v.form("alerts.webhook", "%q is not a URL like https://HOST/PATH", a.Webhook)
	case u.User != nil:
		v.form("alerts.webhook", "a password in a URL is shown to everybody who sees the configuration: use a token file")
	}
}

// Bearer returns the token for the webhook; empty: none.
func (a *Alerts) Bearer() (string, error) { return (&Admin{TokenFile: a.TokenFile}).Bearer() }
