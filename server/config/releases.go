package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
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
}

func (s ReleaseStep) String() string { return s.Weight.String() + " for " + durationText(s.Hold) }

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
	out := server.Release{Stable: r.Stable.version(), Canary: r.Canary.version(), Previous: r.Previous.version()}
	for _, s := range r.Steps {
		out.Steps = append(out.Steps, server.ReleaseStep{Weight: max(0, float64(s.Weight)), Hold: s.Hold})
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
