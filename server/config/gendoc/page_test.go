package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/fserve/fserve/server/config"
)

func TestPageIsUpToDate(t *testing.T) {
	want, err := Page("..")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/configuration.md is not what the comments say: run make docs")
	}
}

// Every comment says what the default is, and says it right.
func TestCommentsSayTheDefault(t *testing.T) {
	src, err := parse("..")
	if err != nil {
		t.Fatal(err)
	}
	defaults := defaultTexts(t)
	seen := 0
	var visit func(typ, prefix string)
	visit = func(typ, prefix string) {
		for _, f := range src.fields(typ) {
			if f.section {
				visit(f.typ, prefix+f.key+".")
				continue
			}
			path := prefix + f.key
			want, inFile := defaults[path]
			switch {
			case !inFile && f.key != "":
				t.Errorf("%s: no default is known", path)
			case path == "root":
				want = "Required"
			case want == "" && path == "files.index":
				want = "Default: index.html"
			case want == "":
				want = "Default: none"
			default:
				want = "Default: " + want
			}
			if f.key == "" {
				want = "Default: "
			}
			if !strings.Contains(f.doc, want) {
				t.Errorf("%s: %q does not say %q", path, f.doc, want)
			}
			seen++
		}
	}
	visit("Config", "")
	if seen < len(defaults) {
		t.Errorf("%d fields of at least %d", seen, len(defaults))
	}
}

// defaultTexts are the defaults of the fields of files, as text by path.
func defaultTexts(t *testing.T) map[string]string {
	t.Helper()
	page, err := config.Rendering{}.Render(config.Default())
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Load(page, &doc); err != nil {
		t.Fatal(err)
	}
	texts := make(map[string]string)
	var visit func(n *yaml.Node, path string)
	visit = func(n *yaml.Node, path string) {
		switch {
		case n.Kind == yaml.MappingNode && len(n.Content) > 0:
			for i := 0; i < len(n.Content); i += 2 {
				visit(n.Content[i+1], strings.TrimPrefix(path+"."+n.Content[i].Value, "."))
			}
		case n.Kind == yaml.SequenceNode && len(n.Content) > 0:
			texts[path] = n.Content[0].Value
		default:
			texts[path] = n.Value
		}
	}
	visit(doc.Content[0], "")
	return texts
}
