package listing

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// jsonEntry is an entry of a listing as JSON.
type jsonEntry struct {
	Name  string `json:"name"`
	Size  int64  `json:"size"`  // bytes; 0 for a directory
	Mtime string `json:"mtime"` // RFC 3339, UTC
	Dir   bool   `json:"dir"`
}

// json renders the page as an array.
func (l *listing) json() ([]byte, error) {
	out := make([]jsonEntry, 0, len(l.entries))
	for i := range l.entries {
		e := &l.entries[i]
		out = append(out, jsonEntry{Name: e.name, Size: e.size, Mtime: e.utc().Format(time.RFC3339), Dir: e.dir})
	}
	body, err := json.Marshal(out)
	return append(body, '\n'), err
}

// data is what the template shows.
type data struct {
	Title           string
	Style           template.CSS
	Crumbs          []crumb
	Columns         []column
	Parent          bool
	Page, Pages     int
	Total, MostRead string // numbers for people
	Prev, Next      string // queries, empty: none
	First, Last     string
	Partial, Empty  bool
	Search, All     string // what is searched for; the query without it
	Sort, Order     string // hidden in the search
	Header, Readme  template.HTML
	Plain           string
}

// crumb is a directory on the way to the one that is listed, which has no Href.
type crumb struct{ Name, Href string }

type column struct {
	Name, Class, Href string
	Sort              string // of aria-sort, empty: not sorted by it
}

// html renders the page as a document without scripts.
func (l *listing) html() ([]byte, error) {
	d := data{
		Title: "Index of " + shown(l.path), Style: style, Crumbs: l.crumbs(), Columns: l.columns(),
		Parent: l.path != "/", Total: grouped(l.total), Page: l.view.page, Pages: l.pages,
		Partial: l.partial, MostRead: grouped(maxListed), Empty: l.total == 0,
		Search: l.view.search, Sort: string(l.view.sort), Order: "asc", Header: l.header, Readme: l.readme, Plain: l.plain,
	}
	if l.view.desc {
		d.Order = "desc"
	}
	all := l.view
	all.search, all.page = "", min(all.page, 1)
	d.All = all.query()
	d.Prev, d.Next = l.neighbours()
	first, last := l.view, l.view
	first.page, last.page = 1, l.pages
	d.First, d.Last = first.query(), last.query()
	var b bytes.Buffer
	b.Grow(pageSize + rowSize*len(l.entries))
	err := document.ExecuteTemplate(&b, "head", d)
	for i := range l.entries {
		b.Write(l.entries[i].appendRow(b.AvailableBuffer()))
	}
	err = errors.Join(err, document.ExecuteTemplate(&b, "foot", d))
	return b.Bytes(), err
}

// About how long a page without rows is, and a row, in bytes.
const pageSize, rowSize = 10 << 10, 320

// crumbs returns the directories from the root on. They are referred to from below, so
// that they are right wherever the root of the server is to its clients.
func (l *listing) crumbs() []crumb {
	names := strings.Split(strings.TrimSuffix(l.path, "/"), "/")
	names[0] = cmp.Or(strings.TrimPrefix(l.host, "*."), "root")
	out := make([]crumb, len(names))
	for i, name := range names {
		out[i] = crumb{shown(name), strings.Repeat("../", len(names)-1-i)}
	}
	return out
}

// columns returns the heads of the table: each leads to the listing sorted by
// it, and the one that it is sorted by to the other order.
func (l *listing) columns() []column {
	out := []column{{Name: "Name", Class: "name"}, {Name: "Size", Class: "size"}, {Name: "Modified (UTC)", Class: "time"}}
	for i, key := range []sortKey{sortName, sortSize, sortTime} {
		to := View{sort: key, desc: key != sortName, search: l.view.search}
		if key == l.view.sort {
			to.desc = !l.view.desc
			out[i].Sort = "ascending"
			if l.view.desc {
				out[i].Sort = "descending"
			}
		}
		out[i].Href = to.query()
	}
	return out
}

