package nginxconf

import (
	"strings"

	"github.com/fserve/fserve/server"
)

// secureLink is what a scope says of secure_link.
type secureLink struct {
	value, text string
	bad, over   bool // what is no good link is refused; what was one
	at          []directive
}

// doSecureLink notes a part of it; checkLinks tells what comes of it.
func doSecureLink(_ *translator, s *scope, d *directive) {
	s.link.at = append(s.link.at, *d)
	if d.name == "secure_link" {
		s.link.value = d.arg(0)
	} else {
		s.link.text = d.arg(0)
	}
}

// linkIf notes an if about $secure_link, and reports whether it is one.
func (s *scope) linkIf(d *directive, condition, status string) bool {
	switch {
	case condition == "$secure_link =" && status == "403":
		s.link.bad = true
	case condition == "$secure_link = 0" && status == "410":
		s.link.over = true
	default:
		return false
	}
	s.link.at = append(s.link.at, *d)
	return true
}

// checkLinks says that links are asked for, if all of it is there in one place. By itself secure_link
// refuses nothing in nginx, so that nobody is let in where a part is missing.
func (t *translator) checkLinks(s *scope) {
	l := &s.link
	if len(l.at) == 0 {
		return
	}
	if timed := strings.Contains(l.value, ","); l.bad && (l.over || !timed) && server.CheckSecureLink(l.value, l.text) == nil {
		s.settings["secure_link"], s.settings["secure_link_md5"] = l.value, l.text
		s.began["secure_link"] = true
		return
	}
	s.fresh("closed")
	s.settings["closed"] = true
	for i := range l.at {
		t.leave(s, &l.at[i], "secure_link and secure_link_md5 with variables that fserve has, the if with 403 and, of links that end, the one with 410 are needed in one place; nobody is let in")
	}
}
