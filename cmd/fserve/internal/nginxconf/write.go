package nginxconf

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// ordered is a mapping in the order of its keys.
type ordered []entry

type entry struct {
	key   string
	value any
}

// node writes a value as YAML.
func node(v any) *yaml.Node {
	switch v := v.(type) {
	case *yaml.Node:
		return v
	case []string:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Style: yaml.FlowStyle}
		for _, e := range v {
			n.Content = append(n.Content, node(e))
		}
		return n
	case []ordered:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, e := range v {
			n.Content = append(n.Content, node(e))
		}
		return n
	case ordered:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Style: yaml.FlowStyle}
		for _, e := range v {
			n.Content = append(n.Content, node(e.key), node(e.value))
		}
		return n
	case accessLog:
		return node(v.within(nil))
	case map[string]any:
		var list ordered
		for _, k := range slices.Sorted(maps.Keys(v)) {
			list = append(list, entry{k, v[k]})
		}
		return node(list)
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(v)}
	case int:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprint(v)}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: fmt.Sprint(v)}
}

// block is a mapping of several lines while it is written.
type block struct{ *yaml.Node }

func newBlock() block { return block{&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}} }

func (b block) add(key string, value any, notes ...Note) {
	k := node(key)
	for _, n := range notes {
		k.HeadComment += "\n" + n.String()
	}
	k.HeadComment = strings.TrimPrefix(k.HeadComment, "\n")
	if strings.HasPrefix(key, "*") || strings.HasPrefix(key, "= ") {
		k.Style = yaml.DoubleQuotedStyle
	}
	b.Content = append(b.Content, k, node(value))
}

// keys are those of places, in their order, with what stands for a value that is around a place and
// not of it.
var keys = []struct {
	name  string
	unset any
}{
	{"root", nil}, {"alias", nil}, {"redirect", nil}, {"respond", nil}, {"try", nil}, {"index", []string{"index.html"}}, {"listing", false},
	{"precompressed", false}, {"compress", "off"}, {"symlinks", "inside"}, {"error_pages", ordered{}}, {"cache_control", []string{}}, {"headers", []string{}},
	{"attachment", []string{}}, {"types", ordered{}}, {"default_type", "application/octet-stream"}, {"max_ranges", 64},
	{"allow", []string{"all"}}, {"deny", nil}, {"satisfy", "all"}, {"password_file", "off"}, {"realm", nil}, {"referers", []string{"all"}}, {"deny_agents", nil},
	{"class", "/"}, {"hsts", "off"}, {"access_log", accessLog{}},
	{"secure_link", "off"}, {"secure_link_md5", nil},
}

// final returns what a place says, made of what its directives say.
func (t *translator) final(set settings, match string) settings {
	out := make(settings)
	for _, k := range keys {
		if v, ok := set[k.name]; ok {
			out[k.name] = v
		}
	}
	control := []string{}
	for _, key := range []string{"expires", "control"} {
		if v, ok := set[key].(string); ok {
			control = append(control, v)
		}
	}
	if set["gzip"] == true {
		out["compress"] = compression(set)
	}
	if len(control) > 0 {
		out["cache_control"] = []ordered{{{"match", "/"}, {"value", strings.Join(control, ", ")}}}
	}
	guard(out, set)
	if value, ok := set["hsts"].(string); ok {
		t.secured(out, value, match == "/")
	}
	if rate, _ := set["limit_rate"].(string); rate != "" {
		after, _ := set["limit_rate_after"].(string)
		out["class"] = t.class(match, class{rate + "/s", after})
	}
	if out["index"] != nil && slices.Equal(out["index"].([]string), []string{"index.html"}) {
		delete(out, "index")
	}
	return out
}

// secured writes Strict-Transport-Security: as hsts of a host that speaks TLS, otherwise as the field
// that it is.
func (t *translator) secured(out settings, value string, ofHost bool) {
	switch {
	case t.top["tls.listen"] == nil:
		list, _ := out["headers"].([]ordered)
		out["headers"] = append(slices.Clone(list), ordered{{"match", "/"}, {"name", "Strict-Transport-Security"}, {"value", value}})
	case ofHost:
		out["hsts"] = hsts(value)
	}
}

