package config

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/release"
)

// Release is what is served in several versions, of which each client gets one.
type Release struct {
	// Stable is what everybody gets who gets nothing else: {root: DIR}, with a name for logs and
	// metrics, {name: v41, root: DIR}. alias in place of root takes the place of the prefix of a
	// location. Required.
	Stable ReleaseVersion `key:"stable"`
	// Canary is the new version, as stable. Default: none, everybody gets stable.
	Canary ReleaseVersion `key:"canary"`
	// Previous is the version before stable: only downloads that have begun with it get it. Default: none.
	Previous ReleaseVersion `key:"previous"`
	// Weight is the part of the clients that gets the canary: 5%. Default: 0%.
	Weight Percent `key:"weight"`
	// Steps are weights in turn, in place of weight: [{weight: 1%, hold: 30m}, {weight: 100%}]. A step
	// stays for as long as its hold at least; without one until somebody promotes it. Default: none.
	Steps []ReleaseStep `key:"steps"`
	// Hold is how long after a change of weight downloads that are resumed without a tag get the version
	// that they have begun with. Default: 0s, which stands for 1h.
	Hold time.Duration `key:"hold"`
	// Rollback says when the canary is taken back: {errors: 0.5%, first_byte: 1.5, throughput: 0.7,
	// window: 30s, responses: 200, off: false}. Default: as there.
	Rollback ReleaseRollback `key:"rollback"`
	// Override says who gets a version whatever its weight is: {header: NAME, cookie: NAME, query: NAME,
	// allow: [NETWORK]} by a value that is the name of a version, users: [NAME] and networks: [NETWORK]
	// the canary. Default: nobody.
	Override ReleaseOverride `key:"override"`
	// Subject is what tells a client from others, the first of these that a request has: user (who has
	// proved to be that), client (the address, of IPv6 the network of 64 bits), cookie NAME, header
	// NAME. Default: user, client.
	Subject []ReleaseSubject `key:"subject"`
}

// ReleaseVersion is one version of a release.
type ReleaseVersion struct {
	// Name is what logs and metrics call it.
	Name string `key:"name"`
	// Root is its directory.
	Root string `key:"root" file:"dir"`
	// Alias is its directory, in the place of the prefix of a location.
	Alias string `key:"alias" file:"dir"`
}

func (v ReleaseVersion) String() string { return strings.Trim(v.Name+"="+v.Root+v.Alias, "=") }

// ReleaseStep is a share of the canary.
type ReleaseStep struct {
	// Weight is the part of the clients.
	Weight Percent `key:"weight" required:"yes"`
	// Hold is how long it stays at least.
	Hold time.Duration `key:"hold"`
	// Responses are how many the canary must have had in the step. Default: 0, which stands for 200.
	Responses int `key:"responses"`
}

func (s ReleaseStep) String() string {
	return fmt.Sprintf("%v for %s, %d responses", s.Weight, durationText(s.Hold), s.Responses)
}

// ReleaseRollback says when a canary is taken back: if in a window of time it is worse than stable, and
// a test says that this is no chance.
type ReleaseRollback struct {
	// Errors is how much larger the part of its responses that fail (403, 404, 5xx, cut off because of the
	// file) may be.
	Errors Percent `key:"errors"`
	// FirstByte is how many times longer its first bytes may take, 99 of 100 of them.
	FirstByte Factor `key:"first_byte"`
	// Throughput is the part of stable's rate that it has at least, by the median.
	Throughput Factor `key:"throughput"`
	// Window is the time that is looked at.
	Window time.Duration `key:"window"`
	// Responses are how many each version has in it at least.
	Responses int `key:"responses"`
	// Off leaves it to people.
	Off bool `key:"off"`
}

func (r ReleaseRollback) String() string {
	return fmt.Sprintf("%+v", r.rollback())
}

func (r *ReleaseRollback) rollback() server.ReleaseRollback {
	return server.ReleaseRollback{
		Errors: float64(r.Errors), FirstByte: float64(r.FirstByte), Throughput: float64(r.Throughput), Window: r.Window, Responses: r.Responses, Off: r.Off,
	}
}

// Factor is a positive number, or off.
type Factor float64

func (f Factor) String() string {
	if f < 0 {
		return LogOff
	}
	return strconv.FormatFloat(float64(f), 'g', -1, 64)
}

// Set implements setter.
func (f *Factor) Set(s string) error {
	n, err := strconv.ParseFloat(strings.TrimSuffix(s, "x"), 64)
	if s == LogOff {
		n, err = -1, nil
	} else if err != nil || !(n > 0 && n <= 1000) {
		return fmt.Errorf("%q is neither a factor like 1.5 nor off", s)
	}
	*f = Factor(n)
	return err
}

// ReleaseOverride says who gets a version whatever its weight is.
type ReleaseOverride struct {
	// Header, Cookie and Query have the name of a version as their value.
	Header string `key:"header"`
	Cookie string `key:"cookie"`
	Query  string `key:"query"`
	// Allow are the networks whose clients may choose so. Default: all.
	Allow []string `key:"allow"`
	// Users and Networks get the canary.
	Users    []string `key:"users"`
	Networks []string `key:"networks"`
}

