package record

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

// Responses counts responses by row of Rows and first digit of the status.
type Responses [][6]uint64

// Rows gives hosts the rows that their responses are counted in. A name keeps
// its row as long as the server runs, also while it is not configured: counters do
// not go back. Assign is for one goroutine at a time, and must have been called before
// anything is counted.
type Rows struct {
	byName map[string]int           // Assign's
	names  atomic.Pointer[[]string] // by row; replaced, not changed
}

// Assign returns the rows of hosts by their names, and gives new ones theirs.
func (r *Rows) Assign(hosts []string) []int {
	var names []string
	if r.byName == nil {
		r.byName = map[string]int{"default": rowDefault, "other": rowOther}
		names = make([]string, firstRow)
		names[rowDefault], names[rowOther] = "default", "other"
	} else {
		names = append(names, *r.names.Load()...)
	}
	out := make([]int, 0, len(hosts))
	for _, host := range hosts {
		row, known := r.byName[host]
		switch {
		case known:
		case len(names) < firstRow+maxCountedHosts:
			row = len(names)
			r.byName[host] = row
			names = append(names, host)
		default:
			row = rowOther
		}
		out = append(out, row)
	}
	r.names.Store(&names)
	return out
}

// Resize makes room for the hosts that there are.
func (c *Responses) Resize(r *Rows) {
	for len(*c) < len(*r.names.Load()) {
		*c = append(*c, [6]uint64{})
	}
}

// Add adds those of another loop, which may know fewer hosts.
func (c *Responses) Add(o Responses) {
	for len(*c) < len(o) {
		*c = append(*c, [6]uint64{})
	}
	for row := range o {
		for class, n := range o[row] {
			(*c)[row][class] += n
		}
	}
}

// status returns the counts of all hosts together.
func (c Responses) status() (sum [6]uint64) {
	for row := range c {
		for class, n := range c[row] {
			sum[class] += n
		}
	}
	return sum
}

// Named returns the counts with the names of the hosts. That of the hosts without a
// name is left out while there is nothing in it.
func (c Responses) Named(r *Rows) []HostStats {
	names := *r.names.Load()
	out := make([]HostStats, 0, len(c))
	for row := range c {
		if row != rowOther || c[row] != [6]uint64{} {
			out = append(out, HostStats{names[row], c[row]})
		}
	}
	return out
}
