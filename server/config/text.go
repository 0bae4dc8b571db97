package config

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server"
)

// setter is a value that can be read from text.
type setter interface{ Set(string) error }

// choices are the names of the values of types that have few of them. The index
// is the value.
var choices = map[reflect.Type][]string{
	reflect.TypeFor[engine.DriverKind]():    {engine.DriverAuto: "auto", engine.DriverUring: "uring", engine.DriverFallback: "fallback"},
	reflect.TypeFor[engine.ZeroCopy]():      {engine.ZeroCopyAuto: "auto", engine.ZeroCopySendfile: "sendfile", engine.ZeroCopySplice: "splice", engine.ZeroCopyCopy: "copy"},
	reflect.TypeFor[openfile.Symlinks]():    {openfile.SymlinksInside: "inside", openfile.SymlinksFollow: "follow", openfile.SymlinksDeny: "deny"},
	reflect.TypeFor[openfile.Consistency](): {openfile.ConsistencyAuto: "auto", openfile.ConsistencyLease: "lease", openfile.ConsistencyCopy: "copy", openfile.ConsistencyCheck: "check"},
	reflect.TypeFor[server.LogEscape]():     {server.EscapeDefault: "default", server.EscapeJSON: "json", server.EscapeNone: "none"},
	reflect.TypeFor[server.ClientField]():   {server.ClientFieldAuto: "auto", server.ClientFieldForwarded: "forwarded", server.ClientFieldXFF: "x-forwarded-for", server.ClientFieldXRealIP: "x-real-ip"},
	reflect.TypeFor[RateFields]():           {RateFields(server.FieldsOff): "off", RateFields(server.FieldsNear): "near", RateFields(server.FieldsAlways): "always"},
	reflect.TypeFor[ETag]():                 {ETagVersion: "version", ETagContent: "content"},
	reflect.TypeFor[UnknownName]():          {UnknownNameDefault: "default", UnknownNameRefuse: "refuse"},
	reflect.TypeFor[TLSVersion]():           {TLSVersion12: "1.2", TLSVersion13: "1.3"},
	reflect.TypeFor[Satisfy]():              {SatisfyAll: "all", SatisfyAny: "any"},
	reflect.TypeFor[Way]():                  {WayNone: "none", WayLink: "link", WayKey: "key", WayJWT: "jwt"},
	reflect.TypeFor[EncodedSlash]():         {EncodedSlashDecode: "decode", EncodedSlashRefuse: "refuse"},
}

// levels are the names of log levels.
var levels = []string{"debug", "info", "warn", "error"}

// setText reads one value: not a list or a table. A pointer gets a new value to point
// to, since configurations share the old one.
func setText(v reflect.Value, s string) error {
	if v.Kind() == reflect.Pointer {
		fresh := reflect.New(v.Type().Elem())
		v.Set(fresh)
		return setText(fresh.Elem(), s)
	}
	if names, ok := choices[v.Type()]; ok {
		i, err := choose(s, names)
		v.SetUint(uint64(i)) // all of them are unsigned
		return err
	}
	switch p := v.Addr().Interface().(type) {
	case setter:
		return p.Set(s)
	case *time.Duration:
		return setDuration(p, s)
	case *slog.Level:
		i, err := choose(s, levels)
		*p = slog.LevelDebug + slog.Level(4*i)
		return err
	case *string:
		*p = s
		return nil
	case *bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", s)
		}
		*p = b
		return nil
	case *int:
		n, err := parseInt(s)
		*p = n
		return err
	}
	panic("config: no text for " + v.Type().String())
}

func choose(s string, names []string) (int, error) {
	if i := slices.Index(names, s); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%q is not one of %s", s, strings.Join(names, ", "))
}

func setDuration(d *time.Duration, s string) (err error) {
	if *d, err = time.ParseDuration(s); err != nil {
		return fmt.Errorf("%q is not a duration with its unit, like 10s or 1m30s", s)
	}
	return nil
}

