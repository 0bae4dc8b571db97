package listing

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// sortKey is what a listing is sorted by.
type sortKey string

const (
	sortName sortKey = "name"
	sortSize sortKey = "size"
	sortTime sortKey = "time"
)

// View is what a query asks of a listing.
type View struct {
	sort sortKey
	desc bool
	page int // from 1; 0: all entries
	// search is in the names that are shown, in any case; empty: all are.
	search string
}

// maxSearch bounds what is searched for, in bytes.
const maxSearch = 100

// ParseView reads ?sort=name|size|time&order=asc|desc&page=N&q=TEXT. Sorting that it
// does not know is by name; ok is false for a page or a search that cannot be.
func ParseView(query string) (v View, ok bool) {
	q, _ := url.ParseQuery(query) // what cannot be read is left out
	v = View{sort: sortKey(q.Get("sort")), desc: q.Get("order") == "desc"}
	if v.sort != sortSize && v.sort != sortTime {
		v.sort = sortName
	}
	v.search = strings.ToLower(strings.TrimSpace(q.Get("q")))
	if len(v.search) > maxSearch {
		return v, false
	}
	if p := q.Get("page"); p != "" {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 {
			return v, false
		}
		v.page = n
	}
	return v, true
}

// query returns the query that asks for v, "?" included.
func (v View) query() string {
	q := "?sort=" + string(v.sort) + "&order=asc"
	if v.desc {
		q = "?sort=" + string(v.sort) + "&order=desc"
	}
	if v.page > 0 {
		q += "&page=" + strconv.Itoa(v.page)
	}
	if v.search != "" {
		q += "&q=" + escape(v.search)
	}
	return q
}

// matching returns the entries that are searched for.
func (v View) matching(list []entry) []entry {
	if v.search == "" {
		return list
	}
	return slices.DeleteFunc(list, func(e entry) bool { return !strings.Contains(strings.ToLower(e.name), v.search) })
}

// sortEntries sorts as v says, directories first. Equal ones are in order of
// their names.
func (v View) sortEntries(list []entry) {
	slices.SortFunc(list, func(a, b entry) int {
		if a.dir != b.dir {
			if a.dir {
				return -1
			}
			return 1
		}
		order := 0
		switch v.sort {
		case sortSize:
			order = cmp.Compare(a.size, b.size)
		case sortTime:
			order = cmp.Compare(a.mtime, b.mtime)
		}
		if order == 0 {
			order = compareNames(a.name, b.name)
		}
		if v.desc {
			return -order
		}
		return order
	})
}

// compareNames orders names as people count: digits that follow each other are a number, so
// that f2 is before f10. Names that differ in leading zeros only are in the order of
// their bytes.
func compareNames(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		switch n, m := digits(x), digits(y); {
		case n > 0 && m > 0:
			p, q := strings.TrimLeft(x[:n], "0"), strings.TrimLeft(y[:m], "0")
			if order := cmp.Or(cmp.Compare(len(p), len(q)), strings.Compare(p, q)); order != 0 {
				return order
			}
			x, y = x[n:], y[m:]
		case x[0] != y[0]:
			return cmp.Compare(x[0], y[0])
		default:
			x, y = x[1:], y[1:]
		}
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(a, b))
}

// digits returns how many of them s begins with.
func digits(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789"))
}
