package site

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fserve/fserve/server/httpfile"
)

// Respond is an answer without a file. The zero value is none.
type Respond struct {
	// Status is 200, 204, or that of a failure. Default: 200.
	Status int
	// Body is the content. Without it a failure has the error page of its status.
	Body string
	// Type is the media type of Body. Default: text/plain.
	Type string
}

// respond is a compiled Respond.
type respond struct {
	status int
	typ    string
	body   []byte
}

// compileRespond returns nil for the zero value.
func compileRespond(r Respond, pol *httpfile.Policy) (*respond, error) {
	if r == (Respond{}) {
		return nil, nil
	}
	status, typ := r.Status, r.Type
	if status == 0 {
		status = httpfile.StatusOK
	}
	if typ == "" {
		typ = "text/plain"
	}
	switch _, err := httpfile.NewPolicy(httpfile.Config{DefaultType: typ}); {
	case status != httpfile.StatusOK && status != httpfile.StatusNoContent && !isFailure(status):
		return nil, fmt.Errorf("status %d: 200, 204 or that of a failure is needed", status)
	case status == httpfile.StatusNoContent && r.Body != "":
		return nil, errors.New("an answer with the status 204 has no body")
	case err != nil:
		return nil, fmt.Errorf("type %q: not type/subtype", typ)
	}
	return &respond{status, pol.Typed(typ), []byte(r.Body)}, nil
}

// isFailure reports whether a status is one of failures that can be sent.
func isFailure(status int) bool { return status >= httpfile.StatusBadRequest && httpfile.Sends(status) }

// AttemptKind says what is tried.
type AttemptKind uint8

const (
	// AttemptFile: a file; see Attempt.Path.
	AttemptFile AttemptKind = iota
	// AttemptDir: the path, if it is a directory.
	AttemptDir
	// AttemptPath: another path, as if it had been asked for. It is the last one.
	AttemptPath
	// AttemptStatus: a failure. It is the last one.
	AttemptStatus
)

// Attempt is one of those of a Place.
type Attempt struct {
	Kind   AttemptKind
	Status int // AttemptStatus

	before, after string // AttemptFile: around the path of the request
	fixed         bool   // before is all of the path
}

// Path appends the path of an attempt for the path of a request; nil: there can be no such
// file.
func (t *Attempt) Path(dst, path []byte) []byte {
	after := t.after
	switch dir := path[len(path)-1] == '/'; {
	case t.fixed:
		path = nil
	case dir && strings.HasPrefix(after, "/"):
		after = after[1:]
	case dir:
		return nil
	}
	return append(append(append(dst, t.before...), path...), after...)
}

// Fixed reports whether the path is that of the configuration, whatever the request is.
func (t *Attempt) Fixed() bool { return t.fixed }

// tryPath stands for the path of a request.
const tryPath = "$uri"

// attempts compiles Site.Try; at is where the fault is that err says.
func (p *Place) attempts(list []string) (out []Attempt, at int, err error) {
	if len(list) > 0 && p.file != "" {
		return nil, 0, errors.New("the location has one file: there is nothing else to try")
	}
	for i, s := range list {
		t, err := parseAttempt(s, i == len(list)-1)
		switch inside := p.skip == 1 || t.fixed && strings.HasPrefix(t.before, p.prefix) || t.before == ""; {
		case err != nil:
			return nil, i, err
		case t.Kind == AttemptFile && !inside:
			return nil, i, fmt.Errorf("%q is not below %s, of which this is the alias", s, p.prefix)
		}
		out = append(out, t)
	}
	return out, 0, nil
}

func parseAttempt(s string, last bool) (Attempt, error) {
	if code, ok := strings.CutPrefix(s, "="); ok {
		status, err := strconv.Atoi(code)
		switch {
		case err != nil || !isFailure(status):
			return Attempt{}, fmt.Errorf("%q is not the status of a failure, like =404", s)
		case !last:
			return Attempt{}, fmt.Errorf("%q: a status is the last: nothing behind it is tried", s)
		}
		return Attempt{Kind: AttemptStatus, Status: status}, nil
	}
	if s == tryPath+"/" {
		return Attempt{Kind: AttemptDir}, nil
	}
	if strings.Contains(s, tryPath+" ") {
		return Attempt{}, fmt.Errorf("%q: write a list: [%s]", s, strings.Join(strings.Fields(s), ", "))
	}
	before, after, ok := strings.Cut(s, tryPath)
	if ok {
		if strings.ContainsAny(before+after, "${}?") || before != "" && !CleanPath(before) || strings.HasSuffix(after, "/") || strings.Contains(after, "//") {
			return Attempt{}, fmt.Errorf("%q is not a path with one $uri, like $uri.html", s)
		}
		return Attempt{before: strings.TrimSuffix(before, "/"), after: after}, nil
	}
	switch dir := strings.HasSuffix(s, "/"); {
	case !CleanPath(s) || strings.ContainsAny(s, "${}?"):
		return Attempt{}, fmt.Errorf("%q is none of $uri, $uri/, $uri.html, a path like /index.html, a status like =404", s)
	case dir && !last:
		return Attempt{}, fmt.Errorf("%q: only the last may be a directory", s)
	case last:
		return Attempt{Kind: AttemptPath, before: s, fixed: true}, nil
	}
	return Attempt{before: s, fixed: true}, nil
}

