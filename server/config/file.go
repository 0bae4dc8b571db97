package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

const (
	// maxFile bounds a configuration file, in bytes.
	maxFile = 1 << 20
	// maxProblems bounds the problems that are reported of files, and maxText the text
	// of each, in bytes.
	maxProblems = 100
	maxText     = 500
)

// build is a configuration while it is read.
type build struct {
	cfg      *Config
	origins  Origins
	problems Problems
	dir      string // in which relative paths of files begin; empty: they stay as they are
}

func newBuild() *build { return &build{cfg: Default(), origins: make(Origins)} }

// file is one file while it is read into a build.
type file struct {
	*build
	name string
}

// readFile puts the values of a file over those that are there. Its faults go to the
// problems, all of them.
func (b *build) readFile(name string, content []byte) {
	f := &file{b, name}
	if len(content) > maxFile {
		f.fault(nil, "", "more than %d bytes", maxFile)
		return
	}
	loader, err := yaml.NewLoader(bytes.NewReader(content))
	if err != nil {
		f.fault(nil, "", "%v", err)
		return
	}
	var doc, more yaml.Node
	if err := loader.Load(&doc); err != nil {
		if !errors.Is(err, io.EOF) { // empty, or comments only
			f.syntax(err, content)
		}
		return
	}
	if err := loader.Load(&more); err == nil {
		f.fault(&more, "", "a second document: a file has one")
	} else if !errors.Is(err, io.EOF) {
		f.syntax(err, content)
	}
	for _, n := range doc.Content {
		if resolve(n).Kind == yaml.ScalarNode && f.ofNginx(content) {
			return
		}
		f.section(n, reflect.ValueOf(b.cfg).Elem(), "")
	}
}

// syntax reports a file that is not YAML. The reader of characters does not tell where it
// met one that it cannot read.
func (f *file) syntax(err error, content []byte) {
	var e *yaml.LoadError
	if !errors.As(err, &e) {
		f.fault(nil, "", "%v", err)
		return
	}
	if f.ofNginx(content) {
		return
	}
	at := &yaml.Node{Line: e.Mark.Line, Column: e.Mark.Column}
	if at.Line == 0 {
		at.Line, at.Column = badCharacter(content)
	}
	if tab := tabBefore(content, at.Line); tab != nil {
		f.fault(tab, "", "not YAML: a tab: lines are indented with spaces")
		return
	}
	text := e.Message
	if strings.Contains(text, "escape character") {
		text += "; in single quotes a backslash is itself"
	}
	if e.ContextMsg != "" {
		text = e.ContextMsg + ", " + text
	}
	f.fault(at, "", "not YAML: %s", text)
}

// tabBefore returns the place of the last tab among what lines up to one are indented with; nil:
// there is none.
func tabBefore(content []byte, line int) (at *yaml.Node) {
	for i, l := range bytes.SplitN(content, []byte("\n"), line+1)[:min(line, bytes.Count(content, []byte("\n"))+1)] {
		if tab := bytes.IndexByte(l[:len(l)-len(bytes.TrimLeft(l, " \t"))], '\t'); tab >= 0 && len(bytes.TrimSpace(l)) > 0 {
			at = &yaml.Node{Line: i + 1, Column: tab + 1}
		}
	}
	return at
}

// badCharacter returns the place of the first byte that is not UTF-8; zeros if
// all are.
func badCharacter(content []byte) (line, column int) {
	for i, l := range bytes.Split(content, []byte("\n")) {
		for j, r := range string(l) {
			if r == '\uFFFD' && !bytes.HasPrefix(l[j:], []byte("\uFFFD")) {
				return i + 1, j + 1
			}
		}
	}
	return 0, 0
}

func (f *file) at(n *yaml.Node) Origin {
	o := Origin{Kind: FromFile, Name: f.name}
	if n != nil {
		o.Line, o.Column = n.Line, n.Column
	}
	return o
}

// fault reports a problem. A file that is no configuration at all would have too many.
func (f *file) fault(n *yaml.Node, path, format string, args ...any) {
	if f.full() {
		return
	}
	p := Problem{Path: path, Origin: f.at(n), Text: shortened(fmt.Sprintf(format, args...))}
	f.problems = append(f.problems, p)
	if f.full() {
		f.problems = append(f.problems, Problem{Origin: p.Origin, Text: "too many problems: the rest is not shown"})
	}
}