func (o ReleaseOverride) String() string {
	return strings.Join(slices.Concat([]string{o.Header, o.Cookie, o.Query}, o.Allow, o.Users, o.Networks), " ")
}

func (o *ReleaseOverride) override() server.ReleaseOverride {
	allow, _ := networks(o.Allow) // Validate has read them
	canary, _ := networks(o.Networks)
	return server.ReleaseOverride{Header: o.Header, Cookie: o.Cookie, Query: o.Query, Allow: allow, Users: o.Users, Networks: canary}
}

// networks reads networks and addresses; at is where one is wrong.
func networks(list []string) (out []netip.Prefix, at int) {
	for i, s := range list {
		p, err := netip.ParsePrefix(s)
		if a, failed := netip.ParseAddr(s); failed == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return out, i
		}
		out = append(out, p.Masked())
	}
	return out, -1
}

// ReleaseSubject is what tells a client from others: user, client, header NAME or cookie NAME.
type ReleaseSubject string

var subjectKinds = []string{release.ByUser: "user", release.ByClient: "client", release.ByHeader: "header", release.ByCookie: "cookie"}

// Set implements setter.
func (s *ReleaseSubject) Set(text string) error {
	kind, name, named := strings.Cut(text, " ")
	k := release.SubjectKind(max(0, slices.Index(subjectKinds, kind)))
	if subjectKinds[k] != kind || named != (k >= release.ByHeader) || named && !isParam(name) {
		return fmt.Errorf("%q is none of user, client, header NAME, cookie NAME", text)
	}
	*s = ReleaseSubject(text)
	return nil
}

// subject returns what Set has read.
func (s ReleaseSubject) subject() server.ReleaseSubject {
	kind, name, _ := strings.Cut(string(s), " ")
	return server.ReleaseSubject{Kind: release.SubjectKind(slices.Index(subjectKinds, kind)), Name: name}
}

func (v *ReleaseVersion) version() server.ReleaseVersion {
	return server.ReleaseVersion{Name: v.Name, Root: v.Root + v.Alias, Alias: v.Alias != ""}
}

// release returns the release as a server has it.
func (r *Release) release() server.Release {
	out := server.Release{Stable: r.Stable.version(), Canary: r.Canary.version(), Previous: r.Previous.version(), Hold: r.Hold, Rollback: r.Rollback.rollback(), Override: r.Override.override()}
	for _, s := range r.Steps {
		out.Steps = append(out.Steps, server.ReleaseStep{Weight: max(0, float64(s.Weight)), Hold: s.Hold, Responses: s.Responses})
	}
	if r.Weight != 0 {
		out.Steps = []server.ReleaseStep{{Weight: max(0, float64(r.Weight))}}
	}
	for _, s := range r.Subject {
		out.Subject = append(out.Subject, s.subject())
	}
	return out
}

func (c *Config) releases() map[string]server.Release {
	if len(c.Releases) == 0 {
		return nil
	}
	m := make(map[string]server.Release, len(c.Releases))
	for name, r := range c.Releases {
		m[name] = r.release()
	}
	return m
}

func (v *validator) releases() {
	for _, name := range slices.Sorted(maps.Keys(v.Releases)) {
		r, path := v.Releases[name], "releases["+name+"]"
		if !isParam(name) {
			v.form(path, "%q is not the name of a release: letters, digits, _ and -", name)
		}
		for i, one := range []ReleaseVersion{r.Stable, r.Canary, r.Previous} {
			if one.Root != "" && one.Alias != "" {
				v.form(path+"."+release.Keys[i]+".alias", "there is a root too: which of them is meant?")
			}
			if one.Name != "" && one.Root+one.Alias == "" {
				v.form(path+"."+release.Keys[i], "root is missing")
			}
		}
		if r.Weight != 0 && len(r.Steps) > 0 {
			v.form(path+".weight", "there are steps too: which of them are meant?")
		}
		if (r.Weight > 0 || len(r.Steps) > 0) && r.Canary.Root+r.Canary.Alias == "" {
			v.form(path, "canary is missing, which the weights are of")
		}
		for key, list := range map[string][]string{"allow": r.Override.Allow, "networks": r.Override.Networks} {
			if _, at := networks(list); at >= 0 {
				v.form(element(path+".override."+key, at), "%q is neither a network like 10.0.0.0/8 nor an address", list[at])
			}
		}
		c := r.release().WithDefaults()
		for _, err := range c.Check() {
			if e := (*release.ConfigError)(nil); errors.As(err, &e) {
				v.form(path+"."+e.Key, "%v", e.Err)
			}
		}
	}
}

// named checks that there is a release of a name; empty: none is named. root is the other thing that
// could be meant.
func (v *validator) named(path, name, root string) {
	switch _, ok := v.Releases[name]; {
	case name == "":
	case !ok:
		v.form(path+"release", "there is no release %q%s", name, DidYouMean(name, slices.Sorted(maps.Keys(v.Releases))))
	case root != "":
		v.form(path+"release", "there is a root too: which of them is meant?")
	}
}
