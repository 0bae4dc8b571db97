package difftest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"regexp"
	"strconv"
	"strings"
)

// difference is one aspect of one case in which the servers differ.
type difference struct{ name, what, nginx, fserve string }

func (d difference) String() string {
	return fmt.Sprintf("%s | %s | `%s` | `%s`", d.name, d.what, d.nginx, d.fserve)
}

// compared are the fields whose values matter to clients and caches. Left out
// are Date and Server, and what other aspects cover: Content-Length by the
// length, Connection by whether the close was announced.
var compared = []string{
	"Accept-Ranges", "Allow", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language",
	"Content-Range", "Content-Type", "ETag", certificate, "Last-Modified", "Location", "Retry-After", "Vary", "X-Content-Type-Options",
}

// compare returns how two answers differ. nginx is the first.
func compare(q *request, nginx, fserve *answer) (out []difference) {
	add := func(what, n, f string) {
		if n != f {
			out = append(out, difference{q.name, what, n, f})
		}
	}
	for i := range max(len(nginx.responses), len(fserve.responses)) {
		n, f := at(nginx, i), at(fserve, i)
		suffix := ""
		if i > 0 {
			suffix = fmt.Sprintf(" #%d", i+1)
		}
		if n == nil || f == nil || n.status != f.status || n.proto != f.proto {
			// Two different answers have no more to compare.
			add("status"+suffix, n.brief(), f.brief())
			continue
		}
		for _, field := range compared {
			add(field+suffix, n.value(field), f.value(field))
		}
		add("length"+suffix, n.size(), f.size())
		add("body"+suffix, n.content(), f.content())
	}
	add("fault", nginx.fault, fserve.fault)
	if !q.ends {
		add("connection", nginx.connection(), fserve.connection())
	}
	if nginx.kept == fserve.kept {
		add("announced", nginx.announced(), fserve.announced())
	}
	return out
}

func at(a *answer, i int) *response {
	if i < len(a.responses) {
		return a.responses[i]
	}
	return nil
}

// brief tells a response from others with another status.
func (p *response) brief() string {
	switch {
	case p == nil:
		return "nothing"
	case p.proto != "HTTP/1.1":
		return p.proto + " " + strconv.Itoa(p.status)
	}
	s := strconv.Itoa(p.status)
	for _, field := range []string{"Allow", "Content-Range", "Location"} {
		if v := p.get(field); v != "" {
			s += " " + v
		}
	}
	return s
}

var entityTag = regexp.MustCompile(`^(W/)?"[!#-~\x80-\xff]*"$`)

// value is a field's value without what two servers cannot have in common.
func (p *response) value(field string) string {
	v := p.get(field)
	switch {
	case v == "":
		return "none"
	case field == "ETag" && !entityTag.MatchString(v):
		return "malformed " + v
	case field == "ETag" && strings.HasPrefix(v, "W/"):
		return "weak"
	case field == "ETag":
		return "strong"
	case field == "Content-Type" && p.boundary() != "":
		return "multipart/byteranges"
	}
	return v
}

func (p *response) boundary() string {
	typ, params, err := mime.ParseMediaType(p.fields.Get("Content-Type"))
	if err != nil || typ != "multipart/byteranges" {
		return ""
	}
	return params["boundary"]
}

// size is how the content is framed and how long it is, where that is not the
// server's own wording.
func (p *response) size() string {
	if p.framing == "length" && p.status < 300 && p.boundary() == "" {
		return strconv.FormatInt(p.length, 10)
	}
	return p.framing
}

// content is the body in comparable form.
func (p *response) content() string {
	if p.get("Content-Encoding") == "gzip" {
		if z, err := gzip.NewReader(bytes.NewReader(p.body)); err == nil { // each server has its own way
			text, err := io.ReadAll(z)
			return fmt.Sprintf("gzip of %d bytes, sha256 %x, %v", len(text), sha256.Sum256(text), err)
		}
	}
	switch b := p.boundary(); {
	case b != "" && p.body != nil:
		return parts(p.body, b)
	case bytes.Contains(p.body, []byte("<html>")):
		return "HTML page"
	case p.status >= 300 && len(p.body) > 0:
		return "text"
	case len(p.body) > 60:
		return fmt.Sprintf("%d bytes, sha256 %x", len(p.body), sha256.Sum256(p.body))
	}
	return fmt.Sprintf("%q", p.body)
}

// parts renders a multipart body: the fields and content of its parts.
func parts(body []byte, boundary string) string {
	var out []string
	for r := multipart.NewReader(bytes.NewReader(body), boundary); ; {
		part, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return strings.Join(out, ", ")
		}
		if err != nil {
			return strings.Join(append(out, err.Error()), ", ")
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return strings.Join(append(out, err.Error()), ", ")
		}
		// The type is compared as a field already, of an undivided answer.
		out = append(out, fmt.Sprintf("[%s: %.20q]", part.Header.Get("Content-Range"), content))
	}
}

func (a *answer) connection() string {
	if a.kept {
		return "kept"
	}
	return "closed"
}

// announced is what the last response said about the connection's end.
func (a *answer) announced() string {
	if len(a.responses) == 0 {
		return "nothing"
	}
	last := a.responses[len(a.responses)-1]
	if strings.EqualFold(last.get("Connection"), "close") {
		return "close"
	}
	return "keep-alive"
}