// appendRow appends the row of an entry. A name is escaped as the templates do it.
func (e *entry) appendRow(dst []byte) []byte {
	symbol, slash, size := `<svg aria-hidden="true"><use href="#`+icon(e.name)+`"/></svg>`, "", ""
	if e.dir {
		symbol, slash = `<svg class="dir" aria-hidden="true"><use href="#d"/></svg>`, "/"
	}
	t := e.utc()
	dst = append(append(dst, `<tr><td class="name"><a href="`...), e.href()...)
	dst = append(append(dst, `">`...), symbol...)
	dst = append(append(dst, `<bdi>`...), template.HTMLEscapeString(shown(e.name))...)
	dst = append(append(dst, `</bdi>`...), slash...)
	dst = append(dst, `</a></td><td class="size"`...)
	if !e.dir {
		size = humanSize(e.size)
		dst = append(strconv.AppendInt(append(dst, ` title="`...), e.size, 10), ` bytes"`...)
	}
	dst = append(append(append(dst, '>'), size...), `</td><td class="time"><time datetime="`...)
	dst = append(t.AppendFormat(dst, time.RFC3339), `">`...)
	return append(t.AppendFormat(dst, "2006-01-02 15:04"), "</time></td></tr>\n"...)
}

// shown returns a name as it may be shown. What orders text in two directions
// is made visible: with U+202E a name that ends in "txt.exe" would be read as one
// that ends in "exe.txt". The names themselves need none of them, since each is
// isolated from its surroundings (bdi).
func shown(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Bidi_Control, r) {
			return utf8.RuneError
		}
		return r
	}, name)
}

// grouped renders a number with its digits in groups of three.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// humanSize renders a number of bytes with three digits or four, in binary units.
func humanSize(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, unit := float64(n)/1024, 0
	for v >= 1023.5 && unit < len(sizeUnits)-1 {
		v, unit = v/1024, unit+1
	}
	if v < 9.95 {
		return fmt.Sprintf("%.1f %s", v, sizeUnits[unit])
	}
	return fmt.Sprintf("%.0f %s", v, sizeUnits[unit])
}

var sizeUnits = []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// csp lets a listing use its own style, show images of its server and search itself, and nothing
// else, so that a name that came through the escaping could do nothing either.
var csp = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
}()

