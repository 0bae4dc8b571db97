package fserve_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// What has grown beyond these is two things: see docs/decisions/rooms.md.
const (
	maxMethods   = 40
	maxFileLines = 500
	maxFuncLines = 60
)

// sourceFile is a parsed file of the product: tests, and what is made for them, are not.
type sourceFile struct {
	path string
	pkg  *pkg
	set  *token.FileSet
	*ast.File
}

func productFiles(t *testing.T) (files []sourceFile) {
	t.Helper()
	for _, p := range packages(t) {
		name, ok := p.name()
		if !ok || strings.HasPrefix(name, "internal/testenv") || strings.HasPrefix(name, "internal/aio/aio") {
			continue
		}
		for _, file := range p.GoFiles {
			s := sourceFile{path: name + "/" + file, pkg: p, set: token.NewFileSet()}
			var err error
			if s.File, err = parser.ParseFile(s.set, filepath.Join(p.Dir, file), nil, parser.SkipObjectResolution); err != nil {
				t.Fatal(err)
			}
			files = append(files, s)
		}
	}
	return files
}

func (s *sourceFile) lines(n ast.Node) int {
	return s.set.Position(n.End()).Line - s.set.Position(n.Pos()).Line + 1
}

func TestNothingGrowsTooLarge(t *testing.T) {
	methods := make(map[string]int)
	for _, s := range productFiles(t) {
		if n := s.set.File(s.Pos()).LineCount(); n > maxFileLines {
			t.Errorf("%s has %d lines, at most %d", s.path, n, maxFileLines)
		}
		for _, d := range s.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := s.lines(f); n > maxFuncLines {
				t.Errorf("%s: %s has %d lines, at most %d", s.path, f.Name.Name, n, maxFuncLines)
			}
			if f.Recv != nil {
				methods[fmt.Sprintf("%s.%s", filepath.Dir(s.path), base(f.Recv.List[0].Type))]++
			}
		}
	}
	for name, n := range methods {
		if n > maxMethods {
			t.Errorf("%s has %d methods, at most %d", name, n, maxMethods)
		}
	}
}

// A published type shows nothing whose structure is internal: nobody would see it change.
// An alias is fine, whose structure is written down in api/.
func TestPublishedFieldsAreOurs(t *testing.T) {
	for _, s := range productFiles(t) {
		if name, _ := s.pkg.name(); !isPublished(name) {
			continue
		}
		for _, d := range s.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE {
				continue
			}
			for _, spec := range g.Specs {
				checkFields(t, &s, spec.(*ast.TypeSpec))
			}
		}
	}
}

func isPublished(name string) bool {
	for _, p := range published {
		if p == name {
			return true
		}
	}
	return false
}

func checkFields(t *testing.T, s *sourceFile, spec *ast.TypeSpec) {
	t.Helper()
	structure, ok := spec.Type.(*ast.StructType)
	if !ok || !spec.Name.IsExported() {
		return
	}
	for _, field := range structure.Fields.List {
		exported := len(field.Names) == 0 // embedded
		for _, n := range field.Names {
			exported = exported || n.IsExported()
		}
		if !exported {
			continue
		}
		ast.Inspect(field.Type, func(n ast.Node) bool {
			if a, ok := n.(*ast.ArrayType); ok { // its length is a number
				ast.Inspect(a.Elt, func(n ast.Node) bool { return !internalName(t, s, spec, n) })
				return false
			}
			return !internalName(t, s, spec, n)
		})
	}
}

// internalName reports a name of an internal package.
func internalName(t *testing.T, s *sourceFile, spec *ast.TypeSpec, n ast.Node) bool {
	t.Helper()
	name, ok := n.(*ast.SelectorExpr)
	if !ok || internalDir(s.File, name) == "" {
		return false
	}
	t.Errorf("%s: %s has a field of type %s.%s, which is internal", s.path, spec.Name.Name, name.X.(*ast.Ident).Name, name.Sel.Name)
	return true
}
