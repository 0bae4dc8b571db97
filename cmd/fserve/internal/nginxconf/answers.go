package nginxconf

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// doPass keeps what another program would answer from being answered with files, its source perhaps.
func doPass(t *translator, s *scope, d *directive) {
	t.leave(s, d, whyNot(d.name)+"; these paths get 404")
	if d.name == "internal" { // what is in it takes it over
		s.began["internal"], s.settings["internal"] = true, true
	}
	s.answers["respond"] = "404"
}

// doGuard closes what a rule that fserve does not have would guard.
func doGuard(t *translator, s *scope, d *directive) {
	s.fresh("closed")
	if d.arg(0) != "off" {
		t.leave(s, d, whyNot(d.name)+"; nobody is let in")
		s.settings["closed"] = true
	}
}

// variable is one of nginx in a text.
var variable = regexp.MustCompile(`\$\{?([a-z_]+|\d)\}?`)

// target writes where a redirect leads with the placeholders of fserve; empty: it cannot be.
func (s *scope) target(url string) string {
	url = strings.NewReplacer("$is_args$args", "?$args", "$is_args$query_string", "?$args").Replace(url)
	good := true
	url = variable.ReplaceAllStringFunc(url, func(v string) string {
		switch name := variable.FindStringSubmatch(v)[1]; name {
		case "host", "http_host":
			return "{host}"
		case "server_name":
			if s.server != nil && len(s.server.names) > 0 {
				return s.server.names[0]
			}
			return "{host}"
		case "request_uri":
			return "{uri}"
		case "uri", "document_uri":
			return "{path}"
		case "scheme":
			return "{scheme}"
		case "args", "query_string":
			return "{query}"
		default:
			if _, err := strconv.Atoi(name); err == nil {
				return "{" + name + "}"
			}
			good = false
			return v
		}
	})
	if !good || strings.Contains(url, "$") {
		return ""
	}
	return url
}

func doReturn(t *translator, s *scope, d *directive) {
	if s.answers["redirect"] != nil || s.answers["respond"] != nil {
		return // the first one counts
	}
	code, text := d.arg(0), d.arg(1)
	status, err := strconv.Atoi(code)
	if err != nil {
		status, text = 302, code
	}
	switch {
	case slices.Contains([]int{301, 302, 303, 307, 308}, status):
		t.redirect(s, d, status, text)
	case status == 444 && s.match == "":
		s.answers["closed"] = true
	case strings.Contains(text, "$"):
		t.leave(s, d, "an answer has no variables")
	case status == 444:
		t.remark(d, "the answer is 404")
		s.answers["respond"] = "404"
	case status == 200 || status == 204 || status >= 400 && status <= 599:
		respond := strings.TrimSpace(fmt.Sprint(status) + " " + text)
		s.answers["respond"] = respond
		typ, _ := s.settings["default_type"].(string)
		if html, ok := s.answers["type"].(string); ok {
			typ = html
		}
		if typ != "" && typ != "text/plain" && text != "" {
			s.answers["respond"] = ordered{{"status", status}, {"body", text}, {"type", typ}}
		}
	default:
		t.leave(s, d, code+" is no status of an answer without a file")
	}
}

// redirect sends the requests of a scope somewhere. A server that sends its names to https does not
// need them for more.
func (t *translator) redirect(s *scope, d *directive, status int, url string) {
	to := s.target(url)
	if to == "" {
		t.leave(s, d, "the placeholders of a redirect are {host}, {uri}, {path}, {query}, {scheme} and {1}")
		return
	}
	if host, ok := toSecure(to); ok && s.match == "" && s.server != nil {
		s.server.secured = append(s.server.secured, host)
	}
	s.answers["redirect"] = fmt.Sprintf("%d %s", status, to)
}

// toSecure returns the host of a URL of https that keeps path and query; {host} is empty.
func toSecure(url string) (host string, ok bool) {
	rest, ok := strings.CutPrefix(url, "https://")
	host, keeps := strings.CutSuffix(strings.Replace(rest, ":443", "", 1), "{uri}")
	return strings.Trim(strings.Replace(host, "{host}", "", 1), "/"), ok && keeps
}

