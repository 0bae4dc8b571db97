package record

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/fserve/fserve/engine"
)

// Template is a format of lines with the variables of nginx. It is immutable.
type Template struct {
	parts   []part
	escape  Escape
	headers [][]byte // that $http_NAME asks for: lower case, with _ for -
	needs   uint32   // variables, by bit
	fixed   int      // bytes of literals
}

// Escape is what becomes of bytes in values that could break a line or its quotes.
type Escape uint8

const (
	EscapeDefault Escape = iota // \xHH; a dash for what is not there
	EscapeJSON                  // as in a JSON string; nothing for what is not there
	EscapeNone                  // nothing but line feeds is escaped
)

// part is a literal or a variable.
type part struct {
	literal  string // empty: a variable
	variable variable
	header   int // index in Template.headers, of varHeader
}

type variable uint8

const (
	varRemoteAddr variable = iota
	varRemotePort
	varRemoteUser
	varTimeLocal
	varTimeISO
	varMsec
	varRequest
	varMethod
	varRequestURI
	varArgs
	varProtocol
	varHost
	varServerPort
	varScheme
	varStatus
	varBodyBytes
	varBytes
	varRequestTime
	varCompletion
	varHostname
	varPID
	varOutcome
	varSentBy
	varRelease
	varVersion
	varHeader
)

// variables are by name; $http_NAME is besides.
var variables = map[string]variable{
	"remote_addr": varRemoteAddr, "remote_port": varRemotePort, "remote_user": varRemoteUser,
	"time_local": varTimeLocal, "time_iso8601": varTimeISO, "msec": varMsec,
	"request": varRequest, "request_method": varMethod, "request_uri": varRequestURI, "args": varArgs, "query_string": varArgs,
	"server_protocol": varProtocol, "host": varHost, "server_port": varServerPort, "scheme": varScheme,
	"status": varStatus, "body_bytes_sent": varBodyBytes, "bytes_sent": varBytes, "request_time": varRequestTime,
	"request_completion": varCompletion, "hostname": varHostname, "pid": varPID, "outcome": varOutcome, "sent_by": varSentBy,
	"release": varRelease, "version": varVersion,
}

const (
	// maxHeaders bounds the fields of a request in a template.
	maxHeaders = 16
	// maxTemplate bounds its text, in bytes.
	maxTemplate = 4 << 10
)

// ParseTemplate compiles a format. The error says at which byte of the text it is wrong,
// counted from 1.
func ParseTemplate(text string, e Escape) (*Template, error) {
	if len(text) > maxTemplate {
		return nil, fmt.Errorf("a format has at most %d bytes", maxTemplate)
	}
	if i := strings.IndexAny(text, "\r\n"); i >= 0 {
		return nil, fmt.Errorf("at %d: a line of the log has no line feeds in it", i+1)
	}
	t := &Template{escape: e}
	for at := 0; at < len(text); {
		n := strings.IndexByte(text[at:], '$')
		if n < 0 {
			n = len(text) - at
		}
		if n > 0 {
			t.parts = append(t.parts, part{literal: text[at : at+n]})
			t.fixed += n
			at += n
			continue
		}
		name, size := variableName(text[at:])
		p, err := t.variable(name)
		if err != nil {
			return nil, fmt.Errorf("at %d: %w", at+1, err)
		}
		t.parts = append(t.parts, p)
		t.needs |= 1 << p.variable
		at += size
	}
	return t, nil
}

// variableName returns the name that text begins with, behind its dollar, and how long
// that is: $name or ${name}.
func variableName(text string) (name string, size int) {
	if strings.HasPrefix(text, "${") {
		if i := strings.IndexByte(text, '}'); i > 0 {
			return text[2:i], i + 1
		}
		return "", 2
	}
	i := 1
	for i < len(text) && (text[i] == '_' || text[i] >= '0' && text[i] <= '9' || text[i]|0x20 >= 'a' && text[i]|0x20 <= 'z') {
		i++
	}
	return text[1:i], i
}

func (t *Template) variable(name string) (part, error) {
	if v, ok := variables[name]; ok {
		return part{variable: v}, nil
	}
	header, ok := strings.CutPrefix(name, "http_")
	switch {
	case name == "":
		return part{}, errors.New("a $ without the name of a variable")
	case !ok || header == "":
		return part{}, fmt.Errorf("there is no variable $%s", name)
	}
	for i, h := range t.headers {
		if string(h) == strings.ToLower(header) {
			return part{variable: varHeader, header: i}, nil
		}
	}
	if len(t.headers) == maxHeaders {
		return part{}, fmt.Errorf("$%s is one field too many: a format has %d", name, maxHeaders)
	}
	t.headers = append(t.headers, []byte(strings.ToLower(header)))
	return part{variable: varHeader, header: len(t.headers) - 1}, nil
}

// any reports whether the template has one of some variables.
func (t *Template) any(list ...variable) bool {
	var mask uint32
	for _, v := range list {
		mask |= 1 << v
	}
	return t.needs&mask != 0
}

// headerAt returns the index of a field of a request among those of the template; -1: none.
func (t *Template) headerAt(name []byte) int {
next:
	for i, want := range t.headers {
		if len(want) != len(name) {
			continue
		}
		for j, b := range name {
			switch {
			case b >= 'A' && b <= 'Z':
				b |= 0x20
			case b == '-':
				b = '_'
			}
			if b != want[j] {
				continue next
			}
		}
		return i
	}
	return -1
}

