package fserve_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// published are the packages that embedders import. What they export is kept in
// api/, so that a change of it is deliberate: make api writes it anew.
var published = []string{
	"engine", "engine/guest", "engine/listen", "engine/loop", "engine/measure", "engine/openfile", "engine/outcome",
	"engine/peer", "engine/rate", "engine/shape",
	"server", "server/admit", "server/foreign", "server/http1", "server/http2", "server/nethttp", "server/record", "server/site",
}

func TestAPI(t *testing.T) {
	write := os.Getenv("FSERVE_API") == "write"
	for _, name := range published {
		file := filepath.Join("api", strings.ReplaceAll(name, "/", ".")+".txt")
		got := exported(t, name)
		if write {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range difference(strings.Split(string(want), "\n"), strings.Split(got, "\n")) {
			t.Errorf("%s: %s", name, line)
		}
	}
	if t.Failed() {
		t.Log("if that is meant, write it down with: make api")
	}
}

// difference returns the lines that are in one of two listings only.
func difference(was, is []string) (out []string) {
	for _, line := range was {
		if !slices.Contains(is, line) {
			out = append(out, "- "+line)
		}
	}
	for _, line := range is {
		if !slices.Contains(was, line) {
			out = append(out, "+ "+line)
		}
	}
	return out
}

// exported lists what a package exports, sorted, without comments and bodies.
func exported(t *testing.T, dir string) string {
	t.Helper()
	set := token.NewFileSet()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var decls []string
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		showInternal(t, f)
		ast.FileExports(f)
		for _, d := range f.Decls {
			if public(d) {
				decls = append(decls, render(t, d))
			}
		}
	}
	slices.Sort(decls)
	return strings.Join(decls, "\n") + "\n"
}

// showInternal puts the structure of an internal type in the place of its name where that is
// published by an alias: what embedders see of it is not to change unseen.
func showInternal(t *testing.T, f *ast.File) {
	t.Helper()
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			continue
		}
		for _, spec := range g.Specs {
			s := spec.(*ast.TypeSpec)
			name, ok := s.Type.(*ast.SelectorExpr)
			if dir := internalDir(f, name); ok && s.Assign.IsValid() && dir != "" {
				if structure, ok := declared(t, dir, name.Sel.Name).(*ast.StructType); ok {
					s.Type = structure
				}
			}
		}
	}
}

// internalDir returns the folder of the internal package that a name is of, empty if it is
// of none.
func internalDir(f *ast.File, name *ast.SelectorExpr) string {
	if name == nil {
		return ""
	}
	for _, i := range f.Imports {
		path, ok := inModule(strings.Trim(i.Path.Value, `"`))
		if ok && strings.HasPrefix(path, "internal/") && filepath.Base(path) == name.X.(*ast.Ident).Name {
			return path
		}
	}
	return ""
}

// declared returns what a type of a package is declared as.
func declared(t *testing.T, dir, name string) ast.Expr {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range names {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if o := f.Scope.Lookup(name); o != nil {
			return o.Decl.(*ast.TypeSpec).Type
		}
	}
	return nil
}

// public reports whether a declaration that FileExports has left can be named from
// outside: it keeps methods of types that cannot, and imports.
func public(d ast.Decl) bool {
	switch d := d.(type) {
	case *ast.GenDecl:
		return d.Tok != token.IMPORT && len(d.Specs) > 0
	case *ast.FuncDecl:
		return d.Recv == nil || ast.IsExported(base(d.Recv.List[0].Type))
	}
	return false
}

// base returns the name of the type of a receiver.
func base(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return base(e.X)
	case *ast.IndexExpr:
		return base(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// render prints a declaration on as many lines as it needs, alike wherever it
// stands.
func render(t *testing.T, d ast.Decl) string {
	t.Helper()
	switch d := d.(type) {
	case *ast.FuncDecl:
		d.Body, d.Doc = nil, nil
	case *ast.GenDecl:
		d.Doc = nil
		for _, s := range d.Specs {
			dropValues(d.Tok, s)
		}
	}
	ast.Inspect(d, func(n ast.Node) bool { // else the printer says what was left out
		switch n := n.(type) {
		case *ast.StructType:
			n.Incomplete = false
		case *ast.InterfaceType:
			n.Incomplete = false
		}
		return true
	})
	var b bytes.Buffer
	cfg := printer.Config{Mode: printer.RawFormat, Tabwidth: 1}
	if err := cfg.Fprint(&b, token.NewFileSet(), d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// dropValues leaves out what a variable begins with: it may be a whole function.
func dropValues(tok token.Token, s ast.Spec) {
	if v, ok := s.(*ast.ValueSpec); ok && tok == token.VAR {
		v.Values = nil
	}
}
