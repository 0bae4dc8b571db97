package admit

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Referers says which pages may refer to what is served, by the field Referer. It keeps honest
// browsers from showing it elsewhere; everybody else can write what they like into the field.
type Referers struct {
	none, blocked bool
	hosts         []refererHost
	patterns      []*regexp.Regexp
}

// refererHost is a name or a pattern of names, with the beginning of a path.
type refererHost struct {
	name           string // in lower case, without its star
	anyHead, tails bool   // a star stood before it, or behind it
	path           string // empty: all
}

// NewReferers compiles what may refer; nil if all may. Each is a name of a host, *.example.com,
// .example.com (the name too) or example.*, each perhaps with the beginning of a path; or ~ and a
// regular expression (RE2) for what follows the scheme, in any case. There are words besides:
// server_names for names, none for requests without the field, blocked for those of which
// something on the way has taken the scheme, all.
func NewReferers(allow, names []string) (*Referers, error) {
	r := &Referers{}
	var faults []error
	all := len(allow) == 0
	for _, s := range allow {
		switch s {
		case "all":
			all = true
		case "none":
			r.none = true
		case "blocked":
			r.blocked = true
		case "server_names":
			for _, n := range names {
				_ = r.add(n) // an address of IPv6 is in no rule
			}
		default:
			if err := r.add(s); err != nil {
				faults = append(faults, fmt.Errorf("referer %q: %w", s, err))
			}
		}
	}
	if all && len(faults) == 0 {
		return nil, nil //nolint:nilnil // no rules
	}
	return r, errors.Join(faults...)
}

func (r *Referers) add(s string) error {
	if pattern, ok := strings.CutPrefix(s, "~"); ok {
		p, err := regexp.Compile("(?i)" + strings.TrimSpace(pattern))
		r.patterns = append(r.patterns, p)
		return err
	}
	name, path, _ := strings.Cut(s, "/")
	if strings.Contains(s, "/") {
		path = "/" + path
	}
	h := refererHost{name: strings.ToLower(name), path: path}
	switch {
	case strings.Contains(s, "://"):
		return errors.New("without the scheme")
	case strings.HasPrefix(h.name, "*."):
		h.name, h.anyHead = h.name[1:], true
	case strings.HasPrefix(h.name, ".") && len(h.name) > 1:
		r.hosts = append(r.hosts, refererHost{name: h.name[1:], path: path})
		h.anyHead = true
	case strings.HasSuffix(h.name, ".*"):
		h.name, h.tails = strings.TrimSuffix(h.name, "*"), true
	}
	if bare := strings.Trim(h.name, "."); bare == "" || strings.ContainsFunc(bare, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("*@?#:[]%", r) }) {
		return errors.New("not the name of a host, *.NAME, NAME.*, or ~ and a regular expression")
	}
	r.hosts = append(r.hosts, h)
	return nil
}

// Allows reports whether a page may refer, by the value of the field; nil: there is none.
func (r *Referers) Allows(value []byte) bool {
	if len(value) == 0 {
		return r.none
	}
	rest, ok := cutScheme(value)
	if !ok {
		return r.blocked
	}
	host, path := rest, []byte(nil)
	if i := bytes.IndexAny(rest, "/:?#"); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	if i := bytes.IndexByte(path, '/'); i >= 0 { // behind the port
		path = path[i:]
	}
	for i := range r.hosts {
		if r.hosts[i].matches(host, path) {
			return true
		}
	}
	return matches(r.patterns, rest[:min(len(rest), maxMatched)])
}

// cutScheme returns what follows http:// or https://.
func cutScheme(v []byte) ([]byte, bool) {
	for _, s := range []string{"https://", "http://"} {
		if len(v) > len(s) && strings.EqualFold(string(v[:len(s)]), s) {
			return v[len(s):], true
		}
	}
	return nil, false
}

func (h *refererHost) matches(host, path []byte) bool {
	if len(host) < len(h.name) || !bytes.HasPrefix(path, []byte(h.path)) {
		return false
	}
	part := host
	switch {
	case h.anyHead:
		part = host[len(host)-len(h.name):]
	case h.tails:
		part = host[:len(h.name)]
	}
	return len(part) == len(h.name) && strings.EqualFold(string(part), h.name)
}
