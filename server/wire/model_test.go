package wire

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// model is a reading of RFC 9112 that is as plain as can be: it cuts the text at
// every CRLF and matches the parts. It collects all faults of a head instead of
// the first one, so that it says nothing about their order.
type model struct {
	complete bool // the empty line is there
	length   int
	faults   map[int]bool // statuses

	method, target, path, query, host string
	hasQuery                          bool
	form                              Form
	minor                             int
	fields                            [][2]string
	contentLength                     int64
	chunked, keepAlive, expect        bool
}

const tokenPattern = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"

var (
	tokenRE     = regexp.MustCompile(`^` + tokenPattern + `$`)
	versionRE   = regexp.MustCompile(`^HTTP/([0-9])\.([0-9])$`)
	authorityRE = regexp.MustCompile(`^(?:([a-zA-Z0-9._~!$&'()*+,;=-]*)|\[([0-9a-fA-F:.]+)(?:%[a-zA-Z0-9._~!$&'()*+,;=%-]+)?\])(:[0-9]*)?$`)
	absoluteRE  = regexp.MustCompile(`^(?i:https?)://([^/?]+)(/[^?]*)?(\?.*)?$`)
	badPctRE    = regexp.MustCompile(`%([^0-9a-fA-F]|.[^0-9a-fA-F]|.?$)`)
	numberRE    = regexp.MustCompile(`^[0-9]+$`)
)

func (m *model) fault(status int, when bool) {
	if when {
		m.faults[status] = true
	}
}

func readModel(data []byte, lim Limits) *model {
	m := &model{faults: make(map[int]bool), contentLength: -1}
	text := string(data)
	rest := strings.TrimPrefix(text, "\r\n")
	// An empty line at the very beginning is the end of a head without request line.
	head, _, found := strings.Cut("\r\n"+rest, "\r\n\r\n")
	if !found {
		return m
	}
	m.complete = true
	m.length = len(text) - len(rest) + len(head) - 2 + 4
	m.fault(431, m.length > lim.MaxHead)
	lines := strings.Split(head, "\r\n")[1:]
	if len(lines) == 0 {
		m.fault(400, true)
		return m
	}
	for _, line := range lines {
		m.fault(400, strings.ContainsAny(line, "\r\n"))
	}
	m.requestLine(lines[0], lim)
	m.fault(431, len(lines)-1 > lim.MaxFields)
	for _, line := range lines[1:] {
		m.fieldLine(line)
	}
	m.rules()
	return m
}

func (m *model) requestLine(line string, lim Limits) {
	parts := strings.SplitN(line, " ", 3)
	m.method = parts[0]
	m.fault(400, !tokenRE.MatchString(m.method))
	m.fault(501, len(m.method) > 32)
	if len(parts) > 1 {
		m.target = parts[1]
		m.fault(414, len(m.target) > lim.MaxTarget)
		m.readTarget()
	}
	if len(parts) < 3 {
		m.fault(400, true)
		return
	}
	version := versionRE.FindStringSubmatch(parts[2])
	if version == nil {
		m.fault(400, true)
		return
	}
	m.fault(505, version[1] != "1")
	if version[2] != "0" {
		m.minor = 1
	}
}

func (m *model) readTarget() {
	for _, c := range []byte(m.target) {
		m.fault(400, c <= ' ' || c == 0x7f || strings.IndexByte(`"#<>`, c) >= 0)
	}
	var query string
	switch abs := absoluteRE.FindStringSubmatch(m.target); {
	case m.method == "CONNECT":
		m.form, m.host = AuthorityForm, m.target
		m.fault(400, !goodAuthority(m.target) || strings.HasSuffix(m.target, ":") || !strings.Contains(m.target, ":") ||
			strings.HasSuffix(m.target, "]"))
		return
	case m.target == "*" && m.method == "OPTIONS":
		m.form = AsteriskForm
		return
	case abs != nil:
		m.form, m.host, m.path, query = AbsoluteForm, abs[1], abs[2], abs[3]
		m.fault(400, !goodAuthority(m.host))
		if m.path == "" {
			m.path = "/"
		}
	case strings.HasPrefix(m.target, "/"):
		m.path, _, _ = strings.Cut(m.target, "?")
		query = m.target[len(m.path):]
	default:
		m.fault(400, true)
		return
	}
	m.fault(400, badPctRE.MatchString(latin1(m.path)))
	if query != "" {
		m.query, m.hasQuery = query[1:], true
	}
}