// Redirect sends clients elsewhere. The zero value does not.
type Redirect struct {
	// To is a URL with http or https, or a path. It may have placeholders: {uri}, the path and
	// the query of the request; {path}; {query}, without its question mark; {scheme}, http or
	// https; {host}, the name that the request is for, in hosts that have names; and in locations by pattern
	// its captures, {1} or {name}. The host is never one that a client can choose.
	// What would lead to where the request is already does not happen: the file is answered.
	To string
	// Status is 301, 302, 303, 307 or 308. Default: 302.
	Status int
}

// redirect is a compiled Redirect.
type redirect struct {
	status  int
	parts   []part
	pattern *regexp.Regexp // whose captures are asked for; nil: none are
}

// part is a piece of a URL.
type part struct {
	kind  partKind
	text  string
	group int
}

type partKind uint8

const (
	partText partKind = iota
	partHost
	partScheme
	partURI
	partPath
	partQuery
	partGroup
)

var placeholders = map[string]partKind{"host": partHost, "scheme": partScheme, "uri": partURI, "path": partPath, "query": partQuery}

// compileRedirect returns nil for the zero value. pattern is that of the location, nil if it
// has none; named says that the host has names.
func compileRedirect(r Redirect, pattern *regexp.Regexp, named bool) (*redirect, error) {
	if r == (Redirect{}) {
		return nil, nil
	}
	d := &redirect{status: r.Status}
	if d.status == 0 {
		d.status = 302
	}
	if !slices.Contains([]int{301, 302, 303, 307, 308}, d.status) {
		return nil, fmt.Errorf("status %d: one of 301, 302, 303, 307, 308 is needed", d.status)
	}
	if err := d.parse(r.To, pattern); err != nil {
		return nil, err
	}
	if err := d.checkHost(named); err != nil {
		return nil, err
	}
	return d, nil
}

// parse cuts a URL at its placeholders.
func (d *redirect) parse(to string, pattern *regexp.Regexp) error {
	for rest := to; rest != ""; {
		text, name, open := strings.Cut(rest, "{")
		if i := strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"<>\^}|`+"`", r) }); i >= 0 {
			return fmt.Errorf("%q: %q has no place in a URL, but percent-encoded", to, text[i:i+1])
		}
		if text != "" {
			d.parts = append(d.parts, part{text: text})
		}
		if !open {
			return nil
		}
		name, after, closed := strings.Cut(name, "}")
		if !closed {
			return fmt.Errorf("%q: a { without its }", to)
		}
		p, err := placeholder(name, pattern)
		if err != nil {
			return fmt.Errorf("%q: %w", to, err)
		}
		if p.kind == partGroup {
			d.pattern = pattern
		}
		d.parts, rest = append(d.parts, p), after
	}
	return nil
}

func placeholder(name string, pattern *regexp.Regexp) (part, error) {
	if k, ok := placeholders[name]; ok {
		return part{kind: k}, nil
	}
	if pattern != nil {
		n, err := strconv.Atoi(name)
		if err != nil {
			n = pattern.SubexpIndex(name)
		}
		if n >= 1 && n <= pattern.NumSubexp() {
			return part{kind: partGroup, group: n}, nil
		}
		return part{}, fmt.Errorf("unknown placeholder {%s}: the pattern has %d captures, and there are {host}, {uri}, {path}, {query} and {scheme}", name, pattern.NumSubexp())
	}
	return part{}, fmt.Errorf("unknown placeholder {%s}: there are {host}, {uri}, {path}, {query} and {scheme}", name)
}

// checkHost makes sure that clients do not choose where they are sent.
func (d *redirect) checkHost(named bool) error {
	parts := d.parts
	if len(parts) == 0 {
		return errors.New("to is missing")
	}
	first := parts[0]
	switch {
	case first.kind == partURI, first.kind == partPath, strings.HasPrefix(first.text, "/") && !strings.HasPrefix(first.text, "//"):
		return nil
	case first.kind == partScheme && len(parts) > 1 && strings.HasPrefix(parts[1].text, "://"):
		first, parts = part{text: "https" + parts[1].text}, parts[1:]
	}
	_, authority, ok := strings.Cut(first.text, "://")
	if !ok || !strings.HasPrefix(first.text, "http://") && !strings.HasPrefix(first.text, "https://") {
		return errors.New("neither a URL with http or https, nor a path that begins with one /")
	}
	if strings.Contains(authority, "@") {
		return errors.New("a URL with a user")
	}
	for i, p := range parts {
		text := p.text
		if i == 0 {
			text = authority
		}
		switch {
		case p.kind == partText && strings.ContainsAny(text, "/?#"):
			return nil // it has ended
		case p.kind == partURI, p.kind == partPath:
			return nil
		case p.kind == partHost && !named:
			return errors.New("{host} is whatever a client says: write the name, or bind the host to its names in hosts")
		case p.kind != partText && p.kind != partHost:
			return errors.New("the host of a redirect is a name or {host}, and a / or {uri} follows it: a client could choose another")
		}
	}
	return nil
}
