package server

import "sync/atomic"

// maxCountedHosts bounds the hosts whose responses are counted by name, over all
// configurations that a server has had.
const maxCountedHosts = 1000

// The rows of responses that are of no host with a name of its own.
const (
	rowDefault = iota // no host was configured for the request, or it was not understood
	rowOther          // the hosts beyond maxCountedHosts
	firstRow
)

// HostStats are the responses of a host, by first digit of their status.
type HostStats struct {
	// Host is the first name of the Host; "default" for the requests that none is for,
	// "other" for the hosts beyond the first 1,000 that there were.
	Host   string
	Status [6]uint64
}

// responseCounts are a loop's responses, by row of hostRows and first digit of the
// status.
type responseCounts [][6]uint64

// hostRows gives hosts the rows that their responses are counted in. A name keeps
// its row as long as the server runs, also while it is not configured: counters do
// not go back.
type hostRows struct {
	byName map[string]int           // guarded by Server.swapping
	names  atomic.Pointer[[]string] // by row; replaced, not changed
}

// assign gives the hosts of sites their rows. It is called before any loop has the
// sites.
func (r *hostRows) assign(t *sites) {
	var names []string
	if r.byName == nil {
		r.byName = map[string]int{"default": rowDefault, "other": rowOther}
		names = make([]string, firstRow)
		names[rowDefault], names[rowOther] = "default", "other"
	} else {
		names = append(names, *r.names.Load()...)
	}
	for _, h := range t.hosts {
		row, known := r.byName[h.name]
		switch {
		case known:
		case len(names) < firstRow+maxCountedHosts:
			row = len(names)
			r.byName[h.name] = row
			names = append(names, h.name)
		default:
			row = rowOther
		}
		h.whole.row = row
		for _, p := range h.byPath {
			p.row = row
		}
	}
	r.names.Store(&names)
}

// resize makes room for the hosts that there are.
func (c *responseCounts) resize(r *hostRows) {
	for len(*c) < len(*r.names.Load()) {
		*c = append(*c, [6]uint64{})
	}
}

// add adds those of another loop, which may know fewer hosts.
func (c *responseCounts) add(o responseCounts) {
	for len(*c) < len(o) {
		*c = append(*c, [6]uint64{})
	}
	for row := range o {
		for class, n := range o[row] {
			(*c)[row][class] += n
		}
	}
}

// status are those of all hosts together.
func (c responseCounts) status() (sum [6]uint64) {
	for row := range c {
		for class, n := range c[row] {
			sum[class] += n
		}
	}
	return sum
}

// named returns the counts with the names of the hosts. That of the hosts without a
// name is left out while there is nothing in it.
func (c responseCounts) named(r *hostRows) []HostStats {
	names := *r.names.Load()
	out := make([]HostStats, 0, len(c))
	for row := range c {
		if row != rowOther || c[row] != [6]uint64{} {
			out = append(out, HostStats{names[row], c[row]})
		}
	}
	return out
}
