package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
)

// source is the struct types of a package by name.
type source map[string]*ast.StructType

// parse reads the struct types of the package in a directory.
func parse(dir string) (source, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	src := make(source)
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for n := range ast.Preorder(f) {
			if t, ok := n.(*ast.TypeSpec); ok {
				if s, ok := t.Type.(*ast.StructType); ok {
					src[t.Name.Name] = s
				}
			}
		}
	}
	return src, nil
}

// Page returns the reference of the package in a directory, as Markdown.
func Page(dir string) ([]byte, error) {
	src, err := parse(dir)
	if err != nil {
		return nil, err
	}
	if src["Config"] == nil || src["Limit"] == nil {
		return nil, fmt.Errorf("%s: not package config", dir)
	}
	w := &writer{source: src}
	w.WriteString(intro)
	w.WriteString("\n## On the command line and in the environment only\n")
	w.fields("Config", "", func(f field) bool { return f.key == "" && !f.section })
	w.WriteString("\n## General\n")
	w.fields("Config", "", func(f field) bool { return f.key != "" && !f.section })
	for _, f := range src.fields("Config") {
		if !f.section {
			continue
		}
		fmt.Fprintf(w, "\n## %s\n\n%s\n", f.key, f.doc)
		w.fields(f.typ, f.key+".", func(field) bool { return true })
	}
	w.WriteString(hostIntro)
	w.parts("Host")
	w.WriteString(locationIntro)
	w.parts("Location")
	w.WriteString(limitIntro)
	w.parts("Limit")
	w.WriteString(profileIntro)
	w.parts("Profile")
	return w.Bytes(), nil
}

// field is what the source says of a field.
type field struct {
	name, typ, doc string
	key, flag, env string
	live           string
	own            string // what is said of it as a part of a host or a location
	section        bool
}

// fields returns the fields of a type in their order.
func (src source) fields(typ string) (list []field) {
	for _, f := range src[typ].Fields.List {
		if len(f.Names) == 0 { // embedded
			list = append(list, src.fields(f.Type.(*ast.Ident).Name)...)
			continue
		}
		tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`"))
		e := field{
			name: f.Names[0].Name, doc: paragraph(f.Doc.Text()),
			key: tag.Get("key"), flag: tag.Get("flag"), env: tag.Get("env"), live: tag.Get("live"), own: tag.Get("own"),
		}
		if id, ok := f.Type.(*ast.Ident); ok {
			e.typ = id.Name
			e.section = src[id.Name] != nil && id.Name != "Limit"
		}
		list = append(list, e)
	}
	return list
}

// paragraph joins the lines of a comment and leaves out the name that begins it.
func paragraph(doc string) string {
	text := strings.Join(strings.Fields(doc), " ")
	for _, verb := range []string{" is ", " are "} {
		if first, rest, ok := strings.Cut(text, verb); ok && !strings.Contains(first, " ") {
			return capital(rest)
		}
	}
	if _, rest, ok := strings.Cut(text, " "); ok {
		return capital(rest)
	}
	return text
}

// capital begins a sentence, as Markdown.
func capital(s string) string {
	return strings.ReplaceAll(strings.ToUpper(s[:1])+s[1:], "*", `\*`)
}

type writer struct {
	bytes.Buffer
	source
}

// fields writes those of a type that are wanted.
func (w *writer) fields(typ, prefix string, want func(field) bool) {
	for _, f := range w.source.fields(typ) {
		if !want(f) {
			continue
		}
		title := prefix + f.key
		if f.key == "" {
			title = "--" + f.flag
		}
		fmt.Fprintf(w, "\n### `%s`\n\n%s\n\n%s\n", title, f.doc, f.names())
	}
}

// names says how a field is given, and when a change takes effect.
func (f *field) names() string {
	var parts []string
	env := f.env
	if f.flag != "" {
		parts = append(parts, "flag `--"+f.flag+"`")
		env = f.flag
	}
	if env != "" {
		parts = append(parts, "variable `FSERVE_"+strings.ToUpper(strings.ReplaceAll(env, "-", "_"))+"`")
	} else {
		parts = append(parts, "in files only")
	}
	switch {
	case f.key == "":
	case f.live == "yes":
		parts = append(parts, "changes at reload")
	case f.live == "path":
		parts = append(parts, "changes at reload from one file to another")
	default:
		parts = append(parts, "a change needs a restart")
	}
	return strings.Join(parts, " · ")
}

// parts writes the keys of a value that may be a mapping.
func (w *writer) parts(typ string) {
	w.WriteString("\n| key | |\n|---|---|\n")
	for _, f := range w.source.fields(typ) {
		fmt.Fprintf(w, "| `%s` | %s |\n", f.key, f.part())
	}
}

// part says what a field is as a part of a value. One with a flag is an option of the
// server that hosts and locations have, too.
func (f *field) part() string {
	switch {
	case f.own != "":
		return f.own
	case f.flag != "":
		return "As files." + f.key + ". Default: that around it."
	}
	return f.doc
}
