package nginxconf

import (
	"bufio"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/fserve/fserve/server"
)

// rule is one of access, in the order of nginx: the first that matches counts.
type rule struct {
	allow bool
	text  string
	net   netip.Prefix // not valid: unix or all
}

func doAccess(t *translator, s *scope, d *directive) {
	s.fresh("access")
	r := rule{allow: d.name == "allow", text: strings.TrimSuffix(d.arg(0), ":")}
	if p, err := netip.ParsePrefix(r.text); err == nil {
		r.net = p.Masked()
	} else if a, err := netip.ParseAddr(r.text); err == nil {
		r.net = netip.PrefixFrom(a, a.BitLen())
	} else if r.text != "all" && r.text != "unix" {
		t.leave(s, d, "not a network, an address, unix or all")
		return
	}
	list, _ := s.settings["access"].([]rule)
	s.settings["access"] = append(list[:len(list):len(list)], r)
}

// close lets nobody in, for a directive that is not understood.
func (t *translator) close(s *scope, d *directive, why string) {
	s.fresh("closed")
	s.settings["closed"] = true
	t.leave(s, d, why+"; nobody is let in")
}

// doPassword reads auth_basic and auth_basic_user_file, which only together ask for a password.
func doPassword(t *translator, s *scope, d *directive) {
	value := d.arg(0)
	if strings.Contains(value, "$") {
		t.close(s, d, "a password has no variables")
		return
	}
	if d.name == "auth_basic_user_file" {
		s.settings["user_file"] = value
		if other := oldHash(value); other != "" {
			t.leave(s, d, "passwords are bcrypt here (htpasswd -B), and "+other+" has another")
		}
	} else {
		s.settings["realm_of"] = value
	}
	s.began["password_file"] = true
}

// oldHash returns the first user of a file whose password is not hashed by bcrypt; empty: none, or
// there is no such file here.
func oldHash(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		user, hash, ok := strings.Cut(strings.TrimSpace(lines.Text()), ":")
		if ok && user[:min(1, len(user))] != "#" && !strings.HasPrefix(hash, "$2") {
			return user
		}
	}
	return ""
}

func doSatisfy(_ *translator, s *scope, d *directive) {
	s.began["satisfy"] = true
	s.settings["satisfy_of"] = d.arg(0)
}

// asked reports whether a place asks for a password; without a file nobody has one.
func (set settings) asked() (file, realm string, ok bool) {
	realm, _ = set["realm_of"].(string)
	file, _ = set["user_file"].(string)
	return file, realm, realm != "" && realm != "off"
}

// guard writes who is let in.
func guard(out, set settings) {
	rules, _ := set["access"].([]rule)
	file, realm, asks := set.asked()
	closed := set["closed"] == true || asks && file == ""
	either := asks && !closed && set["satisfy_of"] == "any"
	switch {
	case closed:
		rules = []rule{{text: "all"}}
	case asks:
		out["password_file"], out["realm"] = file, realm
	}
	if either && len(rules) > 0 {
		out["satisfy"] = "any"
		rules = append(rules[:len(rules):len(rules)], rule{text: "all"}) // whom no rule lets in needs a password
	}
	access(out, rules)
	if list, ok := set["referers"].([]string); ok {
		out["referers"] = list
	}
	if list, ok := set["deny_agents"].([]string); ok {
		out["deny_agents"] = list
	}
}

// doReferers notes the pages that may refer here; an if about $invalid_referer makes a rule of it.
func doReferers(t *translator, s *scope, d *directive) {
	s.fresh("valid_referers")
	list, _ := s.settings["valid_referers"].([]string)
	for _, r := range d.args {
		if re, ok := strings.CutPrefix(r, "~"); ok {
			r = "~ (?i)" + re
		}
		if err := server.CheckAccessRule(true, r); err != nil {
			t.close(s, d, err.Error())
			return
		}
		list = append(list, r)
	}
	s.settings["valid_referers"] = list
}