func (f *file) full() bool { return len(f.problems) >= maxProblems }

// shortened cuts a text that quotes a whole file.
func shortened(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}

// section reads a mapping into a struct.
func (f *file) section(n *yaml.Node, v reflect.Value, prefix string) {
	if isNull(n) {
		return // all of it is commented out
	}
	if r := resolve(n); r.Kind == yaml.ScalarNode {
		f.needsMapping(r, v.Type(), strings.TrimSuffix(prefix, "."))
		return
	}
	for key, value := range f.entries(n, strings.TrimSuffix(prefix, ".")) {
		sf, ok := byKey(v.Type(), key.Value)
		option, isOption := byKey(reflect.TypeFor[Files](), key.Value)
		switch {
		case !ok && isExtension(key.Value):
		case !ok && prefix == "" && isOption: // as hosts and locations have it
			f.value(value, fieldAt("files."+option.Tag.Get("key")))
		case !ok:
			f.fault(key, "", "unknown key %q%s", prefix+key.Value, f.hint(key.Value, prefix, v.Type()))
		case isSection(sf.Type):
			f.section(value, v.FieldByIndex(sf.Index), prefix+key.Value+".")
		default:
			f.value(value, fieldAt(prefix+key.Value))
		}
	}
}

// hint names the key that was probably meant: one beside it, or the one whose
// flag has the name.
func (f *file) hint(key, prefix string, t reflect.Type) string {
	if f.full() {
		return "" // nobody will see it
	}
	if there := ofElsewhere(key); there != "" {
		return there
	}
	if n := nearest(key, keysOf(t)); n != "" {
		return fmt.Sprintf("; did you mean %s?", prefix+n)
	}
	byName := make(map[string]string)
	var names []string
	for i := range fields {
		if fields[i].key == "" {
			continue
		}
		for _, name := range []string{strings.ReplaceAll(fields[i].flag, "-", "_"), fields[i].key} {
			if name != "" && byName[name] == "" {
				byName[name] = fields[i].path
				names = append(names, name)
			}
		}
	}
	word := strings.ReplaceAll(key, "-", "_")
	if n := nearest(word, names); n != "" && slips(word, n) <= 1 { // it is further away: be surer
		return fmt.Sprintf("; did you mean %s?", byName[n])
	}
	return ""
}

// value reads the value of a field: it replaces a value or a list that an
// earlier file gave, and adds to a table.
func (f *file) value(n *yaml.Node, fl *field) {
	v := fl.in(f.cfg)
	if isNull(n) {
		f.fault(n, fl.path, "no value: leave the key out for the default")
		return
	}
	if f.twice(n, fl.path) {
		return
	}
	if !isCollection(fl.typ) {
		f.origins.forget(fl.path)
		f.origins[fl.path] = f.at(n)
	}
	f.element(n, v, fl.path)
	if fl.file != "" {
		f.anchor(v)
	}
}

// list reads a sequence, or a single element in its place.
func (f *file) list(n *yaml.Node, v reflect.Value, at string) {
	f.origins.forget(at)
	f.origins[at] = f.at(n)
	elements := []*yaml.Node{n}
	if r := resolve(n); r.Kind == yaml.SequenceNode {
		elements = r.Content
	}
	fresh := reflect.MakeSlice(v.Type(), len(elements), len(elements))
	for i, e := range elements {
		path := element(at, i)
		f.origins[path] = f.at(e)
		f.element(e, fresh.Index(i), path)
	}
	v.Set(fresh)
}

// counter is an entry of a table for which its turn among the others counts.
type counter interface{ counted(key string, n int) }