// single returns the type of a value that may be left out.
func single(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// textOf writes one value as setText reads it.
func textOf(v reflect.Value) string {
	v = reflect.Indirect(v)
	if names, ok := choices[v.Type()]; ok {
		return names[v.Uint()]
	}
	switch x := v.Interface().(type) {
	case time.Duration:
		return durationText(x)
	case slog.Level:
		return strings.ToLower(x.String())
	case fmt.Stringer:
		return x.String()
	}
	return fmt.Sprint(v.Interface())
}

// durationText leaves out the zeros that time.Duration.String ends with.
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// typeName is the name in the help for the values of a type.
func typeName(f *field) string {
	typ := single(f.typ)
	if f.file != "" {
		return f.file
	}
	if names, ok := choices[typ]; ok {
		return strings.Join(names, "|")
	}
	switch reflect.Zero(typ).Interface().(type) {
	case time.Duration:
		return "duration"
	case slog.Level:
		return strings.Join(levels, "|")
	case FileMode:
		return "mode"
	case Limit:
		return "rate"
	case Size:
		return "size"
	case LogFormat:
		return "format"
	case Percent:
		return "percent"
	case BeingWritten:
		return "wait|serve|refuse"
	}
	if f.typ.Kind() == reflect.Slice && f.sep != "" {
		return "strings"
	}
	if isCollection(f.typ) {
		return "string"
	}
	return typ.Kind().String()
}

func isCollection(t reflect.Type) bool { return t.Kind() == reflect.Slice || t.Kind() == reflect.Map }

// set reads a flag or a variable into v, a value of the field's type. Lists and
// tables get what is read added. If nothing can be read v stays as it was.
func (f *field) set(v reflect.Value, s string) error {
	if !isCollection(f.typ) {
		fresh := reflect.New(f.typ).Elem()
		if err := setText(fresh, s); err != nil {
			return err
		}
		v.Set(fresh)
		return nil
	}
	parts, err := f.split(s)
	if err != nil {
		return err
	}
	fresh := reflect.New(f.typ).Elem()
	fresh.Set(cloneOf(v))
	for _, p := range parts {
		if err := f.add(fresh, p); err != nil {
			return err
		}
	}
	v.Set(fresh)
	return nil
}

// split cuts a flag or a variable into elements: at commas, or at ends of lines.
func (f *field) split(s string) ([]string, error) {
	if f.sep == "" {
		if s == "" {
			return []string{""}, nil // for the check of what it is part of
		}
		var parts []string
		for line := range strings.Lines(s) {
			parts = append(parts, strings.TrimRight(line, "\r\n"))
		}
		return parts, nil
	}
	if s == "" {
		return nil, nil
	}
	parts, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		return nil, fmt.Errorf("%q is not a list with commas", s)
	}
	return parts, nil
}

// add adds one element, as a flag has it, to a list or a table.
func (f *field) add(v reflect.Value, s string) error {
	if f.typ.Kind() == reflect.Slice {
		e := reflect.New(f.typ.Elem()).Elem()
		if err := setText(e, s); err != nil {
			return err
		}
		v.Set(reflect.Append(v, e))
		return nil
	}
	left, right, ok := pair(s)
	key, elem := reflect.New(f.typ.Key()).Elem(), reflect.New(f.typ.Elem()).Elem()
	if !ok || setText(key, left) != nil {
		return fmt.Errorf("%q is not %s", s, f.form)
	}
	if err := setText(elem, right); err != nil {
		return err
	}
	if v.MapIndex(key).IsValid() {
		return fmt.Errorf("%q is given twice", left)
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(f.typ))
	}
	v.SetMapIndex(key, elem)
	return nil
}

// cloneOf copies a list or a table, one level deep. What is not nil stays so.
func cloneOf(v reflect.Value) reflect.Value {
	if v.IsNil() {
		return v
	}
	if v.Kind() == reflect.Slice {
		return reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), v)
	}
	c := reflect.MakeMapWithSize(v.Type(), v.Len())
	for k, e := range v.Seq2() {
		c.SetMapIndex(k, e)
	}
	return c
}

// sortedKeys are the keys of a table in their order.
func sortedKeys(m reflect.Value) []reflect.Value {
	keys := m.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		if a.CanInt() {
			return cmp.Compare(a.Int(), b.Int())
		}
		return cmp.Compare(a.String(), b.String())
	})
	return keys
}

// parts are the elements of a list or a table as text, or the value itself.
func parts(v reflect.Value) (list []string) {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			list = append(list, textOf(v.Index(i)))
		}
	case reflect.Map:
		for _, k := range sortedKeys(v) {
			list = append(list, textOf(k)+"="+textOf(v.MapIndex(k)))
		}
	default:
		list = []string{textOf(v)}
	}
	return list
}
