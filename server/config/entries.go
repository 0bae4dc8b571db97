package config

import (
	"path/filepath"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/fserve/fserve/server/record"
)

// entries are the keys of a mapping and their values, and after them those that it merges (<<)
// and does not have itself. Keys that are no names or come twice are reported and left out.
func (f *file) entries(n *yaml.Node, path string) func(yield func(key, value *yaml.Node) bool) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		f.fault(n, path, "a mapping of keys to values is needed, not %s", kindOf(n))
		return func(func(key, value *yaml.Node) bool) {}
	}
	return func(yield func(key, value *yaml.Node) bool) {
		m := &merging{file: f, path: path, seen: make(map[string]*yaml.Node), merged: map[*yaml.Node]bool{n: true}}
		m.walk(n, yield)
	}
}

// merging is the walk over a mapping and what it merges.
type merging struct {
	*file
	path   string
	seen   map[string]*yaml.Node // by its name, the key that counts
	merged map[*yaml.Node]bool   // a mapping has nothing new to say a second time
}

func (m *merging) walk(n *yaml.Node, yield func(key, value *yaml.Node) bool) bool {
	var merges []*yaml.Node
	own := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		at, key, value := n.Content[i], resolve(n.Content[i]), n.Content[i+1]
		switch first := m.seen[key.Value]; {
		case key.Kind == yaml.ScalarNode && key.Tag == "!!merge":
			merges = append(merges, m.mappings(value)...)
		case key.Kind != yaml.ScalarNode:
			m.fault(at, m.path, "a key must be a plain name")
		case own[key.Value]:
			m.fault(at, m.path, "duplicate key %q: it is on line %d already", key.Value, first.Line)
		case first != nil: // who merges says otherwise
		default:
			m.seen[key.Value], own[key.Value] = at, true
			placed := *key
			placed.Line, placed.Column = at.Line, at.Column
			if !yield(&placed, value) {
				return false
			}
		}
	}
	for _, from := range merges {
		if m.merged[from] {
			continue
		}
		m.merged[from] = true
		if !m.walk(from, yield) {
			return false
		}
	}
	return true
}

// mappings are those that a merge names: one, or a list of them, of which the first counts most.
func (m *merging) mappings(n *yaml.Node) []*yaml.Node {
	list := []*yaml.Node{n}
	if r := resolve(n); r.Kind == yaml.SequenceNode {
		list = r.Content
	}
	var out []*yaml.Node
	for _, e := range list {
		if r := resolve(e); r.Kind == yaml.MappingNode {
			out = append(out, r)
		} else {
			m.fault(e, m.path, "<< takes a mapping or a list of them, not %s", kindOf(r))
		}
	}
	return out
}

// isExtension reports whether a key is the user's own: a place for anchors.
func isExtension(key string) bool { return strings.HasPrefix(key, "x-") }

// twice reports a value that the file has given already, with files. before its key or without.
func (f *file) twice(n *yaml.Node, path string) bool {
	o, ok := f.origins[path]
	if !ok || o.Kind != FromFile || o.Name != f.name {
		return false
	}
	f.fault(n, path, "it is given twice: at %v already", o)
	return true
}

// anchor makes the relative paths of a value begin at the directory of the configuration file.
func (f *file) anchor(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		f.anchor(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			f.anchor(v.Index(i))
		}
	case reflect.Map:
		for key, e := range v.Seq2() {
			fresh := reflect.New(e.Type()).Elem()
			fresh.Set(e)
			f.anchor(fresh)
			v.SetMapIndex(key, fresh)
		}
	case reflect.String:
		if name := v.String(); f.dir != "" && name != "" && name != LogOff && name != LogStdout && !filepath.IsAbs(name) && !strings.HasPrefix(name, record.SyslogPrefix) && !strings.Contains(name, "://") {
			v.SetString(filepath.Join(f.dir, name))
		}
	}
}
