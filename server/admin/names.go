package admin

import (
	"math"
	"strconv"

	"github.com/fserve/fserve/internal/aio"
)

// errorClass names an index of the errors that a driver counts.
func errorClass(i int) string { return aio.Class(i).String() }

func itoa(i int) string { return strconv.Itoa(i) }

// reuse returns which part of the responses came on connections that had served
// one before; NaN if there were none.
func (s *sums) reuse() float64 {
	if s.Responses == 0 {
		return math.NaN()
	}
	return min(float64(s.Reused)/float64(s.Responses), 1)
}
