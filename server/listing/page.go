package listing

import (
	"strings"
	"time"

	"github.com/fserve/fserve/server/httpfile"
)

// Page is a listing as the content of a response.
type Page struct {
	Type   string // value of Content-Type
	Body   []byte
	Fields []byte // more field lines, each with its CRLF
}

// render renders a listing as JSON or HTML.
func (l *listing) render(json bool) (p Page, err error) {
	p.Fields = append(p.Fields, "Cache-Control: no-cache\r\nVary: Accept\r\n"...)
	p.Fields = l.appendLink(p.Fields)
	if json {
		p.Type = "application/json"
		if l.partial {
			p.Fields = append(p.Fields, "X-Listing-Truncated: true\r\n"...)
		}
		p.Body, err = l.json()
		return p, err
	}
	p.Type = "text/html; charset=utf-8"
	p.Fields = append(append(append(p.Fields, "Content-Security-Policy: "...), csp...), "\r\n"...)
	p.Body, err = l.html()
	return p, err
}

// appendLink appends the Link field (RFC 8288) to the pages before and after.
func (l *listing) appendLink(dst []byte) []byte {
	prev, next := l.neighbours()
	var links []string
	if prev != "" {
		links = append(links, "<"+prev+`>; rel="prev"`)
	}
	if next != "" {
		links = append(links, "<"+next+`>; rel="next"`)
	}
	if len(links) == 0 {
		return dst
	}
	return append(append(append(dst, "Link: "...), strings.Join(links, ", ")...), "\r\n"...)
}

// neighbours returns the queries of the pages before and after, empty if there
// are none.
func (l *listing) neighbours() (prev, next string) {
	v := l.view
	if v.page > 1 {
		v.page--
		prev = v.query()
	}
	if v = l.view; v.page < l.pages {
		v.page++
		next = v.query()
	}
	return prev, next
}

// utc returns the instant of the entry.
func (e *entry) utc() time.Time { return time.Unix(0, e.mtime).UTC() }

// href returns the reference to the entry, relative to the directory.
func (e *entry) href() string {
	ref := string(httpfile.AppendLocation(nil, []byte(e.name), nil))
	ref = "." + strings.ReplaceAll(ref, ":", "%3A")
	if e.dir {
		ref += "/"
	}
	return ref
}