// class returns the name of a class of limits: that of the place if nothing else has it.
func (t *translator) class(match string, c class) string {
	name := "/"
	if strings.HasPrefix(match, "/") && len(t.servers) == 1 { // it is that of other hosts, too
		name = match
	}
	for n, have := range t.classes {
		if have == c {
			return n
		}
	}
	if _, taken := t.classes[name]; taken || name == "/" {
		name = "/limit-" + strings.ToLower(strings.NewReplacer("/s", "", "iB", "").Replace(c.rate)+c.after) + "/"
	}
	t.classes[name] = c
	return name
}

// access writes rules of which the first that matches counts as ones of which the smallest does.
func access(out settings, rules []rule) {
	var allow, deny []string
	var seen []rule
	last := "allow"
	for _, r := range rules {
		if r.text == "all" {
			if !r.allow {
				last = "deny"
			}
			break
		}
		shadowed := slices.ContainsFunc(seen, func(b rule) bool {
			return b.text == r.text || b.net.IsValid() && r.net.IsValid() && b.net.Bits() <= r.net.Bits() && b.net.Contains(r.net.Addr())
		})
		switch seen = append(seen, r); {
		case shadowed:
		case r.allow:
			allow = append(allow, r.text)
		default:
			deny = append(deny, r.text)
		}
	}
	switch {
	case last == "deny" && len(allow) == 0:
		allow, deny = nil, []string{"all"}
	case last == "allow" && len(deny) == 0:
		allow = nil
	case last == "allow" && len(allow) > 0:
		allow = append(allow, "all")
	}
	if allow != nil {
		out["allow"] = allow
	}
	if deny != nil {
		out["deny"] = deny
	}
}

// difference is what a place has to say inside another one.
func difference(own, around settings) settings {
	out := make(settings)
	for _, k := range keys {
		v, has := own[k.name]
		outer, had := around[k.name]
		switch {
		case has && (!had || same(v) != same(outer)):
			out[k.name] = v
		case !has && had && k.unset != nil:
			out[k.name] = k.unset
		}
	}
	if l, ok := out["access_log"].(accessLog); ok {
		out["access_log"] = l.within(around["access_log"])
	}
	_, allow := out["allow"]
	_, deny := out["deny"]
	if allow || deny { // they go together
		delete(out, "allow")
		delete(out, "deny")
		for _, key := range []string{"allow", "deny"} {
			if v, ok := own[key]; ok {
				out[key] = v
			}
		}
		if own["allow"] == nil && own["deny"] == nil {
			out["allow"] = []string{"all"}
		}
	}
	return out
}

// same is equal for equal values.
func same(v any) string { return fmt.Sprintf("%T%v", v, v) }

// put writes a place into a mapping.
func (b block) put(say, answers settings) {
	all := maps.Clone(say)
	maps.Copy(all, answers)
	if all["alias"] != nil {
		delete(all, "root")
	}
	if all["respond"] != nil || all["redirect"] != nil {
		delete(all, "try")
	}
	for _, k := range keys {
		if v, ok := all[k.name]; ok {
			b.add(k.name, v)
		}
	}
}

// answered returns what a place answers with. What is found by a pattern has no alias, and no file.
func (s *scope) answered() settings {
	if s.answers["alias"] == nil || strings.HasPrefix(s.match, "/") || strings.ContainsAny(s.match[:1], "=^") {
		return s.answers
	}
	out := maps.Clone(s.answers)
	delete(out, "alias")
	if out["redirect"] == nil && out["respond"] == nil {
		out["respond"] = "404"
	}
	return out
}

// places writes the locations of a server.
func (t *translator) places(b block, s *scope, host settings) {
	if len(s.places) == 0 {
		return
	}
	list := newBlock()
	seen := make(map[string]bool)
	for _, l := range s.places {
		path := strings.TrimPrefix(l.match, "^~ ")
		if seen[path] {
			n := Note{"", "location " + l.match, "there is one of this path already"}
			t.left = append(t.left, n)
			list.Content[len(list.Content)-2].HeadComment += "\n" + n.String()
			continue
		}
		seen[path] = true
		in := newBlock()
		say := difference(t.final(l.settings, l.match), host)
		delete(say, "hsts")                   // it is the host's
		if strings.HasPrefix(l.match, "= ") { // one file has no more
			delete(say, "index")
			delete(say, "listing")
		}
		in.put(say, l.answered())
		if len(in.Content) == 0 {
			in.Style = yaml.FlowStyle
		}
		list.add(l.match, in.Node, l.notes...)
	}
	b.add("locations", list.Node)
}

