package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"

	"github.com/fserve/fserve/server/httpfile"
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

// listingData is what the template shows.
type listingData struct {
	Title              string
	Style              template.CSS
	Crumbs             []crumb
	Columns            []column
	Parent             bool
	Rows               []row
	Total, Page, Pages int
	Prev, Next         string // queries, empty: none
	Partial            bool
	MostRead           int
}

// crumb is a directory on the way to the one that is listed.
type crumb struct{ Name, Href string }

type column struct {
	Name, Class, Href string
	Sort              string // of aria-sort, empty: not sorted by it
}

type row struct {
	Name, Href  string
	Dir         bool
	Size, Bytes string // for people, and exact
	Time, Stamp string
}

// html renders the page as a document without scripts.
func (l *listing) html() ([]byte, error) {
	d := listingData{
		Title: "Index of " + l.path, Style: listingStyle, Crumbs: l.crumbs(), Columns: l.columns(),
		Parent: l.path != "/", Total: l.total, Page: l.view.page, Pages: l.pages,
		Partial: l.partial, MostRead: maxListed,
	}
	d.Prev, d.Next = l.neighbours()
	for i := range l.entries {
		d.Rows = append(d.Rows, l.entries[i].row())
	}
	var b bytes.Buffer
	err := listingTemplate.Execute(&b, d)
	return b.Bytes(), err
}

func (l *listing) crumbs() []crumb {
	out := []crumb{{"root", "/"}}
	for end, c := range l.path {
		if c != '/' || end == 0 {
			continue
		}
		name := l.path[strings.LastIndexByte(l.path[:end], '/')+1 : end]
		href := string(httpfile.AppendLocation(nil, []byte(l.path[:end+1]), nil))
		out = append(out, crumb{name, href})
	}
	return out
}

// columns returns the heads of the table: each leads to the listing sorted by
// it, and the one that it is sorted by to the other order.
func (l *listing) columns() []column {
	out := []column{{Name: "Name", Class: "name"}, {Name: "Size", Class: "size"}, {Name: "Modified (UTC)", Class: "time"}}
	for i, key := range []sortKey{sortName, sortSize, sortTime} {
		to := listingView{sort: key, desc: key != sortName}
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

func (e *entry) row() row {
	t := e.utc()
	r := row{Name: e.name, Href: e.href(), Dir: e.dir, Time: t.Format("2006-01-02 15:04"), Stamp: t.Format(time.RFC3339)}
	if !e.dir {
		r.Size, r.Bytes = humanSize(e.size), strconv.FormatInt(e.size, 10)
	}
	return r
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

// listingCSP lets a listing use its own style and nothing else, so that a name
// that came through the escaping could do nothing either.
var listingCSP = func() string {
	sum := sha256.Sum256([]byte(listingStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'"
}()

const listingStyle = template.CSS(`
:root { color-scheme: light dark; --bg: #fbfbfa; --panel: #fff; --text: #1d2125; --soft: #68717a;
  --line: #e4e6e8; --link: #0b5cad; --hover: #f1f5f9; --dir: #b7791f; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #131619; --panel: #1a1e22; --text: #e3e6e9; --soft: #929ba4;
    --line: #2b3036; --link: #78b7f5; --hover: #22272d; --dir: #e0b050; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 3rem; max-width: 64rem; background: var(--bg); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; border-radius: 3px; }
h1 { margin: 0 0 1rem; font-size: 1.25rem; font-weight: 600; overflow-wrap: anywhere; }
h1 span { color: var(--soft); font-weight: 400; padding: 0 .35em; }
.panel { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
table { width: 100%; border-collapse: collapse; }
th { text-align: left; font-weight: 600; font-size: .8rem; border-bottom: 1px solid var(--line); }
th a { display: block; padding: .6rem 1rem; color: var(--soft); }
th[aria-sort] a { color: var(--text); }
th[aria-sort=ascending] a::after { content: " \2191"; }
th[aria-sort=descending] a::after { content: " \2193"; }
td { padding: .45rem 1rem; border-top: 1px solid var(--line); }
tbody tr:first-child td { border-top: 0; }
tbody tr:hover { background: var(--hover); }
td.name { overflow-wrap: anywhere; }
.size, .time { white-space: nowrap; text-align: right; }
td.size, td.time { color: var(--soft); font-variant-numeric: tabular-nums; }
svg { width: 1em; height: 1em; margin-right: .55em; vertical-align: -.12em; fill: var(--soft); }
svg.dir { fill: var(--dir); }
.none { padding: 2rem 1rem; text-align: center; color: var(--soft); }
footer { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; padding: .9rem .25rem; color: var(--soft); font-size: .85rem; }
footer nav { margin-left: auto; display: flex; gap: 1rem; }
@media (max-width: 40rem) {
  body { padding: 1.25rem .75rem 2rem; }
  .time { display: none; }
  td, th a { padding-left: .75rem; padding-right: .75rem; }
}
`)

var listingTemplate = template.Must(template.New("listing").Parse(`<!DOCTYPE html>
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
<symbol id="f" viewBox="0 0 16 16"><path d="M4 1a1 1 0 0 0-1 1v12a1 1 0 0 0 1 1h8a1 1 0 0 0 1-1V5.5L8.5 1zm.2 1.2h3.6V6.2h4v7.6H4.2z"/></symbol></svg>
<h1>{{range $i, $c := .Crumbs}}{{if $i}}<span>/</span>{{end}}<a href="{{$c.Href}}">{{$c.Name}}</a>{{end}}</h1>
<main class="panel">
<table>
<thead><tr>
{{- range .Columns}}<th scope="col" class="{{.Class}}"{{if .Sort}} aria-sort="{{.Sort}}"{{end}}><a href="{{.Href}}">{{.Name}}</a></th>{{end -}}
</tr></thead>
<tbody>
{{if .Parent}}<tr><td class="name"><svg class="dir"><use href="#d"/></svg><a href="../">..</a></td><td class="size"></td><td class="time"></td></tr>
{{end}}{{range .Rows}}<tr><td class="name">{{if .Dir}}<svg class="dir"><use href="#d"/></svg>{{else}}<svg><use href="#f"/></svg>{{end}}<a href="{{.Href}}">{{.Name}}{{if .Dir}}/{{end}}</a></td><td class="size"{{if .Bytes}} title="{{.Bytes}} bytes"{{end}}>{{.Size}}</td><td class="time"><time datetime="{{.Stamp}}">{{.Time}}</time></td></tr>
{{end}}</tbody>
</table>
{{if not .Total}}<p class="none">This directory is empty.</p>{{end}}
</main>
<footer>
<span>{{.Total}} {{if eq .Total 1}}entry{{else}}entries{{end}}</span>
{{- if .Partial}}<span>Not all: listing stops after {{.MostRead}} names.</span>{{end}}
{{- if gt .Pages 1}}<span>Page {{.Page}} of {{.Pages}}</span>
<nav>{{if .Prev}}<a rel="prev" href="{{.Prev}}">Previous</a>{{end}}{{if .Next}}<a rel="next" href="{{.Next}}">Next</a>{{end}}</nav>{{end}}
</footer>
</body>
</html>
`))
