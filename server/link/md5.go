package link

import (
	"bytes"
	"crypto/md5" //nolint:gosec // what nginx has
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// MD5 verifies links as ngx_http_secure_link_module does with secure_link and secure_link_md5. MD5 is
// broken, and the parts of an expression may run into each other: it is for links that are there
// already. It is not changed, and safe for concurrent use.
type MD5 struct{ link, text expression }

// Visit is a request as MD5 sees it.
type Visit struct {
	Request
	Query []byte // as it came
	Unix  bool   // the client came through a Unix socket

	expires []byte
}

// expression is a text with variables of nginx.
type expression []part

// part is a text or a variable.
type part struct {
	text string
	of   func(dst []byte, v *Visit) []byte // nil: it is the text
}

var variable = regexp.MustCompile(`\$(\w+)|\$\{(\w+)\}`)

// NewMD5 compiles the values of secure_link and secure_link_md5, as $arg_md5,$arg_expires and
// $secure_link_expires$uri$remote_addr secret. The variables are $secure_link_expires, $uri,
// $remote_addr, $host, $args and $arg_NAME.
func NewMD5(link, text string) (*MD5, error) {
	l, err := compile(link)
	if err != nil {
		return nil, err
	}
	t, err := compile(text)
	if err != nil {
		return nil, err
	}
	if !variable.MatchString(link) || variable.ReplaceAllString(text, "") == "" {
		return nil, errors.New("secure_link takes its value from the request, like $arg_md5, and md5 has a secret in it")
	}
	return &MD5{l, t}, nil
}

func compile(s string) (e expression, err error) {
	last := 0
	for _, m := range variable.FindAllStringSubmatchIndex(s, -1) {
		if m[0] > last {
			e = append(e, part{text: s[last:m[0]]})
		}
		name := s[max(m[2], m[4]):max(m[3], m[5])]
		last = m[1]
		of := variables[name]
		if arg, ok := strings.CutPrefix(name, "arg_"); ok && arg != "" {
			of = func(dst []byte, v *Visit) []byte { return append(dst, argument(v.Query, arg)...) }
		}
		if of == nil {
			return nil, fmt.Errorf("the variable $%s is not known here", name)
		}
		e = append(e, part{of: of})
	}
	if strings.Contains(variable.ReplaceAllString(s, ""), "$") {
		return nil, fmt.Errorf("%q: a $ begins a variable", s)
	}
	if last < len(s) {
		e = append(e, part{text: s[last:]})
	}
	return e, nil
}

var variables = map[string]func(dst []byte, v *Visit) []byte{
	"secure_link_expires": func(dst []byte, v *Visit) []byte { return append(dst, v.expires...) },
	"uri":                 func(dst []byte, v *Visit) []byte { return append(dst, v.Path...) },
	"args":                func(dst []byte, v *Visit) []byte { return append(dst, v.Query...) },
	"host":                func(dst []byte, v *Visit) []byte { return append(dst, bytes.ToLower(withoutPort(v.Host))...) },
	"remote_addr": func(dst []byte, v *Visit) []byte {
		if v.Unix && v.Client == (netip.Addr{}) {
			return append(dst, "unix:"...)
		}
		return v.Client.Unmap().WithZone("").AppendTo(dst)
	},
}

// argument returns the first value of a parameter, whose name is compared in any case.
func argument(query []byte, name string) []byte {
	for part := range bytes.SplitSeq(query, []byte("&")) {
		if len(part) > len(name) && part[len(name)] == '=' && strings.EqualFold(string(part[:len(name)]), name) {
			return part[len(name)+1:]
		}
	}
	return nil
}

func (e expression) append(dst []byte, v *Visit) []byte {
	for i := range e {
		if p := &e[i]; p.of != nil {
			dst = p.of(dst, v)
		} else {
			dst = append(dst, p.text...)
		}
	}
	return dst
}

// Verify reports whether a request has a good link.
func (m *MD5) Verify(v *Visit) Verdict {
	var memory [512]byte
	value := m.link.append(memory[:0], v)
	value, expires, timed := bytes.Cut(value, []byte(","))
	until := int64(0)
	if timed {
		var err error
		if until, err = strconv.ParseInt(string(expires), 10, 64); err != nil || until <= 0 || expires[0] == '+' {
			return Bad
		}
	}
	value, _, _ = bytes.Cut(value, []byte("="))
	var sent [24]byte
	if base64.RawURLEncoding.DecodedLen(len(value)) > len(sent) {
		return Bad
	}
	if n, err := base64.RawURLEncoding.Decode(sent[:], value); err != nil || n != md5.Size {
		return Bad
	}
	v.expires = bytes.Clone(expires)
	sum := md5.Sum(m.text.append(nil, v)) //nolint:gosec // what nginx has
	switch {
	case subtle.ConstantTimeCompare(sum[:], sent[:md5.Size]) != 1:
		return Bad
	case until > 0 && until < v.Now:
		return Expired
	}
	return Good
}
