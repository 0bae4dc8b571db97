package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server"
)

const hostsFile = `
root: /srv/www
allow: [all]
deny: [198.51.100.0/24]
files:
  listing: true
  precompressed: true
  server_field: top
  index: [a.html]
  error_pages: {404: /404.html}
  types: {x: a/x}
locations:
  /dl/: {alias: /srv/dl, listing: false, class: /slow/}
  /dl/deep/:
    symlinks: deny
limits:
  paths: {/slow/: 1MB/s, /a/: unlimited, /b/: unlimited}
hosts:
  a.example:
    names: ["*.a.example"]
    root: /srv/a
    dotfiles: true
    index: []
    server_field: ""
    allow: 192.0.2.0/24
    class: /a/
    error_pages: {}
    cache_control: /=no-cache
    headers: ["/=X: y"]
    attachment: ["*.iso"]
    locations:
      /in/: {root: /srv/in, precompressed: false, deny: [unix], error_pages: {500: /500.html}}
      /own/: {class: /b/, download_param: dl, types: {y: a/y}}
  b.example:
`

func TestHosts(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f.yaml", strings.Replace(hostsFile, "  b.example:\n", "  b.example: {}\n", 1))
	c := load(t, sources(t, nil, "--config", dir+"/f.yaml")).Server()

	dl, deep := c.Locations[0], c.Locations[1]
	if dl.Match != "/dl/" || !dl.Alias || dl.Root != "/srv/dl" || dl.Listing || dl.Class != "/slow/" || dl.ErrorPages != nil || !dl.Precompressed ||
		dl.Files.Server != "top" || !reflect.DeepEqual(dl.Access, c.Access) || len(dl.Access.Deny.Prefixes) != 1 {
		t.Errorf("%+v", dl)
	}
	if deep.Match != "/dl/deep/" || deep.Alias || deep.Root != "/srv/www" || !deep.Listing || deep.Symlinks != openfile.SymlinksDeny || deep.Class != "" {
		t.Errorf("%+v", deep)
	}
	a, b := c.Hosts[0], c.Hosts[1]
	if !reflect.DeepEqual(a.Names, []string{"a.example", "*.a.example"}) || a.Root != "/srv/a" || !a.Files.Dotfiles || a.Files.Server != "" || !a.Listing ||
		len(a.Index) != 0 || len(a.Access.Allow.Prefixes) != 1 || len(a.Access.Deny.Prefixes) != 1 || a.Class != "/a/" || a.ErrorPages == nil ||
		len(a.Files.CacheControl) != 1 || len(a.Headers) != 1 || len(a.Files.Disposition) != 1 || a.Files.ContentTypes["x"] != "a/x" {
		t.Errorf("%+v", a)
	}
	in, own := a.Locations[0], a.Locations[1]
	if in.Root != "/srv/in" || in.Precompressed || !in.Access.Deny.Unix || len(in.Access.Allow.Prefixes) != 1 || len(in.Access.Deny.Prefixes) != 1 || in.ErrorPages[500].Path != "/500.html" ||
		in.Class != "/a/" || !in.Files.Dotfiles {
		t.Errorf("%+v", in)
	}
	if own.Root != "/srv/a" || own.Class != "/b/" || own.Files.DownloadParam != "dl" || own.Files.ContentTypes["x"] != "" || own.Files.ContentTypes["y"] != "a/y" {
		t.Errorf("%+v", own)
	}
	if b.Root != "/srv/www" || len(b.Locations) != 0 || !reflect.DeepEqual(b.Site.Files, c.Files) || !reflect.DeepEqual(b.Access, c.Access) {
		t.Errorf("%+v", b)
	}
}

// Everything that a host or a location has of its own can be left out, which is told
// from what is said.
func TestOwnMayBeLeftOut(t *testing.T) {
	for sf := range structFields(reflect.TypeFor[Own]()) {
		switch sf.Type.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
		default:
			if !slices.Contains([]string{"Class", "Redirect", "Respond", "AccessLog"}, sf.Name) { // the empty one stands for nothing
				t.Errorf("%s: a %v cannot be left out", sf.Name, sf.Type)
			}
		}
	}
}

