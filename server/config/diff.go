package config

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Change is a value in which two configurations differ.
type Change struct {
	// Path is that of the value: limits.client, limits.paths[/high/].
	Path string `json:"path"`
	// Old and New are the values as text; a list has commas. Empty: an entry of a
	// table that is not there. What is secret is not shown.
	Old string `json:"old"`
	New string `json:"new"`
	// Restart is set if the change takes effect only when the server starts.
	Restart bool `json:"restart"`
}

func (c Change) String() string {
	return fmt.Sprintf("%s: %s -> %s", c.Path, cmp.Or(c.Old, "(none)"), cmp.Or(c.New, "(none)"))
}

// opens reports whether the change may let clients in that were not: something is denied no
// more, or nothing is left that alone was allowed.
func (c Change) opens() bool {
	old, now := strings.Split(c.Old, ", "), strings.Split(c.New, ", ")
	switch none := []string{"", emptyList}; c.Path[strings.LastIndexByte(c.Path, '.')+1:] {
	case "allow", "referers", "allow_agents":
		return !slices.Contains(none, c.Old) && slices.Contains(none, c.New)
	case "password_file":
		none = append(none, LogOff)
		return !slices.Contains(none, c.Old) && slices.Contains(none, c.New)
	case "deny", "deny_agents":
		return !slices.Contains(none, c.Old) && slices.ContainsFunc(old, func(n string) bool { return !slices.Contains(now, n) })
	}
	return false
}

// Diff returns what changes from a to b, in the order of the fields. Tables are
// compared by entry.
func Diff(a, b *Config) (changes []Change) {
	for i := range fields {
		f := &fields[i]
		old, now := f.in(a), f.in(b)
		if f.typ.Kind() == reflect.Map {
			changes = append(changes, f.diffTable(old, now)...)
			continue
		}
		if !f.equal(old, now) {
			changes = append(changes, f.change(f.path, strings.Join(parts(old), ", "), strings.Join(parts(now), ", ")))
		}
	}
	return changes
}

func (f *field) diffTable(old, now reflect.Value) (changes []Change) {
	if isSection(f.typ.Elem()) {
		return f.diffRecords(old, now)
	}
	all := reflect.MakeMap(f.typ)
	for _, m := range []reflect.Value{old, now} {
		for k, e := range m.Seq2() {
			all.SetMapIndex(k, e)
		}
	}
	for _, k := range sortedKeys(all) {
		if x, y := entryText(old, k), entryText(now, k); x != y {
			changes = append(changes, f.change(fmt.Sprintf("%s[%v]", f.path, k), x, y))
		}
	}
	return changes
}

// diffRecords compares tables of groups of fields, value by value.
func (f *field) diffRecords(old, now reflect.Value) (changes []Change) {
	x, y := make(leaves), make(leaves)
	x.add(f.path, old)
	y.add(f.path, now)
	all := maps.Clone(x)
	maps.Copy(all, y)
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if x[path] != y[path] {
			changes = append(changes, f.change(path, x[path], y[path]))
		}
	}
	return changes
}

// emptyList is the text of a list without elements: no text stands for what is not there.
const emptyList = "(empty)"

// seed is that of numbers that stand for secrets, to know one from another.
var seed = maphash.MakeSeed()

// leaves are values as text, by path.
type leaves map[string]string

func (l leaves) add(path string, v reflect.Value) {
	switch {
	case v.Kind() == reflect.Pointer:
		l.add(path, v.Elem())
	case v.Kind() == reflect.Map:
		for _, k := range sortedKeys(v) {
			l.add(fmt.Sprintf("%s[%v]", path, k), v.MapIndex(k))
		}
		if v.Len() == 0 && !v.IsNil() {
			l[path] = "{}"
		}
	case isSection(v.Type()):
		l[path] = "{}"
		for sf := range structFields(v.Type()) {
			e, at := v.FieldByIndex(sf.Index), path+"."+sf.Tag.Get("key")
			switch {
			case e.IsZero():
			case sf.Tag.Get("secret") != "":
				l[at] = fmt.Sprintf("%s %x", hidden, maphash.String(seed, textOf(e.Elem())))
			default:
				l.add(at, e)
			}
		}
	default:
		l[path] = strings.Join(parts(v), ", ")
		if l[path] == "" { // which stands for what is not there
			l[path] = emptyList
		}
	}
}

// entryText is an entry of a table as text; empty if it is not there.
func entryText(m, key reflect.Value) string {
	if e := m.MapIndex(key); e.IsValid() {
		return textOf(e)
	}
	return ""
}

// equal compares two values of the field. A list that is empty is one that is not
// there.
func (f *field) equal(x, y reflect.Value) bool {
	if isCollection(f.typ) && x.Len() == 0 && y.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(x.Interface(), y.Interface())
}

func (f *field) change(path, old, now string) Change {
	c := Change{Path: path, Old: old, New: now, Restart: !f.isLive(old, now)}
	if f.secret {
		c.Old, c.New = hide(old), hide(now)
	}
	return c
}

// isLive reports whether a change from one text to another takes effect at once.
func (f *field) isLive(old, now string) bool {
	return f.live == "yes" || f.live == "path" && isPath(old) && isPath(now)
}

// isPath reports whether a value of AccessLog.File is a file.
func isPath(s string) bool { return s != "" && s != LogOff && s != LogStdout }

// hidden stands for what is secret.
const hidden = "(hidden)"

func hide(s string) string {
	if s == "" {
		return ""
	}
	return hidden
}

// takesOver reports whether a change from old to next takes effect at once.
func (f *field) takesOver(old, next reflect.Value) bool {
	return f.live == "yes" || f.live == "path" && f.isLive(textOf(old), textOf(next))
}

// withLive returns a copy of old with those values of next that take effect at
// once.
func withLive(old, next *Config) *Config {
	c := *old
	for i := range fields {
		if f := &fields[i]; f.takesOver(f.in(old), f.in(next)) {
			f.in(&c).Set(f.in(next))
		}
	}
	return &c
}