// begin keeps what the line needs of a request.
func (t *Template) begin(rec *Record, q *Request) {
	h := q.Head
	rec.keep(fieldHost, hostOf(h.Host()), maxField)
	if t.any(varRemoteUser) {
		rec.keep(fieldUser, q.User, maxField)
	}
	if t.any(varRequest) {
		rec.keepLine(h)
	}
	if t.any(varMethod, varProtocol) {
		rec.keep(fieldMethod, h.Method(), maxField)
	}
	if t.any(varRequestURI, varArgs) {
		rec.keep(fieldTarget, h.Target(), maxRequestLine)
	}
	if t.any(varRelease, varVersion) {
		rec.keepWord(fieldRelease, q.Release)
		rec.keepWord(fieldVersion, q.Version)
	}
	clear(rec.headers[:])
	if len(t.headers) == 0 {
		return
	}
	for name, value := range h.Fields {
		if i := t.headerAt(name); i >= 0 && !rec.headers[i].there {
			rec.headers[i] = rec.put(value, maxField)
		}
	}
}

// hostOf returns a host without its port.
func hostOf(h []byte) []byte {
	if i := bytes.LastIndexByte(h, ':'); i >= 0 && bytes.IndexByte(h[i:], ']') < 0 {
		return h[:i]
	}
	return h
}

// most returns how many bytes the line of a record may have.
func (t *Template) most(r *Record) int {
	most := t.fixed + fixedParts
	for i := range t.parts {
		if p := &t.parts[i]; p.literal == "" {
			most += maxEscape * (len(t.bytesOf(p, r)) + 32)
		}
	}
	return most
}

// bytesOf returns the value of a variable that is a part of the request; nil: there is none.
func (t *Template) bytesOf(p *part, r *Record) []byte {
	switch p.variable {
	case varRequest:
		return r.field(fieldLine)
	case varMethod:
		return r.field(fieldMethod)
	case varRequestURI:
		return r.field(fieldTarget)
	case varArgs:
		_, args, _ := bytes.Cut(r.field(fieldTarget), []byte{'?'})
		return args
	case varHost:
		return r.field(fieldHost)
	case varRemoteUser:
		return r.field(fieldUser)
	case varRelease:
		return r.field(fieldRelease)
	case varVersion:
		return r.field(fieldVersion)
	case varHeader:
		return r.at(r.headers[p.header])
	}
	return nil
}

// append appends the line of a response that has ended at now (Unix ns).
func (t *Template) append(p []byte, r *Record, o *engine.Outcome, b *buffer, now int64) []byte {
	for i := range t.parts {
		if part := &t.parts[i]; part.literal != "" {
			p = append(p, part.literal...)
		} else {
			p = t.value(p, part, r, o, b, now)
		}
	}
	return append(p, '\n')
}

// value appends the value of a variable.
func (t *Template) value(p []byte, part *part, r *Record, o *engine.Outcome, b *buffer, now int64) []byte {
	switch part.variable {
	case varRequest, varMethod, varRequestURI, varArgs, varHost, varRemoteUser, varRelease, varVersion, varHeader:
		return t.appendBytes(p, t.bytesOf(part, r))
	case varTimeLocal:
		return append(p, b.local.at(now)...)
	case varTimeISO:
		return append(p, b.iso.at(now)...)
	case varMsec:
		return appendSeconds(p, now)
	case varRequestTime:
		return appendSeconds(p, o.Start-r.Began+o.Duration)
	case varRemoteAddr:
		return appendAddr(p, r.client, r.unix)
	case varRemotePort:
		return t.appendNumber(p, int64(r.peer.Port()))
	case varServerPort:
		return t.appendNumber(p, int64(r.port))
	case varStatus:
		return strconv.AppendInt(p, int64(r.status), 10)
	case varBodyBytes:
		return strconv.AppendInt(p, r.sent(o), 10)
	case varBytes:
		return strconv.AppendInt(p, o.Total(), 10)
	case varPID:
		return strconv.AppendInt(p, int64(pid), 10)
	}
	return t.appendText(p, t.word(part.variable, r, o))
}

// word returns the value of a variable that is one of few words; empty: there is none.
func (t *Template) word(v variable, r *Record, o *engine.Outcome) string {
	switch v {
	case varProtocol:
		if len(r.field(fieldMethod)) > 0 {
			return versions[r.version]
		}
	case varScheme:
		if r.encrypted {
			return "https"
		}
		return "http"
	case varCompletion:
		if o.End == engine.Complete {
			return "OK"
		}
	case varHostname:
		return hostname
	case varOutcome:
		return o.End.String()
	case varSentBy:
		return sentBy(o, r.encrypted).String()
	}
	return ""
}

var (
	hostname, _ = os.Hostname()
	pid         = os.Getpid()
)

// appendText appends a word; what is not there as the escape has it.
func (t *Template) appendText(p []byte, s string) []byte {
	if s == "" && t.escape == EscapeDefault {
		return append(p, '-')
	}
	return append(p, s...)
}

// appendNumber appends a number that is there if it is not 0.
func (t *Template) appendNumber(p []byte, n int64) []byte {
	if n == 0 {
		return t.appendText(p, "")
	}
	return strconv.AppendInt(p, n, 10)
}

func (t *Template) appendBytes(p, v []byte) []byte {
	switch {
	case len(v) == 0:
		return t.appendText(p, "")
	case t.escape == EscapeDefault:
		return appendEscaped(p, v)
	case t.escape == EscapeJSON:
		return appendJSONText(p, v)
	}
	for _, b := range v {
		if b == '\n' || b == '\r' {
			b = ' '
		}
		p = append(p, b)
	}
	return p
}

// appendSeconds appends ns as seconds, to the ms.
func appendSeconds(p []byte, ns int64) []byte {
	ms := max(ns, 0) / int64(time.Millisecond)
	p = append(strconv.AppendInt(p, ms/1000, 10), ".000"...)
	putDigits(p[len(p)-3:], int(ms%1000))
	return p
}
