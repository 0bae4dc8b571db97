package admit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// rateUnits are the units of time of a Rate.
var rateUnits = []struct {
	name string
	of   time.Duration
}{{"s", time.Second}, {"min", time.Minute}, {"h", time.Hour}, {"day", 24 * time.Hour}}

const unlimited = "unlimited"

// ParseRate reads N/UNIT, N/UNIT burst N, or unlimited, which is the zero value. The units are
// s, min, h and day.
func ParseRate(s string) (Rate, error) {
	if s == unlimited {
		return Rate{}, nil
	}
	fields := strings.Fields(s)
	if n := len(fields); n != 1 && (n != 3 || fields[1] != "burst") {
		return Rate{}, notRate(s)
	}
	number, unit, _ := strings.Cut(fields[0], "/")
	var r Rate
	for _, u := range rateUnits {
		if u.name == unit {
			r.Per = u.of
		}
	}
	var err error
	if r.Requests, err = strconv.ParseInt(number, 10, 64); err != nil || r.Requests < 1 || r.Per == 0 {
		return Rate{}, notRate(s)
	}
	if len(fields) == 3 {
		if r.Burst, err = strconv.ParseInt(fields[2], 10, 64); err != nil || r.Burst < 1 {
			return Rate{}, notRate(s)
		}
	}
	if err := r.Validate(); err != nil {
		return Rate{}, fmt.Errorf("%q: %w", s, err)
	}
	return r, nil
}

func notRate(s string) error {
	return fmt.Errorf("%q is not a number of requests like 50/s, 600/min or 50/s burst 200, or unlimited (units: s, min, h, day)", s)
}

// String returns what ParseRate reads.
func (r Rate) String() string {
	if r == (Rate{}) {
		return unlimited
	}
	unit := r.Per.String()
	for _, u := range rateUnits {
		if u.of == r.Per {
			unit = u.name
		}
	}
	text := strconv.FormatInt(r.Requests, 10) + "/" + unit
	if r.Burst > 0 {
		text += " burst " + strconv.FormatInt(r.Burst, 10)
	}
	return text
}