const style = template.CSS(`
:root { color-scheme: light dark; --bg: #f7f8f9; --panel: #fff; --text: #1b2127; --soft: #5f6973;
  --line: #e3e6e9; --link: #0a58b0; --hover: #f0f5fb; --dir: #4385cf; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #101316; --panel: #171b1f; --text: #e4e7ea; --soft: #98a2ac;
    --line: #282e34; --link: #84bdf7; --hover: #1f262d; --dir: #6aa5e6; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.25rem 1.25rem 3rem; max-width: 64rem; background: var(--bg); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; font-variant-numeric: tabular-nums; }
a { color: var(--link); text-decoration: none; }
a:hover bdi, h1 a:hover, nav a:hover, th a:hover { text-decoration: underline; text-underline-offset: .15em; }
a:focus-visible { outline: 2px solid var(--link); outline-offset: -2px; border-radius: 5px; }
header, footer { display: flex; flex-wrap: wrap; align-items: baseline; gap: .35rem 1.5rem; padding: 0 .25rem; }
header { margin-bottom: .9rem; }
h1 { margin: 0; font-size: 1.2rem; font-weight: 600; line-height: 1.35; overflow-wrap: anywhere; }
h1 a { color: var(--soft); font-weight: 400; }
h1 span { color: var(--soft); font-weight: 400; padding: 0 .35em; opacity: .6; }
main { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; overflow: clip; }
table { width: 100%; border-collapse: collapse; }
th { position: sticky; top: 0; padding: 0; text-align: left; font-size: .8rem; font-weight: 500;
  background: var(--panel); box-shadow: inset 0 -1px var(--line); }
th a { display: block; padding: .65rem 1rem; color: var(--soft); }
th[aria-sort] a { color: var(--text); font-weight: 600; }
th[aria-sort=ascending] a::after { content: " \2191"; }
th[aria-sort=descending] a::after { content: " \2193"; }
td { padding: 0; border-top: 1px solid var(--line); vertical-align: top; }
tbody tr:first-child td { border-top: 0; }
tbody tr:hover { background: var(--hover); }
.name a { display: block; overflow-wrap: anywhere; }
td.name a { padding: .45rem 1rem .45rem 2.7rem; text-indent: -1.7rem; color: var(--text); }
tr:hover td.name a { color: var(--link); }
.size, .time { white-space: nowrap; text-align: right; width: 1%; }
td.size, td.time { padding: .45rem 1rem; color: var(--soft); }
svg { width: 1rem; height: 1rem; margin-right: .7rem; vertical-align: -.18em; fill: var(--soft); opacity: .8; }
svg[hidden] { display: none; }
svg.dir { fill: var(--dir); opacity: 1; }
.none { margin: 0; padding: 2.5rem 1rem; text-align: center; color: var(--soft); border-top: 1px solid var(--line); }
.none:only-child { border: 0; }
search { display: flex; gap: .5rem; align-items: center; margin-left: auto; width: 16rem; font-size: .87rem; white-space: nowrap; }
search form { flex: 1; }
input { width: 100%; padding: .3rem .65rem; font: inherit; color: var(--text); background: var(--panel); border: 1px solid var(--line); border-radius: 7px; }
input:focus-visible { outline: 2px solid var(--link); outline-offset: -1px; }
.text { margin-bottom: .9rem; padding: 0 .25rem; overflow-wrap: anywhere; }
.text > :first-child { margin-top: 0; }
.text > :last-child { margin-bottom: 0; }
.text img { max-width: 100%; }
.text pre { overflow-x: auto; white-space: pre-wrap; }
.text.panel { margin-top: 1rem; padding: 1rem; background: var(--panel); border: 1px solid var(--line); border-radius: 10px; }
.text table { width: auto; }
.text th, .text td { position: static; padding: .2rem .6rem; border: 1px solid var(--line); }
footer { padding-top: .9rem; color: var(--soft); font-size: .87rem; }
nav { margin-left: auto; display: flex; gap: 1.1rem; font-size: .87rem; color: var(--soft); }
@media (max-width: 40rem) {
  body { padding: 1.25rem .75rem 2rem; }
  tr { display: grid; grid-template-columns: 1fr auto; border-top: 1px solid var(--line); }
  tbody tr:first-child, thead tr { border-top: 0; }
  thead tr { grid-template-columns: 1fr auto auto; position: sticky; top: 0; background: var(--panel); box-shadow: inset 0 -1px var(--line); }
  th { position: static; width: auto; background: none; box-shadow: none; }
  td { border: 0; }
  th a, td.size { padding-left: .75rem; padding-right: .75rem; }
  td.size { width: auto; padding: .55rem .75rem 0; }
  td.name a { padding: .55rem 0 .55rem 2.45rem; }
  td.time { grid-column: 1 / 3; width: auto; padding: 0 .75rem .55rem 2.45rem; text-align: left; font-size: .82rem; line-height: 1.2; }
  tr:has(time) td.name a { padding-bottom: .15rem; }
  .up .size, .up .time { display: none; }
  search { width: 100%; }
}
`)

