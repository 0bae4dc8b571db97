package config

import (
	"cmp"
	"iter"
	"reflect"
	"strings"
)

// field is one entry of the registration table: what the tags of a field of
// Config say.
type field struct {
	path   string // in the file: limits.global; a field that is not of the file has its flag's name
	key    string // last part of the path; empty: not of the file
	flag   string // empty: none
	short  string // a letter for the flag; empty: none
	env    string // with FSERVE_; empty: none
	help   string
	sep    string // between the elements of a list in flags and variables; empty: lines
	form   string // of an entry of a table in flags and variables
	live   string // see the package's comment
	secret bool
	file   string // what it names: a file, a dir; empty: neither
	index  []int  // of the field in Config
	typ    reflect.Type
}

// EnvPrefix begins the names of environment variables.
const EnvPrefix = "FSERVE_"

// fields is the registration table, in the order of the struct.
var fields = fieldsOf(reflect.TypeFor[Config](), "", nil)

func fieldsOf(t reflect.Type, prefix string, index []int) (list []field) {
	for sf := range structFields(t) {
		key, at := sf.Tag.Get("key"), append(index[:len(index):len(index)], sf.Index...)
		if isSection(sf.Type) {
			list = append(list, fieldsOf(sf.Type, prefix+key+".", at)...)
			continue
		}
		f := field{
			key: key, path: prefix + key, flag: sf.Tag.Get("flag"), env: sf.Tag.Get("env"), help: sf.Tag.Get("help"),
			sep: sf.Tag.Get("sep"), form: sf.Tag.Get("form"), live: sf.Tag.Get("live"), secret: sf.Tag.Get("secret") != "",
			short: sf.Tag.Get("short"), file: sf.Tag.Get("file"),
			index: at, typ: sf.Type,
		}
		if key == "" {
			f.path = f.flag
		}
		if f.env = cmp.Or(f.env, f.flag); f.env != "" {
			f.env = EnvPrefix + strings.ToUpper(strings.ReplaceAll(f.env, "-", "_"))
		}
		list = append(list, f)
	}
	return list
}

// in returns the field's value in c.
func (f *field) in(c *Config) reflect.Value { return reflect.ValueOf(c).Elem().FieldByIndex(f.index) }

// fieldAt returns the field with a path; nil: there is none.
func fieldAt(path string) *field {
	for i := range fields {
		if fields[i].path == path {
			return &fields[i]
		}
	}
	return nil
}

// structFields are the fields of a struct, those of embedded ones in their place.
func structFields(t reflect.Type) iter.Seq[reflect.StructField] {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			sf := t.Field(i)
			if !sf.Anonymous {
				if !yield(sf) {
					return
				}
				continue
			}
			for inner := range structFields(sf.Type) {
				inner.Index = append(sf.Index[:len(sf.Index):len(sf.Index)], inner.Index...)
				if !yield(inner) {
					return
				}
			}
		}
	}
}

// isSection reports whether a type is a group of fields, rather than a value:
// values know how to be written as text. In a table it is a record.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[setter]())
}

// keysOf returns the keys of a section, or of a value that may be written as a
// mapping, in the order of the struct.
func keysOf(t reflect.Type) (keys []string) {
	for sf := range structFields(t) {
		if k := sf.Tag.Get("key"); k != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// byKey returns the field of a struct with a key.
func byKey(t reflect.Type, key string) (reflect.StructField, bool) {
	for sf := range structFields(t) {
		if key != "" && sf.Tag.Get("key") == key {
			return sf, true
		}
	}
	return reflect.StructField{}, false
}
