package admit

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
)

// Guard says which requests for a place are answered: by the client's address, by the page
// that refers to it, by the program that asks, and by a proof. The zero value admits all.
type Guard struct {
	Access
	Referers *Referers // nil: all
	Agents   *Agents   // nil: all
	// Proof asks who the client is: for a password, or for what else says so.
	Proof bool
	// Either admits those that Access lets in without a proof. It needs rules of Access.
	Either bool
}

// Everybody reports whether all requests are admitted.
func (g *Guard) Everybody() bool {
	return g.Access.Everybody() && g.Referers == nil && g.Agents == nil && !g.Proof
}

// Visitor is what a Guard looks at.
type Visitor struct {
	Addr           netip.Addr // zero: not known
	Unix           bool       // the connection came through a Unix socket
	Referer, Agent []byte     // values of the fields; nil: the request has none
}

// Judgement is what becomes of a request.
type Judgement uint8

const (
	// Passed: it is answered.
	Passed Judgement = iota
	// Unproven: it is answered if it proves who asks.
	Unproven
	// The others are refused.
	ByAddress
	ByReferer
	ByAgent
	NoPassword    // or none that can be read
	WrongPassword // or no such user
	Crowded       // there is no room to check the password
	Insistent     // too many passwords of this client wait
	NoCredential  // nothing says who asks
	Repeated      // a field or a parameter is there twice that says who asks
	BadLink       // the link was never made, or is for something else
	ExpiredLink   // it was good
	BadKey        // there is no such key
	BadToken      // the token is not believed
	ExpiredToken  // it was good
	NoKeys        // there are no keys to verify it
	Denied        // the user, the token or the link was taken back
	NumJudgement
)

var judgements = [NumJudgement]string{
	Passed: "admitted", Unproven: "unproven", ByAddress: "address", ByReferer: "referer", ByAgent: "user_agent",
	NoPassword: "no_password", WrongPassword: "wrong_password", Crowded: "crowded", Insistent: "insistent",
	NoCredential: "no_credential", Repeated: "repeated", BadLink: "bad_link", ExpiredLink: "expired_link",
	BadKey: "bad_key", BadToken: "bad_token", ExpiredToken: "expired_token", NoKeys: "no_keys", Denied: "denied",
}

// String returns what a request was refused by.
func (v Judgement) String() string { return judgements[v] }

// Admit returns Passed, Unproven, or what the request is refused by. It does not allocate,
// but for regular expressions.
func (g *Guard) Admit(v *Visitor) Judgement {
	switch {
	case g.Referers != nil && !g.Referers.Allows(v.Referer):
		return ByReferer
	case g.Agents != nil && !g.Agents.Allows(v.Agent):
		return ByAgent
	}
	switch in := g.Allows(v.Addr, v.Unix); {
	case !g.Proof && in, g.Proof && g.Either && in && !g.Access.Everybody():
		return Passed
	case g.Proof && (in || g.Either):
		return Unproven
	}
	return ByAddress
}

// maxMatched is how much of a field regular expressions look at, in bytes: their time grows with
// it.
const maxMatched = 1 << 10

// Agents says which programs are answered, by User-Agent.
type Agents struct{ allow, deny []*regexp.Regexp }

// NewAgents compiles regular expressions (RE2); nil if there are none. A request is answered if
// none of deny matches, and one of allow if there are any. One without the field has an empty one.
func NewAgents(allow, deny []string) (*Agents, error) {
	if len(allow)+len(deny) == 0 {
		return nil, nil //nolint:nilnil // no rules
	}
	a := &Agents{}
	var faults []error
	for _, list := range []struct {
		from []string
		to   *[]*regexp.Regexp
	}{{allow, &a.allow}, {deny, &a.deny}} {
		for _, s := range list.from {
			r, err := regexp.Compile(s)
			if s == "" {
				err = errors.New("it is empty, and matches everything: ^$ matches a request without the field")
			}
			if err != nil {
				faults = append(faults, fmt.Errorf("user agent %q: %w", s, err))
			}
			*list.to = append(*list.to, r)
		}
	}
	return a, errors.Join(faults...)
}

// Allows reports whether a program is answered. One with a name of more than 1 KiB is not.
func (a *Agents) Allows(name []byte) bool {
	if len(name) > maxMatched {
		return false
	}
	return !matches(a.deny, name) && (len(a.allow) == 0 || matches(a.allow, name))
}

func matches(list []*regexp.Regexp, s []byte) bool {
	for _, r := range list {
		if r.Match(s) {
			return true
		}
	}
	return false
}
