package site

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/fserve/fserve/server/httpfile"
)

// HeaderRule adds a field to the responses for the paths that match: those
// about files, listings and failures, not those that a Route's handler makes.
type HeaderRule struct {
	// Match is a pattern as in httpfile.Rule. It is compared with the path of
	// the file that is sent, and where none is with that of the request.
	Match string
	// Name and Value are the field. Of rules with one name the first that
	// matches counts.
	Name, Value string
}

// ownFields are those that the server sets itself, or that say how a message is
// framed and how its connection goes on: a rule cannot be right about them.
var ownFields = map[string]string{
	"Accept-Ranges":          "",
	"Allow":                  "",
	"Cache-Control":          "a rule of its own sets it",
	"Connection":             "",
	"Content-Disposition":    "a rule of its own sets it",
	"Content-Encoding":       "",
	"Content-Length":         "",
	"Content-Range":          "",
	"Content-Type":           "the table of types sets it",
	"Date":                   "",
	"Etag":                   "",
	"Keep-Alive":             "",
	"Last-Modified":          "",
	"Location":               "",
	"Proxy-Authenticate":     "",
	"Proxy-Authorization":    "",
	"Proxy-Connection":       "",
	"Retry-After":            "",
	"Server":                 "the server's name sets it",
	"Te":                     "",
	"Trailer":                "",
	"Transfer-Encoding":      "",
	"Upgrade":                "",
	"X-Content-Type-Options": "",
}

const hstsName = "Strict-Transport-Security"

// compileHSTS returns the line; nil: there is none.
func compileHSTS(s *Site) ([]byte, error) {
	if s.HSTS == "" {
		return nil, nil
	}
	for _, r := range s.Headers {
		if strings.EqualFold(r.Name, hstsName) {
			return nil, fmt.Errorf("header rule %q: %s is there twice: hsts sets it", r.Match, r.Name)
		}
	}
	rule := HeaderRule{Match: "/", Name: hstsName, Value: s.HSTS}
	return []byte(hstsName + ": " + s.HSTS + "\r\n"), rule.Validate()
}

// headerRules are compiled HeaderRules.
type headerRules struct {
	rules *httpfile.Rules // values are whole lines without their ends
	size  int             // bytes that all lines together have
}

func compileHeaders(rules []HeaderRule) (*headerRules, error) {
	if len(rules) == 0 {
		return nil, nil
	}
	h := &headerRules{}
	lines := make([]httpfile.Rule, 0, len(rules))
	var faults []error
	for _, r := range rules {
		faults = append(faults, checkHeader(r))
		line := r.Name + ": " + r.Value
		h.size += len(line) + len("\r\n")
		lines = append(lines, httpfile.Rule{Match: r.Match, Value: line})
	}
	var err error
	h.rules, err = httpfile.CompileRules("header", lines)
	return h, errors.Join(append(faults, err)...)
}

// Validate reports what is wrong with a rule by itself.
func (r HeaderRule) Validate() error {
	_, err := compileHeaders([]HeaderRule{r})
	return err
}

func checkHeader(r HeaderRule) error {
	if !httpfile.IsToken(r.Name) {
		return fmt.Errorf("header rule %q: %q is not a field name", r.Match, r.Name)
	}
	if why, own := ownFields[http.CanonicalHeaderKey(r.Name)]; own {
		why = cmp.Or(why, "the server alone can be right about it")
		return fmt.Errorf("header rule %q: %s cannot be set: %s", r.Match, r.Name, why)
	}
	if r.Value == "" {
		return fmt.Errorf("header rule %q: %s has no value", r.Match, r.Name)
	}
	return nil
}

// maxHeaderRoom bounds the room for header rules before each small file, in
// bytes. What needs more is not sent in one piece.
const maxHeaderRoom = 2 << 10

// room is how much the lines can add to a head, in bytes.
func (h *headerRules) room() int {
	if h == nil {
		return 0
	}
	return min(h.size, maxHeaderRoom)
}

// lines returns the lines for a path, each with its CRLF: not nil.
func (h *headerRules) lines(path string) []byte {
	out := []byte{}
	for line := range h.rules.All(path) {
		if !HasField(out, httpfile.FieldName(line)) {
			out = append(append(out, line...), "\r\n"...)
		}
	}
	return out
}

// HasField reports whether one of the field lines has the name, in any case.
func HasField(lines []byte, name string) bool {
	for line := range strings.SplitSeq(string(lines), "\r\n") {
		if strings.EqualFold(httpfile.FieldName(line), name) {
			return true
		}
	}
	return false
}

// AddMissing appends those of more whose names lines does not have.
func AddMissing(lines, more []byte) []byte {
	out := lines
	for line := range strings.SplitSeq(string(more), "\r\n") {
		if line != "" && !HasField(lines, httpfile.FieldName(line)) {
			out = append(append(out, line...), "\r\n"...)
		}
	}
	return out
}