// checkReferers makes a rule of what a scope says of referers, after it is read.
func (t *translator) checkReferers(s *scope) {
	list, ok := s.settings["valid_referers"].([]string)
	if s.refererIf == nil || !ok {
		return // without valid_referers no referer is invalid
	}
	if around, ok := s.settings["referers"].([]string); ok && !slices.Equal(around, list) {
		t.close(s, s.refererIf, "both lists of referers hold in nginx, and one does here")
		return
	}
	s.began["referers"] = true
	s.settings["referers"] = list
}

// agentIf makes a rule of a condition about User-Agent.
func (t *translator) agentIf(s *scope, d *directive, words []string) {
	re := strings.Trim(strings.Join(words[min(2, len(words)):], " "), `"'`)
	op := ""
	if len(words) > 1 {
		op = words[1]
	}
	switch op {
	case "~*":
		re = "(?i)" + re
	case "~":
	case "=":
		re = "^" + regexp.QuoteMeta(re) + "$"
	default:
		t.close(s, d, "programs are refused by deny_agents, and this names those that are not")
		return
	}
	if err := server.CheckAccessRule(false, re); err != nil {
		t.close(s, d, err.Error())
		return
	}
	list, _ := s.settings["deny_agents"].([]string)
	s.began["deny_agents"] = true
	s.settings["deny_agents"] = append(list[:len(list):len(list)], re)
}

// holds reports whether a condition about a variable holds for a value; ok is false if that cannot
// be told.
func holds(words []string, value string) (yes, ok bool) {
	if len(words) < 2 {
		return value != "" && value != "0", len(words) == 1
	}
	text := strings.Trim(strings.Join(words[2:], " "), `"'`)
	op, not := strings.CutPrefix(words[1], "!")
	switch op {
	case "=":
		return (value == text) != not, true
	case "~", "~*":
		if op == "~*" {
			text = "(?i)" + text
		}
		re, err := regexp.Compile(text)
		return err == nil && re.MatchString(value) != not, err == nil
	}
	return false, false
}

// pathIf refuses the paths in which a pattern matches.
func (t *translator) pathIf(s *scope, d, answer *directive, words []string) {
	text := strings.Trim(strings.Join(words[min(2, len(words)):], " "), `"'`)
	if len(words) < 3 || words[1] != "~" && words[1] != "~*" || words[0] == "$request_uri" && strings.ContainsAny(text, "?&=%") {
		t.close(s, d, "of conditions about paths there are patterns only")
		return
	}
	t.refusePaths(s, d, words[1], text, answer.arg(0))
}

// refusePaths answers the paths of a pattern with a status, before all other locations.
func (t *translator) refusePaths(s *scope, d *directive, sign, text, status string) {
	if _, err := regexp.Compile(text); err != nil {
		t.leave(s, d, "patterns are of RE2: it closes all in which "+loosen(text)+" matches")
		text = loosen(text)
	}
	if status == "444" {
		status = "404"
	}
	l := newScope(&s.server.scope)
	l.match, l.rank, l.answers["respond"] = sign+" "+text, rankFirst, status
	s.server.places = append(s.server.places, l)
}

// meets reports whether a condition about scheme or name may hold for requests of a server, whose
// listen and server_name stand before it.
func (s *host) meets(words []string) bool {
	var values []string
	switch words[0] {
	case "$scheme":
		values = []string{"http", "https"}
	case "$https":
		values = []string{"", "on"}
	default:
		values = s.names
		if len(values) == 0 || slices.ContainsFunc(values, func(n string) bool { return strings.HasPrefix(n, "*") }) {
			return true
		}
	}
	if scheme := words[0] == "$scheme" || words[0] == "$https"; scheme && len(s.listens) > 0 {
		if !slices.ContainsFunc(s.listens, func(l listen) bool { return !l.tls }) {
			values = values[1:]
		} else if !s.isTLS() {
			values = values[:1]
		}
	}
	return slices.ContainsFunc(values, func(v string) bool { yes, ok := holds(words, v); return yes || !ok })
}
