package quota

import (
	"fmt"
	"strings"

	"github.com/fserve/fserve/engine/rate"
)

// Then is what becomes of responses when a quota is used up.
type Then byte

const (
	Refuse   Then = iota // new ones are refused
	Throttle             // all go on at Limit.Slow
	Cut                  // those under way end, too
)

// Limit is a quota: Bytes in each period of a Kind. The zero value is none.
type Limit struct {
	Bytes int64
	Kind  Kind
	Then  Then
	Slow  rate.Rate // of Throttle
}

// ParseLimit reads SIZE/day or SIZE/month, and after it: then refuse (the default), then cut, or then RATE. An empty
// text is the zero value.
func ParseLimit(s string) (l Limit, err error) {
	if s == "" {
		return l, nil
	}
	bad := fmt.Errorf("%q is not a quota like 20GiB/day, 500GiB/month then cut, or 20GiB/day then 200KiB/s", s)
	amount, then, _ := strings.Cut(s, " then ")
	size, unit, _ := strings.Cut(amount, "/")
	n, err := rate.ParseSize(size)
	if err != nil || n < 1 {
		return Limit{}, bad
	}
	l.Bytes = int64(n)
	switch unit {
	case "day":
		l.Kind = Day
	case "month":
		l.Kind = Month
	default:
		return Limit{}, bad
	}
	switch then {
	case "", "refuse":
	case "cut":
		l.Then = Cut
	default:
		l.Then = Throttle
		if l.Slow, err = rate.Parse(then); err != nil || l.Slow <= 0 {
			return Limit{}, bad
		}
	}
	return l, nil
}

// String returns what ParseLimit reads.
func (l Limit) String() string {
	if l.Bytes == 0 {
		return ""
	}
	text := rate.Size(l.Bytes).String() + map[Kind]string{Day: "/day", Month: "/month"}[l.Kind]
	switch l.Then {
	case Cut:
		text += " then cut"
	case Throttle:
		text += " then " + l.Slow.String()
	}
	return text
}

// Lower returns the lower of two limits, by bytes a day; of which zero is none.
func (l Limit) Lower(o Limit) Limit {
	if l.Bytes == 0 || o.Bytes != 0 && o.daily() < l.daily() {
		return o
	}
	return l
}

func (l Limit) daily() int64 {
	if l.Kind == Month {
		return l.Bytes / 30
	}
	return l.Bytes
}