func doRewrite(t *translator, s *scope, d *directive) {
	status := map[string]int{"permanent": 301, "redirect": 302}[d.arg(2)]
	if status == 0 && regexp.MustCompile(`^(https?://|\$scheme)`).MatchString(d.arg(1)) {
		status = 302
	}
	pattern, url := d.arg(0), d.arg(1)
	if s.server == nil {
		t.leave(s, d, "it stands in a server")
		return
	}
	if status == 0 {
		t.leave(s, d, "paths are not rewritten: try or a redirect may do it; these get 404")
		if s.match != "" {
			s.answers["respond"] = "404"
		} else {
			t.refusePaths(s, d, "~", pattern, "404")
		}
		return
	}
	if _, err := regexp.Compile(pattern); err != nil {
		t.leave(s, d, "patterns are of RE2: "+err.Error())
		return
	}
	if cut, none := strings.CutSuffix(url, "?"); none {
		url = cut
	} else if !strings.Contains(url, "$request_uri") {
		if strings.Contains(url, "?") {
			url += "&$args"
		} else {
			url += "?$args"
		}
	}
	if all := strings.Trim(pattern, "^$"); all == "" || all == "(.*)" || all == "/(.*)" {
		all = strings.NewReplacer("/$1?$args", "$request_uri", "$1?$args", "$request_uri").Replace(url)
		t.redirect(s, d, status, all)
		return
	}
	l := newScope(&s.server.scope)
	l.match, l.rank = "~ "+pattern, rankFirst
	t.redirect(l, d, status, url)
	if len(l.answers) > 0 {
		s.server.places = append(s.server.places, l)
	}
	s.notes = append(s.notes, l.notes...)
}

// harmless are conditions that keep nobody from a file who wants it: of programs that say what they
// are, and of files that are there or not.
var harmless = regexp.MustCompile(`^(!?-[fdex]|"?\$(http_accept\w*|content_\w+|ssl_(protocol|server_name|cipher)|\w*(bot|agent|crawler|spider)\w*)"?)$`)

// refusals are the answers by which conditions guard files.
var refusals = []string{"400", "401", "402", "403", "404", "405", "406", "409", "410", "418", "423", "429", "444", "451", "500", "503"}

// refuseIf makes a rule of a condition under which requests are refused, or lets nobody in.
func (t *translator) refuseIf(s *scope, d, answer *directive, words []string) {
	switch words[0] {
	case "$request_method": // others than GET and HEAD are refused in any case
		if refused, ok := holds(words, "GET"); ok && !refused {
			return
		}
	case "$http_user_agent":
		t.agentIf(s, d, words)
		return
	case "$uri", "$document_uri", "$request_uri":
		t.pathIf(s, d, answer, words)
		return
	case "$scheme", "$https", "$host", "$http_host", "$server_name":
		if !s.server.meets(words) {
			return
		}
	}
	if harmless.MatchString(words[0]) {
		t.leave(s, d, "there are no conditions")
		return
	}
	t.close(s, d, "there are no conditions")
}

// doIf reads the conditions that redirects are made of.
func doIf(t *translator, s *scope, d *directive) {
	words := strings.Fields(strings.Trim(strings.Join(d.args, " "), "()"))
	condition := strings.Join(words, " ")
	answer := directive{}
	for _, in := range d.block {
		if in.name == "return" || in.name == "rewrite" {
			answer = in
			break
		}
	}
	refused := answer.name == "return" && slices.Contains(refusals, answer.arg(0))
	switch {
	case s.server == nil || answer.name == "" || len(words) == 0:
	case s.linkIf(d, condition, answer.arg(0)):
		return
	case words[0] == "$invalid_referer":
		s.refererIf = d
		return
	case refused:
		t.refuseIf(s, d, &answer, words)
		return
	case slices.Contains([]string{"$scheme = http", "$scheme != https", "$scheme = \"http\"", "$https =", "$https != on", "$server_port = 80",
		"$server_port != 443"}, strings.TrimSpace(condition)):
		s.server.secured = append(s.server.secured, "")
		return
	case len(words) == 3 && words[0] == "$host" && words[1] == "=":
		l := newScope(s)
		l.match = "if" // so that it is not one of the server
		doReturn(t, l, &answer)
		if to, ok := l.answers["redirect"].(string); ok {
			_, url, _ := strings.Cut(to, " ")
			if host, secure := toSecure(url); secure && (host == "" || host == words[2]) {
				s.server.secured = append(s.server.secured, words[2])
				return
			}
			s.server.moved = append(s.server.moved, moved{words[2], to})
			return
		}
	}
	t.leave(s, d, "there are no conditions")
}

