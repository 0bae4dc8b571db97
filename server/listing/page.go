package listing

import (
	"bytes"
	"strings"
	"time"

	"github.com/fserve/fserve/server/compress"
	"github.com/fserve/fserve/server/httpfile"
)

// Page is a listing as the content of responses, which share it.
type Page struct {
	Type   string // value of Content-Type
	Body   []byte // not to be changed
	Fields []byte // more field lines, each with its CRLF

	cache *Cache // nil: it is of an FS, and of one user
	// of, made, refs and kept are guarded by cache.mu.
	of   want
	made time.Time
	refs int  // its users
	kept bool // the cache has it
}

// Release ends the use of the Page. nil is allowed.
func (p *Page) Release() {
	if p != nil && p.cache != nil {
		p.cache.mu.Lock()
		defer p.cache.mu.Unlock()
		p.cache.release(p)
	}
}

// vary is for a page that is not compressed.
const vary = "Vary: Accept\r\n"

// render renders a listing as JSON or HTML.
func (l *listing) render(json bool) (*Page, error) {
	p, err := &Page{}, error(nil)
	p.Fields = append(p.Fields, "Cache-Control: no-cache\r\n"+vary...)
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

// compress compresses the page, if that is worth it. It varies then, whatever the client takes.
func (p *Page) compress(by *httpfile.Policy, k httpfile.Coding) error {
	level := by.Level(p.Type, int64(len(p.Body)))
	if level == 0 {
		return nil
	}
	p.Fields = bytes.Replace(p.Fields, []byte(vary), []byte("Vary: Accept, Accept-Encoding\r\n"), 1)
	if k == httpfile.Identity {
		return nil
	}
	coded, err := compress.Encode(p.Body, k, level)
	if err == nil {
		p.Body, p.Fields = coded, append(append(append(p.Fields, "Content-Encoding: "...), k.String()...), "\r\n"...)
	}
	return err
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
	if v = l.view; v.page > 0 && v.page < l.pages {
		v.page++
		next = v.query()
	}
	return prev, next
}

// utc returns the instant of the entry.
func (e *entry) utc() time.Time { return time.Unix(0, e.mtime).UTC() }

// href returns the reference to the entry, relative to the directory.
func (e *entry) href() string {
	if e.dir {
		return escape(e.name) + "/"
	}
	return escape(e.name)
}
