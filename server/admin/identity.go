package admin

import (
	"math"
	"time"
)

func tokensVerified(s *scrape, e emitter) {
	good, bad, unknown := s.identity.Verified()
	e.put(float64(good), "good")
	e.put(float64(bad), "bad")
	e.put(float64(unknown), "unknown")
}

func keyAges(s *scrape, e emitter) {
	for issuer, from := range s.identity.Sources() {
		age := math.NaN()
		if !from.Fetched.IsZero() {
			age = time.Since(from.Fetched).Seconds()
		}
		e.put(age, issuer)
	}
}

func keyFailures(s *scrape, e emitter) {
	for issuer, from := range s.identity.Sources() {
		e.put(float64(from.Failures), issuer)
	}
}

func tierResponses(s *scrape, e emitter) {
	for tier, n := range s.identity.TierResponses() {
		e.put(float64(n), tier)
	}
}
