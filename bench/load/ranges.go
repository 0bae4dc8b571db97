package load

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// rangeCount is how many different ranges are asked for in turn.
const rangeCount = 4096

// Ranges says which parts of a file are asked for; the zero value: none.
type Ranges struct {
	// Of > 0 asks for ranges of BodyLen bytes at random multiples of BodyLen
	// below Of, the length of the file in bytes.
	Of int64

	// Parts > 1 asks for so many ranges of PartLen bytes in each request, anywhere
	// in [From, Of). A response then has the same length every time, which is
	// BodyLen, if all positions have the same number of digits.
	Parts         int
	PartLen, From int64
}

func (r *Ranges) validate(bodyLen int64) error {
	switch {
	case r.Parts > 1 && (r.PartLen < 1 || r.From < 0 || r.Of-r.From < r.span()):
		return fmt.Errorf("%d ranges of %d bytes do not fit between %d and %d", r.Parts, r.PartLen, r.From, r.Of)
	case r.Parts <= 1 && r.Of != 0 && r.Of < bodyLen:
		return fmt.Errorf("ranges of %d bytes do not fit into %d", bodyLen, r.Of)
	}
	return nil
}

// span is how many bytes of the file a request for several ranges covers:
// between two of them lies a gap as long as they are, so that no server takes
// them for one.
func (r *Ranges) span() int64 { return (2*int64(r.Parts) - 1) * r.PartLen }

// values returns values of Range fields, the same for every server.
func (r *Ranges) values(bodyLen int64) []string {
	rng := rand.New(rand.NewPCG(1, 2))
	values := make([]string, rangeCount)
	for i := range values {
		if r.Parts > 1 {
			values[i] = RangeValue(r.From+rng.Int64N(r.Of-r.From-r.span()+1), r.PartLen, r.Parts)
		} else {
			values[i] = RangeValue(rng.Int64N(r.Of/bodyLen)*bodyLen, bodyLen, 1)
		}
	}
	return values
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
