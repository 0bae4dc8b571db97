package config

import (
	"errors"
	"reflect"
	"slices"

	"github.com/spf13/pflag"
)

// Flags are the command-line flags, as they were given. The zero value has none.
type Flags struct {
	given []given
}

// given is a flag or a variable with its value.
type given struct {
	field  *field
	text   string
	origin Origin
}

// FlagPath is the annotation of a flag that has the path of its value in the file: limits.global.
const FlagPath = "path"

// Register defines the flags of all fields in a set. What they are given when the set is
// parsed is checked as far as it can be by itself, and kept for Load.
func (f *Flags) Register(set *pflag.FlagSet) {
	defaults := Default()
	for i := range fields {
		fl := &fields[i]
		if fl.flag == "" {
			continue
		}
		v := &flagValue{flags: f, field: fl, value: reflect.New(fl.typ).Elem(), initial: defaultText(fl, defaults)}
		flag := set.VarPF(v, fl.flag, fl.short, fl.help)
		flag.Annotations = map[string][]string{FlagPath: {fl.path}}
		if single(fl.typ).Kind() == reflect.Bool {
			flag.NoOptDefVal = "true"
		}
	}
}

// defaultText is the default in the help.
func defaultText(f *field, defaults *Config) string {
	v := reflect.Indirect(f.in(defaults))
	if v.IsZero() && !hasNames(f.typ) {
		return "" // the text says its meaning
	}
	if f.typ.Kind() == reflect.Slice {
		s := ""
		for _, p := range parts(v) {
			s += " " + p
		}
		return "[" + s[1:] + "]"
	}
	return textOf(v)
}

func hasNames(t reflect.Type) bool {
	_, ok := choices[single(t)]
	return ok || typeName(&field{typ: t}) == typeName(fieldAt("log.level"))
}

// flagValue is one flag for package pflag.
type flagValue struct {
	flags   *Flags
	field   *field
	value   reflect.Value // so far
	initial string
}

func (v *flagValue) String() string {
	if v.field == nil { // pflag asks a zero value
		return ""
	}
	return v.initial
}

func (v *flagValue) Type() string { return typeName(v.field) }

func (v *flagValue) Set(s string) error {
	if v.field == fieldAt("config") && v.flags.has(v.field) {
		return errors.New("a second one: what adds to the first stands beside it, in " + dropIns)
	}
	if err := v.field.set(v.value, s); err != nil {
		return err
	}
	v.flags.given = append(v.flags.given, given{v.field, s, Origin{Kind: FromFlag, Name: v.field.flag}})
	return nil
}

// has reports whether a field has a flag.
func (f *Flags) has(fl *field) bool {
	return slices.ContainsFunc(f.given, func(g given) bool { return g.field == fl })
}