// table reads a mapping of which the keys are the user's. An entry that an
// earlier file has is a fault: which of the two was meant?
func (f *file) table(n *yaml.Node, v reflect.Value, at string) {
	if _, ok := f.origins[at]; !ok {
		f.origins[at] = f.at(n)
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for key, value := range f.entries(n, at) {
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		if err := setText(k, key.Value); err != nil {
			f.fault(key, fmt.Sprintf("%s[%s]", at, key.Value), "%v", err)
			continue
		}
		path := fmt.Sprintf("%s[%s]", at, textOf(k))
		if v.MapIndex(k).IsValid() {
			f.fault(key, at, "duplicate key %q: it is at %v already", key.Value, f.origins.Of(path))
			continue
		}
		f.origins[path] = f.at(key)
		f.element(value, e, path)
		if c, ok := e.Addr().Interface().(counter); ok {
			c.counted(key.Value, v.Len()+1)
		}
		v.SetMapIndex(k, e)
	}
}

// element reads one value: a list, a table, a scalar, or a mapping if its type has
// keys.
func (f *file) element(n *yaml.Node, v reflect.Value, path string) {
	r := resolve(n)
	switch {
	case isNull(r):
		f.fault(n, path, "no value")
	case v.Kind() == reflect.Pointer: // a value that may be left out
		fresh := reflect.New(v.Type().Elem())
		f.element(n, fresh.Elem(), path)
		v.Set(fresh)
	case v.Kind() == reflect.Slice:
		f.list(n, v, path)
	case v.Kind() == reflect.Map:
		f.table(n, v, path)
	case r.Kind == yaml.ScalarNode && isSection(v.Type()):
		f.needsMapping(r, v.Type(), path)
	case r.Kind == yaml.ScalarNode && !slices.Contains(plainTags, r.Tag):
		f.fault(n, path, "the tag %s has no meaning here", r.Tag)
	case r.Kind == yaml.ScalarNode:
		if err := f.scalar(r, v); err != nil {
			f.fault(n, path, "%v", err)
		}
	case r.Kind == yaml.MappingNode && v.Kind() == reflect.Struct:
		f.parts(r, v, path)
	default:
		f.fault(n, path, "a single value is needed, not %s", kindOf(r))
	}
}

// scalar reads the text of a scalar as it stands in the file: 1.10 stays 1.10.
func (f *file) scalar(n *yaml.Node, v reflect.Value) error {
	if v.Kind() == reflect.Bool && n.Value != "true" && n.Value != "false" {
		hint := map[string]string{"on": "; write true", "yes": "; write true", "off": "; write false", "no": "; write false"}
		return fmt.Errorf("%q is neither true nor false%s", n.Value, hint[strings.ToLower(n.Value)])
	}
	fresh := reflect.New(v.Type()).Elem()
	if err := setText(fresh, n.Value); err != nil {
		return err
	}
	v.Set(fresh)
	return nil
}

// parts reads a value that is written as a mapping of its parts.
func (f *file) parts(n *yaml.Node, v reflect.Value, path string) {
	given := f.partsIn(n, v, path)
	known := slices.ContainsFunc(keysOf(v.Type()), func(key string) bool { return given[key] })
	for sf := range structFields(v.Type()) {
		if key := sf.Tag.Get("key"); sf.Tag.Get("required") != "" && !given[key] && (known || len(given) == 0) {
			f.fault(n, path, "%s is missing", key)
		}
	}
}

// partsIn reads those of the parts that stand in a mapping, and returns their keys. Those of files
// may stand in a mapping of their own, as they do outside of hosts and locations.
func (f *file) partsIn(n *yaml.Node, v reflect.Value, path string) (given map[string]bool) {
	given = make(map[string]bool)
	for key, value := range f.entries(n, path) {
		given[key.Value] = true
		at := path + "." + key.Value
		sf, ok := byKey(v.Type(), key.Value)
		switch {
		case ok && f.twice(key, at):
		case ok:
			if !isCollection(sf.Type) {
				f.origins[at] = f.at(value)
			}
			e := v.FieldByIndex(sf.Index)
			f.element(value, e, at)
			if sf.Tag.Get("file") != "" {
				f.anchor(e)
			}
		case isExtension(key.Value):
		case key.Value == "files" && v.FieldByName("Files").IsValid():
			f.partsIn(value, v.FieldByName("Files"), path)
		default:
			hint := DidYouMean(key.Value, keysOf(v.Type()))
			if isSection(v.Type()) {
				hint = cmp.Or(ofElsewhere(key.Value), hint)
			} else {
				hint = cmp.Or(hint, asText(v.Type(), key.Value, value))
				at = path // or it would hide the other faults of the record
			}
			f.fault(key, at, "unknown key %q%s", key.Value, hint)
		}
	}
	return given
}

// plainTags are those that YAML gives to scalars by itself.
var plainTags = []string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}

// resolve follows an alias. Nothing is expanded, so that aliases cost nothing:
// how deep values nest is given by the types.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	n = resolve(n)
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return fmt.Sprintf("the single value %q", n.Value)
}