// latin1 makes each byte one character, which is what package regexp matches.
func latin1(s string) string {
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
	}
	return string(runes)
}

func goodAuthority(s string) bool {
	parts := authorityRE.FindStringSubmatch(s)
	if parts == nil {
		return false
	}
	if strings.HasPrefix(s, "[") {
		if a, err := netip.ParseAddr(parts[2]); err != nil || !a.Is6() {
			return false
		}
	} else if parts[1] == "" && s != "" {
		return false
	}
	if port := parts[3]; len(port) > 1 {
		n, err := strconv.Atoi(port[1:])
		return err == nil && n <= 65535
	}
	return true
}

func (m *model) fieldLine(line string) {
	name, value, found := strings.Cut(line, ":")
	m.fault(400, !found || !tokenRE.MatchString(name))
	for _, c := range []byte(value) {
		m.fault(400, c < ' ' && c != '\t' || c == 0x7f)
	}
	m.fields = append(m.fields, [2]string{name, strings.Trim(value, " \t")})
}

// values returns the values of a field, line by line.
func (m *model) values(name string) []string {
	var v []string
	for _, f := range m.fields {
		if strings.EqualFold(f[0], name) {
			v = append(v, f[1])
		}
	}
	return v
}

// members returns the non-empty members of a list field in lower case.
func (m *model) members(name string) []string {
	var all []string
	for _, line := range m.values(name) {
		for _, s := range strings.Split(line, ",") {
			if s = strings.Trim(s, " \t"); s != "" {
				all = append(all, asciiLower(s))
			}
		}
	}
	return all
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func (m *model) rules() {
	hosts := m.values("Host")
	m.fault(400, len(hosts) > 1 || len(hosts) == 0 && m.minor == 1)
	for _, h := range hosts {
		m.fault(400, !goodAuthority(h))
		if m.form == OriginForm || m.form == AsteriskForm {
			m.host = h
		}
	}
	lengths, codings := m.values("Content-Length"), m.values("Transfer-Encoding")
	m.fault(400, len(lengths) > 1)
	for _, l := range lengths {
		n, err := strconv.ParseInt(l, 10, 64)
		m.fault(400, err != nil || !numberRE.MatchString(l))
		m.contentLength = n
	}
	if len(codings) > 0 {
		m.fault(400, len(lengths) > 0 || m.minor == 0)
		m.chunked = len(codings) == 1 && asciiLower(codings[0]) == "chunked"
		// Either status says that the coding is not taken.
		m.fault(400, !m.chunked)
		m.fault(501, !m.chunked)
	}
	connection := m.members("Connection")
	m.keepAlive = !slices.Contains(connection, "close") &&
		(m.minor == 1 || slices.Contains(connection, "keep-alive"))
	if m.minor == 1 {
		for _, e := range m.members("Expect") {
			m.expect = true
			m.fault(417, e != "100-continue")
		}
	}
}

// differs compares a parsed head to the model, both of which took it.
func (m *model) differs(h *Head) string {
	var fields [][2]string
	for name, value := range h.Fields {
		fields = append(fields, [2]string{string(name), string(value)})
	}
	switch {
	case h.Len() != m.length:
		return "length"
	case string(h.Method()) != m.method:
		return "method"
	case string(h.Target()) != m.target:
		return "target"
	case h.Form != m.form:
		return "form"
	case string(h.Path()) != m.path:
		return "path"
	case string(h.Query()) != m.query || (h.Query() != nil) != m.hasQuery:
		return "query"
	case string(h.Host()) != m.host:
		return "host"
	case int(h.Minor) != m.minor:
		return "minor"
	case h.ContentLength != m.contentLength:
		return "content length"
	case h.Chunked != m.chunked:
		return "chunked"
	case h.KeepAlive != m.keepAlive:
		return "keep-alive"
	case h.Expect100 != m.expect:
		return "expect"
	case !slices.Equal(fields, m.fields):
		return "fields"
	}
	for f := noField + 1; f < numField; f++ {
		if m.fieldDiffers(h, f) {
			return f.String()
		}
	}
	return ""
}

func (m *model) fieldDiffers(h *Head, f Field) bool {
	values := m.values(f.String())
	if len(values) == 0 {
		return h.Get(f) != nil || h.Repeated(f)
	}
	want := values[0]
	if lists>>f&1 != 0 {
		want = strings.Join(values, ", ")
	}
	return h.Get(f) == nil || string(h.Get(f)) != want || h.Repeated(f) != (len(values) > 1)
}