// matchOf finds out the key of a location l in s.
func (t *translator) matchOf(s, l *scope, d *directive) (ok bool) {
	sign, text := d.arg(0), d.arg(1)
	if len(d.args) == 1 {
		text = strings.TrimLeft(sign, "=~^*")
		sign = strings.TrimSuffix(sign, text)
	}
	l.rank, l.within = rankServer, s.prefix
	switch {
	case strings.HasPrefix(text, "@"):
		t.leave(&s.server.scope, d, "locations have no names")
		return false
	case sign == "=":
		l.match = "= " + text
		return true
	case sign == "~" || sign == "~*":
		return t.patternOf(s, l, d, sign, text)
	case sign == "^~", strings.HasPrefix(s.match, "^~ "): // it holds for what is in it
		sign = "^~ "
	}
	l.prefix = text
	if strings.HasSuffix(text, "/") {
		if nested := slices.ContainsFunc(d.block, func(in directive) bool { return in.name == "location" && strings.HasPrefix(in.arg(0), "~") }); nested {
			sign = "" // patterns in it are asked
		}
		l.match = sign + text
		return true
	}
	answered := slices.ContainsFunc(d.block, func(in directive) bool {
		return in.name == "return" || strings.HasSuffix(in.name, "_pass") || in.name == "rewrite"
	})
	switch {
	case path.Ext(text) != "" && !answered:
		l.match = "= " + text
		return true
	case answered:
		l.match, l.rank = "~ ^"+regexp.QuoteMeta(text), rankPrefix
		if sign != "" {
			l.rank = rankNested
		}
		return true
	}
	if !guarded(d.block) {
		t.remark(d, "it is for what is below "+text+"/ here, not for all that begins with "+text)
	}
	l.match = sign + text + "/"
	return true
}

// beside returns the place of what begins with a prefix that is no directory, and is not below it: nil
// if it is served as if there were no such place.
func (s *scope) beside(d *directive) *scope {
	if s.prefix == "" || strings.HasSuffix(s.prefix, "/") || s.match[0] == '~' || !guarded(d.block) {
		return nil
	}
	rest := *s
	rest.match, rest.rank, rest.notes = "~ ^"+regexp.QuoteMeta(s.prefix), rankPrefix, nil
	if s.match[0] != '=' {
		rest.match += "([^/]|$)"
		if s.answers["alias"] != nil && !s.guards() { // the path itself leads to the directory
			rest.match = strings.TrimSuffix(rest.match, "([^/]|$)") + "[^/]"
		}
	}
	if s.match[0] == '^' {
		rest.rank = rankNested
	}
	return &rest
}

var (
	suffixes = regexp.MustCompile(`^\\(\.[a-zA-Z0-9]+)\$$`)
	hidden   = regexp.MustCompile(`^(\^/|/|\(\^\|/\)|\(\?:\^\|/\))\\\.(ht|\(\?!well-known|$|git|[a-z(|]+)`)
)

// patternOf finds out the key of a location with a regular expression.
func (t *translator) patternOf(s, l *scope, d *directive, sign, text string) (ok bool) {
	if hidden.MatchString(text) && !alternatives(text) && refuses(d.block) {
		return false // names that begin with a dot are not served
	}
	if _, err := regexp.Compile(text); err != nil {
		if !guarded(d.block) {
			t.leave(&s.server.scope, d, "patterns are of RE2: "+err.Error())
			return false
		}
		text = loosen(text)
		l.fresh("closed")
		l.settings["closed"] = true
		t.leave(l, d, "patterns are of RE2: it closes all in which "+text+" matches")
	}
	if s.match != "" || s.prefix != "" {
		l.rank = rankNested
		l.match, ok = t.nest(s, d, sign, text)
		return ok
	}
	l.match, l.pattern = sign+" "+text, sign+" "+text
	if m := suffixes.FindStringSubmatch(text); m != nil {
		l.match = "*" + m[1]
	}
	return true
}

// refuses reports whether a block refuses everybody, and does nothing else.
func refuses(block []directive) bool {
	refused := false
	for _, d := range block {
		switch {
		case d.name == "deny" && d.arg(0) == "all", d.name == "return" && (d.arg(0) == "404" || d.arg(0) == "403" || d.arg(0) == "444"):
			refused = true
		case !slices.Contains(silent, d.name) && d.name != "access_log":
			return false
		}
	}
	return refused
}
