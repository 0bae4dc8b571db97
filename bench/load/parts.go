package load

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// partsSpan is how many bytes of the file a request for several ranges covers:
// between two of them lies a gap as long as they are, so that no server takes
// them for one.
func (c *Config) partsSpan() int64 { return (2*int64(c.Parts) - 1) * c.PartLen }

// partRequests renders requests for several ranges each.
func (c *Config) partRequests(path, extra string) [][]byte {
	rng := rand.New(rand.NewPCG(1, 2)) // the same ranges for every server
	requests := make([][]byte, rangeCount)
	for i := range requests {
		off := c.RangeFrom + rng.Int64N(c.RangeOf-c.RangeFrom-c.partsSpan()+1)
		requests[i] = render(c.Addr, path, extra+"Range: "+RangeValue(off, c.PartLen, c.Parts)+"\r\n")
	}
	return requests
}

// RangeValue returns the value of a Range field that asks for n ranges of size
// bytes with gaps of as much, the first at off.
func RangeValue(off, size int64, n int) string {
	var b strings.Builder
	for i := range int64(n) {
		first := off + 2*i*size
		fmt.Fprintf(&b, ",%d-%d", first, first+size-1)
	}
	return "bytes=" + b.String()[1:]
}