var document = template.Must(template.New("listing").Parse(`{{define "head"}}<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{.Title}}</title>
<style>{{.Style}}</style>
{{- if .Prev}}<link rel="prev" href="{{.Prev}}">{{end}}
{{- if .Next}}<link rel="next" href="{{.Next}}">{{end}}
</head>
<body>
<svg hidden><symbol id="d" viewBox="0 0 16 16"><path d="M1 3a1 1 0 0 1 1-1h3.6a1 1 0 0 1 .7.3L7.6 3.6H14a1 1 0 0 1 1 1V13a1 1 0 0 1-1 1H2a1 1 0 0 1-1-1z"/></symbol>
<symbol id="f" viewBox="0 0 16 16"><path d="M4 1a1 1 0 0 0-1 1v12a1 1 0 0 0 1 1h8a1 1 0 0 0 1-1V5.5L8.5 1zm.2 1.2h3.6V6.2h4v7.6H4.2z"/></symbol>
<symbol id="a" viewBox="0 0 16 16"><path d="M2 2h12v3.5H2zm.8 4.5h10.4V14H2.8zM6 8v1.4h4V8z"/></symbol>
<symbol id="i" viewBox="0 0 16 16"><path d="M2 2.5h12v11H2zm1.3 1.3v7l3-3.6 2.4 2.7 1.6-1.5 2.4 2.5V3.8zM10 5.3a1 1 0 1 1 0 2 1 1 0 0 1 0-2"/></symbol>
<symbol id="m" viewBox="0 0 16 16"><path d="M8 1.5a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13M6.4 4.8v6.4L11.4 8z"/></symbol>
<symbol id="t" viewBox="0 0 16 16"><path d="M3 1h10v14H3zm2 3v1.3h6V4zm0 3v1.3h6V7zm0 3v1.3h4V10z"/></symbol>
<symbol id="p" viewBox="0 0 16 16"><path d="m8 1 6 2.8v8.4L8 15l-6-2.8V3.8zM4 5.3v5.6l3.3 1.5V6.9zm8 0L8.7 6.9v5.5l3.3-1.5z"/></symbol>
<symbol id="s" viewBox="0 0 16 16"><path d="M8 1 2.5 3v4.5C2.5 11 4.8 13.7 8 15c3.2-1.3 5.5-4 5.5-7.5V3zM7.2 10.6 4.7 8.1l1-1 1.5 1.5 3.1-3.1 1 1z"/></symbol></svg>
<header>
<h1>{{range $i, $c := .Crumbs}}{{if $i}}<span>/</span>{{end}}{{if $c.Href}}<a href="{{$c.Href}}"><bdi>{{$c.Name}}</bdi></a>{{else}}<bdi>{{$c.Name}}</bdi>{{end}}{{end}}</h1>
<search><form><input type="search" name="q" value="{{.Search}}" placeholder="Search names" aria-label="Search names" accesskey="f" maxlength="100">
<input type="hidden" name="sort" value="{{.Sort}}"><input type="hidden" name="order" value="{{.Order}}"></form>
{{- if .Search}}<a href="{{.All}}">Show all</a>{{end}}</search>
{{template "pages" .}}</header>
{{if .Header}}<div class="text">{{.Header}}</div>
{{end}}<main>
<table>
<thead><tr>
{{- range .Columns}}<th scope="col" class="{{.Class}}"{{if .Sort}} aria-sort="{{.Sort}}"{{end}}><a href="{{.Href}}">{{.Name}}</a></th>{{end -}}
</tr></thead>
<tbody>
{{if .Parent}}<tr class="up"><td class="name"><a href="../"><svg class="dir" aria-hidden="true"><use href="#d"/></svg><bdi>..</bdi></a></td><td class="size"></td><td class="time"></td></tr>
{{end}}{{end}}
{{- define "foot"}}</tbody>
</table>
{{if .Empty}}<p class="none">{{if .Search}}No name has that in it.{{else}}This directory is empty.{{end}}</p>{{end}}
</main>
{{if .Readme}}<div class="text panel">{{.Readme}}</div>
{{else if .Plain}}<div class="text panel"><pre>{{.Plain}}</pre></div>
{{end}}<footer>
<span>{{.Total}} {{if eq .Total "1"}}entry{{else}}entries{{end}}</span>
{{- if .Partial}}<span>Not all: listing stops after {{.MostRead}} names.</span>{{end}}
{{template "pages" .}}</footer>
</body>
</html>
{{end}}{{define "pages"}}{{if gt .Pages 1}}<nav aria-label="Pages">
{{- if .Prev}}<a href="{{.First}}">First</a><a rel="prev" href="{{.Prev}}">Previous</a>{{end}}<span>Page {{.Page}} of {{.Pages}}</span>
{{- if .Next}}<a rel="next" href="{{.Next}}">Next</a><a href="{{.Last}}">Last</a>{{end}}</nav>
{{end}}{{end}}`))
