package fserve_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
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

// maxNames bounds what embedders meet at the door of package engine.
const maxNames = 40

// unshown are names of engine that no Example uses, each with its reason.
var unshown = map[string]string{
	"Engine": "each Example has one", "Outcome": "what Send returns", "GuestStats": "what Engine.GuestStats returns",
	"DriverKind": driverChoice, "DriverAuto": driverChoice, "DriverUring": driverChoice, "DriverFallback": driverChoice,
	"ZeroCopy": zeroCopyChoice, "ZeroCopyAuto": zeroCopyChoice, "ZeroCopySendfile": zeroCopyChoice, "ZeroCopyCopy": zeroCopyChoice,
	"End": outcomes, "Complete": outcomes, "PeerGone": outcomes, "FileChanged": outcomes, "FileFailed": outcomes,
	"TimedOut": outcomes, "Aborted": outcomes, "Via": outcomes, "ViaMemory": outcomes, "ViaSendfile": outcomes, "ViaCopy": outcomes,
	"ErrEnded": sentinels, "ErrNoGuests": sentinels, "ErrNoConn": sentinels, "ErrMultiplexed": sentinels,
	"Sockets": handOver, "Inherited": handOver, "UnixPrefix": "begins addresses of Config.Listeners",
	"CongestionSystem": "a value of Config.Congestion",
}

const (
	driverChoice   = "values of Config.Driver"
	zeroCopyChoice = "values of Config.ZeroCopy"
	outcomes       = "values in an Outcome"
	sentinels      = "an error that callers compare with"
	handOver       = "for Config.Inherit; see the tests of upgrades"
)

// TestEngineIsSmall: few names, each of which an Example shows or that has its reason.
func TestEngineIsSmall(t *testing.T) {
	example, err := os.ReadFile("engine/example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, s := range productFiles(t) {
		if filepath.Dir(s.path) != "engine" {
			continue
		}
		for _, d := range s.Decls {
			for _, name := range exportedNames(d) {
				names[name] = true
			}
		}
	}
	if len(names) > maxNames || len(names) == 0 {
		t.Errorf("engine exports %d names, at most %d", len(names), maxNames)
	}
	for name := range names {
		if unshown[name] == "" && !strings.Contains(string(example), "engine."+name) {
			t.Errorf("engine.%s is in no Example, and no reason is given", name)
		}
	}
	for name := range unshown {
		if !names[name] {
			t.Errorf("engine.%s is not there any more", name)
		}
	}
}

// exportedNames are those that a declaration puts at the door of its package: methods are
// not.
func exportedNames(d ast.Decl) (names []string) {
	add := func(id *ast.Ident) {
		if id.IsExported() {
			names = append(names, id.Name)
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			add(d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				add(spec.Name)
			case *ast.ValueSpec:
				for _, id := range spec.Names {
					add(id)
				}
			}
		}
	}
	return names
}

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
