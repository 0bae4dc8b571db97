package admit

import (
	"math/rand/v2"
	"strconv"
	"time"
)

// Fields says which answers have RateLimit and RateLimit-Policy
// (draft-ietf-httpapi-ratelimit-headers).
type Fields uint8

const (
	FieldsOff    Fields = iota // none
	FieldsNear                 // those to clients that have less than a quarter left, and refusals
	FieldsAlways               // all that are counted
)

func (f Fields) String() string { return [...]string{"off", "near", "always"}[f] }

// RetryAfter returns a wait in ns as whole seconds, and a bit more, so that those who were
// refused at a time do not come again at a time.
func RetryAfter(wait int64) int {
	n := max(1, int((wait+int64(time.Second)-1)/int64(time.Second)))
	return n + rand.IntN(min(n/5, 5)+1)
}

// Standing is how a client stands with the rate of which it has the least left. The zero value is with none.
type Standing struct {
	policy string // client, path or user
	rule   *Rule
	left   int64 // requests
	reset  int64 // ns until all are there again, or if none is left until one is
}

// near keeps the standing of which less is left.
func (s *Standing) near(policy string, r *Rule, left, reset int64) {
	if s.rule == nil || left*s.rule.most() < s.left*r.most() {
		*s = Standing{policy, r, left, reset}
	}
}

// most is how many requests may come at once.
func (r *Rule) most() int64 { return max(1, r.Burst) }

// Append appends the lines of the fields, if there are to be any. Numbers of seconds are rounded up.
func (s *Standing) Append(to []byte, f Fields) []byte {
	r := s.rule
	if f == FieldsOff || r == nil || f == FieldsNear && 4*s.left >= r.most() {
		return to
	}
	number := func(name string, n int64) {
		to = strconv.AppendInt(append(to, name...), n, 10)
	}
	seconds := func(ns int64) int64 { return (ns + int64(time.Second) - 1) / int64(time.Second) }
	to = append(append(to, `RateLimit-Policy: "`...), s.policy...)
	number(`";q=`, r.Requests)
	number(";w=", seconds(int64(r.Per)))
	to = append(append(to, "\r\nRateLimit: \""...), s.policy...)
	number(`";r=`, s.left)
	number(";t=", seconds(s.reset))
	return append(to, "\r\n"...)
}

// policyOf is what the policies of rates are called.
var policyOf = [NumReasons]string{Requests: "client", PathRequests: "path", UserRequests: "user"}
