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
	page int // from 1
}

// ParseView reads ?sort=name|size|time&order=asc|desc&page=N. Sorting that it
// does not know is by name; ok is false for a page that cannot be.
func ParseView(query string) (v View, ok bool) {
	q, _ := url.ParseQuery(query) // what cannot be read is left out
	v = View{sort: sortKey(q.Get("sort")), desc: q.Get("order") == "desc", page: 1}
	if v.sort != sortSize && v.sort != sortTime {
		v.sort = sortName
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
	if v.page > 1 {
		q += "&page=" + strconv.Itoa(v.page)
	}
	return q
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
			order = strings.Compare(a.name, b.name)
		}
		if v.desc {
			return -order
		}
		return order
	})
}
