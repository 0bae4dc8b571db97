// Package fserve_test holds the tests that are about the project as a whole.
package fserve_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/fserve/fserve"

// pkg is what go list says of a package.
type pkg struct {
	ImportPath                         string
	Dir                                string
	Standard                           bool
	GoFiles                            []string
	Imports, TestImports, XTestImports []string
}

// name returns the path of a package inside the module; ok is false if it is
// not one of ours.
func (p *pkg) name() (name string, ok bool) { return inModule(p.ImportPath) }

func inModule(path string) (name string, ok bool) { return strings.CutPrefix(path, module+"/") }

// packages returns everything that the module is built of, by import path.
func packages(t *testing.T) map[string]*pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,Standard,GoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := make(map[string]*pkg)
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		p := new(pkg)
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

// layers are the folders of the module from the bottom up. A package imports
// what is in its own folder or in a lower layer.
var layers = [][]string{
	{"internal"},
	{"uring", "fallback"},
	{"engine"},
	{"server"},
	{"cmd", "bench", "examples", "test"},
}

// place returns the layer of a package, -1 if it has none, and its folder.
func place(name string) (layer int, folder string) {
	folder, _, _ = strings.Cut(name, "/")
	return slices.IndexFunc(layers, func(l []string) bool { return slices.Contains(l, folder) }), folder
}

func TestImportsPointDownwards(t *testing.T) {
	for _, p := range packages(t) {
		name, ok := p.name()
		if !ok {
			continue
		}
		from, folder := place(name)
		if from < 0 {
			t.Errorf("%s is in no layer: say where it belongs", name)
		}
		for _, path := range p.Imports {
			used, ok := inModule(path)
			if !ok {
				continue
			}
			to, other := place(used)
			if folder != other && to >= from {
				t.Errorf("%s imports %s", name, used)
			}
		}
	}
}

// leaf is the one package that sealed ones of the layers above may import.
const leaf = "engine/rate"

// sealed are packages that know nothing of the module but the leaf.
var sealed = []string{leaf, "engine/adapt", "engine/shape", "server/admit", "server/httpfile", "server/link", "server/proxyproto", "server/release", "server/wire", "internal/sys", "internal/aio", "internal/tlsrec"}

func TestSealedPackages(t *testing.T) {
	for _, p := range packages(t) {
		name, ok := p.name()
		if !ok || !slices.Contains(sealed, name) {
			continue
		}
		for _, path := range p.Imports {
			if used, ok := inModule(path); ok && used != leaf {
				t.Errorf("%s imports %s", name, used)
			}
		}
	}
}

// Nothing depends on the benchmarks, not even a test, apart from themselves.
func TestNothingImportsBench(t *testing.T) {
	for _, p := range packages(t) {
		name, ok := p.name()
		if _, folder := place(name); !ok || folder == "bench" {
			continue
		}
		for _, path := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if used, ok := inModule(path); ok && strings.HasPrefix(used+"/", "bench/") {
				t.Errorf("%s imports %s", name, used)
			}
		}
	}
}

// The engine and what is below it know no HTTP, no metrics, no flags and no
// signals, not even through others.
func TestEngineKnowsNoProtocol(t *testing.T) {
	all := packages(t)
	for _, root := range []string{"engine", "uring", "fallback"} {
		seen := make(map[string]string) // package -> who imports it
		var visit func(path string)
		visit = func(path string) {
			for _, next := range all[path].Imports {
				if _, ok := seen[next]; !ok && all[next] != nil {
					seen[next] = path
					visit(next)
				}
			}
		}
		visit(module + "/" + root)
		for path, by := range seen {
			for _, no := range []string{
				"net/http", "flag", "os/signal", "testing",
				"github.com/prometheus", "github.com/spf13", "github.com/valyala/fasthttp",
			} {
				if path == no || strings.HasPrefix(path, no+"/") {
					t.Errorf("%s reaches %s by %s", root, path, by)
				}
			}
		}
	}
}

// Only what is made for tests imports package testing.
func TestTestingStaysInTests(t *testing.T) {
	for _, p := range packages(t) {
		name, ok := p.name()
		helper := strings.HasPrefix(name, "internal/testenv") || strings.HasPrefix(name, "internal/aio/aio")
		if ok && !helper && slices.Contains(p.Imports, "testing") {
			t.Errorf("%s imports testing", name)
		}
	}
}

// pure are packages that do no I/O and are told the time.
var pure = []string{leaf, "engine/adapt", "engine/shape", "server/admit", "server/httpfile", "server/link", "server/release", "server/resolve", "server/wire", "internal/tlsrec"}

func TestPurePackages(t *testing.T) {
	for _, p := range packages(t) {
		name, ok := p.name()
		if !ok || !slices.Contains(pure, name) {
			continue
		}
		for _, path := range p.Imports {
			first, _, _ := strings.Cut(path, "/")
			if first == "os" || first == "net" && path != "net/netip" || path == "log" || strings.HasPrefix(path, "golang.org/x/sys") {
				t.Errorf("%s imports %s", name, path)
			}
		}
		for _, file := range p.GoFiles {
			checkCalls(t, filepath.Join(p.Dir, file))
		}
	}
}

// checkCalls fails the test if a file asks a clock or makes a system call.
// Constants and types of those packages are fine.
func checkCalls(t *testing.T, file string) {
	t.Helper()
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	clocks := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		from, ok := sel.X.(*ast.Ident)
		if !ok {
			return true
		}
		if from.Name == "time" && slices.Contains(clocks, sel.Sel.Name) ||
			from.Name == "syscall" && sel.Sel.Name != "Errno" {
			t.Errorf("%s: calls %s.%s", set.Position(n.Pos()), from.Name, sel.Sel.Name)
		}
		return true
	})
}
