package config

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Rendering says how Render writes.
type Rendering struct {
	// Origins adds a comment to each value that says where it comes from; nil:
	// no comments.
	Origins Origins
	// Secrets shows secret values.
	Secrets bool

	only func(path string) bool // nil: everything
}

// Render writes c as YAML, in the order of the fields. With Secrets it is a file
// that can be read again, apart from what is not of the file.
func (r Rendering) Render(c *Config) ([]byte, error) {
	root := r.section(reflect.ValueOf(c).Elem(), "")
	if len(root.Content) == 0 {
		return nil, nil
	}
	return yaml.Dump(root)
}

func (r Rendering) section(v reflect.Value, prefix string) *yaml.Node {
	m := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for sf := range structFields(v.Type()) {
		key := sf.Tag.Get("key")
		if key == "" {
			continue
		}
		path, e := prefix+key, v.FieldByIndex(sf.Index)
		if isSection(sf.Type) {
			if s := r.section(e, path+"."); len(s.Content) > 0 {
				m.Content = append(m.Content, text(key), s)
			}
			continue
		}
		if r.only != nil && !r.only(path) {
			continue
		}
		r.add(m, key, r.value(fieldAt(path), e, path), path)
	}
	return m
}

// comment says where a value comes from.
func (r Rendering) comment(path string) string {
	if r.Origins == nil {
		return ""
	}
	return "# " + strings.ReplaceAll(r.Origins.Of(path).String(), "\n", " ")
}

func (r Rendering) value(f *field, v reflect.Value, path string) *yaml.Node {
	if f.secret && !r.Secrets {
		return text(hide(textOf(v)))
	}
	return r.child(v, path)
}

// child writes the value of a key of a section or a record.
func (r Rendering) child(v reflect.Value, path string) *yaml.Node {
	switch v.Kind() {
	case reflect.Pointer:
		return r.element(v.Elem())
	case reflect.Slice:
		return r.list(v, path)
	case reflect.Map:
		return r.table(v, path)
	}
	return r.element(v)
}

// record writes an entry of a table that is a group of fields: those that it sets.
func (r Rendering) record(v reflect.Value, path string) *yaml.Node {
	m := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for sf := range structFields(v.Type()) {
		if e := v.FieldByIndex(sf.Index); !e.IsZero() {
			at := path + "." + sf.Tag.Get("key")
			if sf.Tag.Get("secret") != "" && !r.Secrets {
				r.add(m, sf.Tag.Get("key"), text(hidden), at)
				continue
			}
			r.add(m, sf.Tag.Get("key"), r.child(e, at), at)
		}
	}
	if len(m.Content) == 0 {
		m.Style = yaml.FlowStyle
	}
	return m
}

// add adds a key and its value to a mapping, with the comment on where that comes
// from.
func (r Rendering) add(m *yaml.Node, key string, n *yaml.Node, path string) {
	k := text(key)
	if n.Kind == yaml.ScalarNode || n.Style == yaml.FlowStyle {
		n.LineComment = r.comment(path)
	} else {
		k.LineComment = r.comment(path)
	}
	m.Content = append(m.Content, k, n)
}

func (r Rendering) list(v reflect.Value, path string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	if v.Len() == 0 {
		n.Style = yaml.FlowStyle
	}
	for i := range v.Len() {
		e := r.element(v.Index(i))
		r.note(e, path, element(path, i))
		n.Content = append(n.Content, e)
	}
	return n
}

// note comments on a part whose origin is its own.
func (r Rendering) note(n *yaml.Node, whole, part string) {
	if r.Origins != nil && r.Origins.Of(part) != r.Origins.Of(whole) {
		n.LineComment = r.comment(part)
	}
}

func (r Rendering) table(v reflect.Value, path string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	if v.Len() == 0 {
		n.Style = yaml.FlowStyle
	}
	for _, k := range sortedKeys(v) {
		at := fmt.Sprintf("%s[%v]", path, k)
		if isSection(v.Type().Elem()) {
			n.Content = append(n.Content, r.element(k), r.record(v.MapIndex(k), at))
			continue
		}
		e := r.element(v.MapIndex(k))
		r.note(e, path, at)
		n.Content = append(n.Content, r.element(k), e)
	}
	return n
}

// element writes one value: as text, or as a mapping if it has several parts.
func (r Rendering) element(v reflect.Value) *yaml.Node {
	if l, ok := v.Interface().(Limit); ok && l == (Limit{Rate: l.Rate}) {
		return text(l.Rate.String())
	}
	if p, ok := v.Interface().(ErrorPage); ok && p.Status == 0 || v.IsZero() && v.Kind() == reflect.Struct {
		return text(textOf(v))
	}
	if v.Kind() == reflect.Struct {
		return r.parts(v)
	}
	if v.Kind() == reflect.Map || v.Kind() == reflect.Slice {
		n := r.child(v, "")
		n.Style = yaml.FlowStyle
		return n
	}
	n := text(textOf(v))
	switch v.Interface().(type) {
	case bool:
		n.Tag = "!!bool"
	case int, FileMode:
		n.Tag = "!!int"
	}
	return n
}

// parts writes a mapping of the parts that are set.
func (r Rendering) parts(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Style: yaml.FlowStyle}
	for sf := range structFields(v.Type()) {
		if e := v.FieldByIndex(sf.Index); !e.IsZero() || sf.Tag.Get("required") != "" {
			n.Content = append(n.Content, text(sf.Tag.Get("key")), r.element(e))
		}
	}
	return n
}

func text(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }
