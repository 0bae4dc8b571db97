package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// HSTS is what browsers are told about encryption: Strict-Transport-Security. In a file it is a
// line, or a mapping of the keys below. The zero value is off.
type HSTS struct {
	// MaxAge is how long browsers come by TLS only, with its unit: 1y. 0s makes them forget it.
	MaxAge Age `key:"max_age" required:"yes"`
	// Subdomains says that it holds for the subdomains, too. Default: false.
	Subdomains bool `key:"subdomains"`
	// Preload asks for a place in the lists that browsers are shipped with. Default: false.
	Preload bool `key:"preload"`
}

// Set reads MAX_AGE [subdomains] [preload], or off.
func (h *HSTS) Set(s string) error {
	*h = HSTS{}
	words := strings.Fields(s)
	if len(words) == 1 && words[0] == "off" {
		return nil
	}
	if len(words) == 0 {
		return fmt.Errorf("%q is not off or like 1y subdomains", s)
	}
	for _, w := range words[1:] {
		switch w {
		case "subdomains":
			h.Subdomains = true
		case "preload":
			h.Preload = true
		default:
			return fmt.Errorf("%q is neither subdomains nor preload", w)
		}
	}
	return h.MaxAge.Set(words[0])
}

func (h HSTS) String() string {
	if h.MaxAge == 0 {
		return "off"
	}
	s := h.MaxAge.String()
	if h.Subdomains {
		s += " subdomains"
	}
	if h.Preload {
		s += " preload"
	}
	return s
}

// value is that of the field; empty: it is off.
func (h *HSTS) value() string {
	if h.MaxAge == 0 {
		return ""
	}
	s := "max-age=" + strconv.FormatInt(max(int64(h.MaxAge), 0), 10)
	if h.Subdomains {
		s += "; includeSubDomains"
	}
	if h.Preload {
		s += "; preload"
	}
	return s
}

// preloadAge is the least that the lists of browsers take (hstspreload.org).
const preloadAge = Age(365 * 24 * 60 * 60)

// hsts checks what browsers are told.
func (v *validator) hsts(path string, h *HSTS) {
	switch {
	case h == nil || *h == HSTS{}:
	case len(v.TLS.Listen) == 0:
		v.form(path, "it is for encrypted answers, and there is no --tls-listen (listen of tls in the file)")
	case h.Preload && (!h.Subdomains || h.MaxAge < preloadAge):
		v.form(path, "preload needs subdomains and a max_age of at least 1y: without them no list takes the name")
	}
}

// Age is a long time in seconds. The zero value says nothing; 0s is below it.
type Age int64

// ageUnits are those of an Age, the longest first.
var ageUnits = []struct {
	name    string
	seconds int64
}{{"y", 365 * 86400}, {"w", 7 * 86400}, {"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}}

// Set reads a number with a unit: y (365 days), w, d, h, m or s.
func (a *Age) Set(s string) error {
	for _, u := range ageUnits {
		if number, ok := strings.CutSuffix(s, u.name); ok {
			n, err := strconv.ParseUint(number, 10, 32)
			if err != nil || n > uint64(100*365*86400/u.seconds) {
				break
			}
			if *a = Age(int64(n) * u.seconds); n == 0 { //nolint:gosec // it is bounded
				*a = -1
			}
			return nil
		}
	}
	return fmt.Errorf("%q is not a time with its unit, like 1y, 180d or 3600s", s)
}

func (a Age) String() string {
	n := max(int64(a), 0)
	for _, u := range ageUnits {
		if n > 0 && n%u.seconds == 0 {
			return strconv.FormatInt(n/u.seconds, 10) + u.name
		}
	}
	return time.Duration(0).String()
}
