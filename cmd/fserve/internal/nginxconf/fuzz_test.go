package nginxconf

import (
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v4"
)

// Whatever a file says, what is written is YAML, or the file is refused.
func FuzzImport(f *testing.F) {
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := &reader{prefix: t.TempDir()}
		list, err := r.block(newLexer("f", text), 0, false)
		if err != nil {
			return
		}
		tr := newTranslator()
		tr.read(list)
		out, err := tr.write()
		var doc yaml.Node
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Load(out, &doc); err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
	})
}