// All faults at once, each with its place.
func TestHostFaults(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f.yaml", `
allow: [1.2.3]
hosts:
  a.example:
    rot: /x
    names: [A.example, "*", b:80]
    listing: yes
  b.example: /srv/b
  c.example:
    root: /c
    deny: [all, x]
    class: slow
    index: a/b
    cache_control: ["a*b*c=x"]
    headers: ["/=Date: x"]
    error_pages: {200: /x, 404: y}
    symlinks: some
    locations:
      /a: {alias: /x}
      /: {alias: /x}
      /b//c/: {alias: /x}
      d/: {alias: /x}
      /e/: {alias: /x, root: /y, types: {a: b}}
      /f/: {alais: /x}
locations:
  /g/: {listing: true}
`)
	_, err := sources(t, nil, "--config", dir+"/f.yaml").Load()
	got := strings.ReplaceAll(fmt.Sprint(err), dir+"/", "")
	want := hostFaults
	if got != strings.TrimSpace(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A change inside a host is named by its own path, and takes effect at once.
func TestHostDiff(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.yaml", strings.Replace(hostsFile, "  b.example:\n", "  b.example: {}\n", 1), "b.yaml", strings.NewReplacer(
		"  b.example:\n", "  c.example: {root: /srv/c}\n", "dotfiles: true", "dotfiles: false", "deny: [unix]", "deny: []",
		"download_param: dl, ", "", `"*.a.example"`, "z.example",
	).Replace(hostsFile))
	a := load(t, sources(t, nil, "--config", dir+"/a.yaml")).Config
	b := load(t, sources(t, nil, "--config", dir+"/b.yaml")).Config
	b.File = a.File
	var got []string
	for _, c := range Diff(a, b) {
		got = append(got, c.String())
		if c.Restart {
			t.Errorf("%v needs a restart", c)
		}
	}
	want := []string{
		"hosts[a.example].dotfiles: true -> false",
		"hosts[a.example].locations[/in/].deny: unix -> (empty)",
		"hosts[a.example].locations[/own/].download_param: dl -> (none)",
		"hosts[a.example].names: *.a.example -> z.example",
		"hosts[b.example]: {} -> (none)",
		"hosts[c.example]: (none) -> {}",
		"hosts[c.example].root: (none) -> /srv/c",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRenderHosts(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f.yaml", "hosts:\n  a:\n    root: /a\n    listing: false\n    headers: [\"/=X: y\"]\n    locations:\n      /b/: {alias: /c, error_pages: {404: /x}}\n  b: {root: /b}\n")
	l := load(t, sources(t, nil, "--config", dir+"/f.yaml"))
	out, err := Rendering{Origins: l.Origins}.Render(l.Config)
	if err != nil {
		t.Fatal(err)
	}
	const want = `hosts: # f.yaml:2:3
  a:
    root: /a # f.yaml:3:11
    listing: false # f.yaml:4:14
    headers: # f.yaml:5:14
    - {match: /, name: X, value: y} # f.yaml:5:15
    locations: # f.yaml:7:7
      /b/:
        alias: /c # f.yaml:7:20
        error_pages: # f.yaml:7:37
          404: /x # f.yaml:7:38
  b:
    root: /b # f.yaml:8:13
`
	if got := strings.ReplaceAll(string(out), dir+"/", ""); !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

const hostFaults = `
f.yaml:2:9: allow[0]: "1.2.3" is not a network, an address, all or unix
f.yaml:4:3: hosts[a.example]: root is missing: there is none above that it could be
f.yaml:5:5: hosts[a.example].rot: unknown key "rot"; did you mean root?
f.yaml:6:13: hosts[a.example].names[0]: "A.example": the host at hosts[a.example] has this name already
f.yaml:6:24: hosts[a.example].names[1]: "*": a * stands for the first labels only, as in *.example.com
f.yaml:6:29: hosts[a.example].names[2]: "b:80": a name is without port
f.yaml:7:14: hosts[a.example].listing: "yes" is neither true nor false; write true
f.yaml:8:14: hosts[b.example]: a mapping of keys to values is needed, not the single value "/srv/b"
f.yaml:11:17: hosts[c.example].deny[1]: "x" is not a network, an address, all or unix
f.yaml:12:12: hosts[c.example].class: "slow" is not a path, which limits.paths has
f.yaml:13:12: hosts[c.example].index[0]: "a/b" is not a file name
f.yaml:14:21: hosts[c.example].cache_control[0]: cache control rule "a*b*c": not a path or a pattern with one *
f.yaml:15:15: hosts[c.example].headers[0]: header rule "/": Date cannot be set: the server alone can be right about it
f.yaml:16:19: hosts[c.example].error_pages[200]: 200 is not the status of a failure
f.yaml:16:28: hosts[c.example].error_pages[404]: "y" is not an absolute path of a file below the root
f.yaml:17:15: hosts[c.example].symlinks: "some" is not one of inside, follow, deny
f.yaml:19:7: hosts[c.example].locations[/a]: "/a": a prefix is a directory: write /a/, or = /a for this path alone
f.yaml:20:7: hosts[c.example].locations[/]: the location / is the host itself: write what is said of it there
f.yaml:21:7: hosts[c.example].locations[/b//c/]: "/b//c/": a prefix is a path as requests have it when they are decoded: it begins with / and has no empty, . and .. segments
f.yaml:22:7: hosts[c.example].locations[d/]: "d/": a prefix is a path as requests have it when they are decoded: it begins with / and has no empty, . and .. segments
f.yaml:23:20: hosts[c.example].locations[/e/].alias: there is a root too: which of them is meant?
f.yaml:23:42: hosts[c.example].locations[/e/].types[a]: content type of "a": "b": not type/subtype
f.yaml:24:13: hosts[c.example].locations[/f/].alais: unknown key "alais"; did you mean alias?
f.yaml:26:3: locations[/g/]: neither a root nor an alias, and there is no root around it
`

// A key with a port is a host of its own, at the listeners of the port.
func TestHostListeners(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f.yaml", `
listen: [":80", "127.0.0.1:8080"]
tls: {listen: [":443"], cert: c, key: k}
hosts:
  a.example: {root: /a, listen: [":80", ":443"], default: true}
  a.example:8080: {root: /b}
  "[::1]": {root: /c}
  "[::1]:80": {root: /c}
  b.example: {root: /d, listen: [":81"]}
  c.example:81: {root: /d}
  d.example: {root: /d, listen: ":80", tls: {cert: c, key: k}}
`)
	_, err := sources(t, nil, "--config", dir+"/f.yaml").Load()
	want := `f.yaml:8:3: hosts[[::1]:80]: "[::1]": the host at hosts[[::1]] has this name already
f.yaml:9:34: hosts[b.example].listen[0]: ":81" is none of the addresses of listen and tls.listen: :80, 127.0.0.1:8080, :443
f.yaml:10:3: hosts[c.example:81]: "c.example:81": no listener has this port
f.yaml:11:45: hosts[d.example].tls: the host listens at no address of tls.listen`
	if got := strings.ReplaceAll(fmt.Sprint(err), dir+"/", ""); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	write(t, dir, "f.yaml", "listen: [\":80\", \"127.0.0.1:8080\"]\nroot: /r\nhosts: {a.example: {listen: \":80\", default: true}, a.example:8080: {names: b.example}}")
	write(t, dir, "g.yaml", "root: /r\nlisten: [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nhosts: {a.example: {}}")
	load(t, sources(t, nil, "--config", dir+"/g.yaml"))
	c := load(t, sources(t, nil, "--config", dir+"/f.yaml")).Server()
	if h := c.Hosts[0]; h.ID != "" || !reflect.DeepEqual(h.Names, []string{"a.example"}) || !reflect.DeepEqual(h.Listen, []string{":80"}) || !h.Default {
		t.Errorf("%+v", h)
	}
	if h := c.Hosts[1]; h.ID != "a.example:8080" || !reflect.DeepEqual(h.Names, []string{"a.example", "b.example"}) || !reflect.DeepEqual(h.Listen, []string{"127.0.0.1:8080"}) || h.Default {
		t.Errorf("%+v", h)
	}
}

// What is denied around a place is denied there, too, unless it allows the very network or a
// smaller one; the other rules take the place of those around them.
func TestAccessIsInherited(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f.yaml", `
root: /r
deny: [198.51.100.0/24, all]
allow: [10.0.0.0/8]
password_file: users
realm: outer
satisfy: any
referers: [a.example]
allow_agents: [a]
deny_agents: [b]
locations:
  /in/: {}
  /all/: {allow: [all], referers: [all], allow_agents: [".*"], password_file: "off"}
  /deny/: {deny: [192.0.2.1], deny_agents: [c], password_file: other, satisfy: all, realm: inner, referers: [none]}
hosts:
  h.example:
    allow: [198.51.100.7]
    locations:
      /in/: {allow: [198.51.100.0/24]}
`)
	c := load(t, sources(t, nil, "--config", dir+"/f.yaml")).Server()
	type rules struct {
		password, realm          string
		either                   bool
		referers, agents, denied string
		in, out, lan             bool // 198.51.100.7, 203.0.113.1, 10.0.0.1
	}
	of := func(s server.Site) rules {
		allows := func(a string) bool { return s.Access.Allows(netip.MustParseAddr(a), false) }
		return rules{strings.TrimPrefix(s.PasswordFile, dir+"/"), s.Realm, s.Either, strings.Join(s.Referers, " "), strings.Join(s.AllowAgents, " "),
			strings.Join(s.DenyAgents, " "), allows("198.51.100.7"), allows("203.0.113.1"), allows("10.0.0.1")}
	}
	outer := rules{"users", "outer", true, "a.example", "a", "b", false, false, true}
	host := outer
	host.in, host.lan = true, false
	for name, got := range map[string]struct{ got, want rules }{
		"above":   {of(c.Site), outer},
		"/in/":    {of(c.Locations[2].Site), outer},
		"/all/":   {of(c.Locations[0].Site), rules{"", "", false, "all", ".*", "b", false, true, true}},
		"/deny/":  {of(c.Locations[1].Site), rules{"other", "inner", false, "none", "a", "b c", false, false, true}},
		"host":    {of(c.Hosts[0].Site), host},
		"host in": {of(c.Hosts[0].Locations[0].Site), host},
	} {
		if got.got != got.want {
			t.Errorf("%s: %+v, want %+v", name, got.got, got.want)
		}
	}
}

// What a location denies is denied there, although it is allowed around it; nobody else is let in for that.
func TestDeniedWithinAllowed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f.yaml", `
root: /r
allow: [10.0.0.0/8, 192.0.2.1, unix]
locations:
  /all/: {deny: [all]}
  /net/: {deny: [10.0.0.0/7]}
  /own/: {deny: [all], allow: [10.0.0.0/8]}
  /part/: {deny: [10.1.0.0/16]}
  /same/: {deny: [192.0.2.0/24, 10.0.0.0/8, unix]}
`)
	c := load(t, sources(t, nil, "--config", dir+"/f.yaml")).Server()
	for i, want := range []string{"", "192.0.2.1 unix", "10.0.0.1 10.1.0.1", "10.0.0.1 192.0.2.1 unix", ""} {
		var got []string
		a := c.Locations[i].Access
		for _, s := range []string{"10.0.0.1", "10.1.0.1", "192.0.2.1", "203.0.113.1"} {
			if a.Allows(netip.MustParseAddr(s), false) {
				got = append(got, s)
			}
		}
		if a.Allows(netip.Addr{}, true) {
			got = append(got, "unix")
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s answers %v, want %s", c.Locations[i].Match, got, want)
		}
	}
}

func TestAccessFaults(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f.yaml", `
root: /r
allow: []
satisfy: some
locations:
  /a/: {allow: [], deny: [], referers: ["http://a"], allow_agents: ["("], deny_agents: [""]}
`)
	_, err := sources(t, nil, "--config", dir+"/f.yaml").Load()
	want := "f.yaml:4:10: satisfy: \"some\" is not one of all, any\n" +
		"f.yaml:6:16: locations[/a/].allow: an empty list might mean everybody or nobody: leave the key out for what is around it, or write all; nobody is deny: [all]\n" +
		"f.yaml:6:41: locations[/a/].referers[0]: referer \"http://a\": without the scheme\n" +
		"f.yaml:6:69: locations[/a/].allow_agents[0]: user agent \"(\": error parsing regexp: missing closing ): `(`\n" +
		"f.yaml:6:89: locations[/a/].deny_agents[0]: user agent \"\": it is empty, and matches everything: ^$ matches a request without the field"
	if got := strings.ReplaceAll(fmt.Sprint(err), dir+"/", ""); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