// write writes all of it.
func (t *translator) write() ([]byte, error) {
	hosts, base := t.arrange()
	out := newBlock()
	t.general(out)
	around := t.final(t.main.settings, "/")
	if base != nil {
		around = t.final(base.own(), "/")
		out.put(around, base.answers)
		t.places(out, &base.scope, around)
	} else {
		delete(around, "root")
		out.put(around, nil)
	}
	list := newBlock()
	for _, h := range hosts {
		in := newBlock()
		if len(h.names) > 1 {
			in.add("names", h.names[1:])
		}
		if h.bound != nil {
			in.add("listen", h.bound)
		}
		if h.fallback {
			in.add("default", true)
		}
		t.secure(in, h)
		host := t.final(h.own(), "/")
		if base != nil && host["root"] == nil && h.answers["redirect"] == nil && h.answers["respond"] == nil {
			host["root"] = defaultRoot
		}
		in.put(difference(host, around), h.answers)
		t.places(in, &h.scope, host)
		list.add(cmp.Or(h.key, h.names[0]), in.Node, h.notes...)
	}
	if len(hosts) > 0 {
		out.add("hosts", list.Node)
	}
	t.limits(out)
	out.HeadComment = "Written by fserve import nginx."
	if len(t.left) > 0 {
		out.HeadComment += " What it could not say stands in comments."
	}
	for _, n := range t.left {
		if slices.Contains(t.main.notes, n) || base != nil && slices.Contains(base.notes, n) {
			out.HeadComment += "\n" + n.String()
		}
	}
	return yaml.Dump(out.Node)
}

// defaultRoot is where packages of nginx have what they serve when nothing else is said.
const defaultRoot = "/usr/share/nginx/html"

// own are the settings of a server with those of its location /.
func (s *host) own() settings {
	if s.whole != nil {
		return s.whole
	}
	return s.settings
}

// general writes what is of the whole server.
func (t *translator) general(b block) {
	sections := make(map[string]block)
	if t.top["trusted_proxies"] != nil && !t.clientHeader {
		t.top["client_header"] = "x-real-ip" // as in nginx
	}
	if t.top["tls.listen"] == nil {
		delete(t.top, "tls.http2") // it is spoken by TLS only
	}
	for _, path := range []string{"listen", "tls.listen", "tls.cert", "tls.key", "tls.unknown_name", "tls.min_version", "tls.ciphers", "tls.http2", "proxy_protocol", "trusted_proxies",
		"client_header", "workers", "pin", "pid_file", "timeouts.header", "timeouts.idle", "timeouts.body", "timeouts.send", "timeouts.drain",
		"log.file", "log.level"} {
		v, ok := t.top[path]
		if !ok {
			continue
		}
		name, key, inside := strings.Cut(path, ".")
		if !inside {
			b.add(name, v)
			continue
		}
		if _, begun := sections[name]; !begun {
			sections[name] = newBlock()
			b.add(name, sections[name].Node)
		}
		sections[name].add(key, v)
	}
	var bounds ordered
	for _, key := range []string{"requests", "downloads"} {
		if v, ok := t.top["admission.client."+key]; ok {
			bounds = append(bounds, entry{key, v})
		}
	}
	if bounds != nil {
		b.add("admission", ordered{{"client", bounds}})
	}
}

// limits writes the classes.
func (t *translator) limits(b block) {
	if len(t.classes) == 0 {
		return
	}
	paths, all := newBlock(), newBlock()
	for _, name := range slices.Sorted(maps.Keys(t.classes)) {
		c := t.classes[name]
		limit := ordered{{"connection", c.rate}}
		if c.after != "" {
			limit = append(limit, entry{"after", c.after})
		}
		paths.add(name, limit)
	}
	all.add("paths", paths.Node)
	b.add("limits", all.Node)
}

// secure writes the certificates of a host, which the default is not.
func (t *translator) secure(b block, h *host) {
	var list []ordered
	for _, p := range h.pairs {
		if p.cert != t.top["tls.cert"] {
			list = append(list, ordered{{"cert", p.cert}, {"key", cmp.Or(p.key, p.cert)}})
		}
	}
	switch {
	case len(list) == 1:
		b.add("tls", list[0])
	case len(list) > 1:
		b.add("tls", list)
	}
}
