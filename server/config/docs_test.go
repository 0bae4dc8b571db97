package config

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/fserve/fserve/internal/testenv"
)

//go:generate env FSERVE_DOCS=write go test -count=1 -run ^Test(Docs|Man)$ .

// docs/configuration.md says what the comments of the fields say.
func TestDocs(t *testing.T) {
	p := &reference{comments: comments(t)}
	typ := reflect.TypeFor[Config]()
	p.WriteString("## On the command line and in the environment only\n")
	p.fields(typ, "", func(key string) bool { return key == "" })
	p.WriteString("\n## General\n")
	p.fields(typ, "", func(key string) bool { return key != "" })
	for sf := range structFields(typ) {
		if key := sf.Tag.Get("key"); isSection(sf.Type) {
			fmt.Fprintf(p, "\n## %s\n\n%s\n", key, p.comment(typ, sf))
			p.fields(sf.Type, key+".", func(string) bool { return true })
		}
	}
	testenv.Page(t, "../../docs/configuration.md", map[string]string{
		"settings": p.String(),
		"host":     p.keys(reflect.TypeFor[Host]()), "location": p.keys(reflect.TypeFor[Location]()),
		"limit": p.keys(reflect.TypeFor[Limit]()), "profile": p.keys(reflect.TypeFor[Profile]()), "issuer": p.keys(reflect.TypeFor[Issuer]()), "tier": p.keys(reflect.TypeFor[Tier]()), "release": p.keys(reflect.TypeFor[Release]()),
	})
}

// docs/man/fserve.yaml.5 says it too.
func TestMan(t *testing.T) {
	p := &reference{comments: comments(t)}
	typ := reflect.TypeFor[Config]()
	m := testenv.NewMan("fserve.yaml", 5, "configuration of fserve")
	m.Section("Description")
	m.Text("The file that fserve --config reads, YAML, and after it conf.d/*.yaml beside it. fserve check says what is wrong with it, and fserve config " +
		"what is in effect. A variable wins over the file, a flag over both. A relative path begins at the directory of the file. " +
		"The keys of files may stand without it. Keys that begin with x- are passed over; << merges a mapping.")
	m.Example("root: /srv/downloads\nlisten: [0.0.0.0:8080]\nlisting: true\nlimits: {client: 10MiB/s}\nhosts:\n  www.example.com: {root: /srv/www}")
	m.Section("General")
	p.man(m, typ, "")
	for sf := range structFields(typ) {
		if key := sf.Tag.Get("key"); isSection(sf.Type) {
			m.Section(key)
			m.Text(plain(p.comment(typ, sf)))
			p.man(m, sf.Type, key+".")
		}
	}
	for _, r := range []struct {
		title string
		typ   reflect.Type
	}{{"A host", reflect.TypeFor[Host]()}, {"A location", reflect.TypeFor[Location]()}, {"A limit", reflect.TypeFor[Limit]()}, {"A profile", reflect.TypeFor[Profile]()}, {"A release", reflect.TypeFor[Release]()}} {
		m.Section(r.title)
		p.manKeys(m, r.typ)
	}
	m.Section("See also")
	m.Text("fserve(1)")
	m.Check(t, "../../docs/man/fserve.yaml.5")
}

// man writes the settings of a type that a file may have.
func (p *reference) man(m *testenv.Man, typ reflect.Type, prefix string) {
	for sf := range structFields(typ) {
		switch key := sf.Tag.Get("key"); {
		case key == "":
		case !isSection(sf.Type):
			m.Item(prefix+key, plain(p.comment(typ, sf))+"\n\n"+plain(names(fieldAt(prefix+key)))+".")
		case prefix != "": // a section within one
			p.man(m, sf.Type, prefix+key+".")
		}
	}
}

// manKeys writes the keys of a record.
func (p *reference) manKeys(m *testenv.Man, typ reflect.Type) {
	for _, row := range p.rows(typ) {
		m.Item(row[0], plain(row[1]))
	}
}

// plain takes the Markdown out of a text.
func plain(s string) string {
	s = regexp.MustCompile(`\[([^]]+)\]\([^)]+\)`).ReplaceAllString(s, "$1")
	return strings.NewReplacer("`", "", `\*`, "*", " · ", ", ").Replace(s)
}

// comments returns those of the fields of the package's types, by TYPE.FIELD.
func comments(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for n := range ast.Preorder(f) {
			typ, _ := n.(*ast.TypeSpec)
			if typ == nil {
				continue
			}
			if s, ok := typ.Type.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					for _, name := range field.Names {
						all[typ.Name.Name+"."+name.Name] = paragraph(field.Doc.Text())
					}
				}
			}
		}
	}
	return all
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

type reference struct {
	strings.Builder
	comments map[string]string
}

// comment is that of a field of a type, or of one that is embedded in it.
func (p *reference) comment(typ reflect.Type, sf reflect.StructField) string {
	if n := len(sf.Index); n > 1 {
		typ = typ.FieldByIndex(sf.Index[:n-1]).Type
	}
	return p.comments[typ.Name()+"."+sf.Name]
}

// fields writes the settings of a type whose keys are wanted.
func (p *reference) fields(typ reflect.Type, prefix string, want func(key string) bool) {
	for sf := range structFields(typ) {
		key := sf.Tag.Get("key")
		if isSection(sf.Type) && prefix != "" { // a section within one
			fmt.Fprintf(p, "\n### `%s`\n\n%s\n", prefix+key, p.comment(typ, sf))
			p.fields(sf.Type, prefix+key+".", want)
		}
		if isSection(sf.Type) || !want(key) {
			continue
		}
		title, path := prefix+key, prefix+key
		if key == "" {
			path = sf.Tag.Get("flag")
			title = "--" + path
		}
		fmt.Fprintf(p, "\n### `%s`\n\n%s\n\n%s\n", title, p.comment(typ, sf), names(fieldAt(path)))
	}
}

// names says how a field is given, and when a change takes effect.
func names(f *field) string {
	var parts []string
	if f.flag != "" {
		flag := "flag `--" + f.flag + "`"
		if f.short != "" {
			flag += ", `-" + f.short + "`"
		}
		parts = append(parts, flag)
	}
	if f.env != "" {
		parts = append(parts, "variable `"+f.env+"`")
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

// keys is the table of a value that may be a mapping.
func (p *reference) keys(typ reflect.Type) string {
	text := "| key | |\n|---|---|\n"
	for _, row := range p.rows(typ) {
		text += fmt.Sprintf("| `%s` | %s |\n", row[0], row[1])
	}
	return text
}

// rows are the keys of a value that may be a mapping, and what they say. A key with a flag is an
// option of the server that hosts and locations have, too.
func (p *reference) rows(typ reflect.Type) (rows [][2]string) {
	for sf := range structFields(typ) {
		key, about := sf.Tag.Get("key"), sf.Tag.Get("own")
		switch {
		case about != "":
		case sf.Tag.Get("flag") != "":
			about = "As files." + key + ". Default: that around it."
		default:
			about = p.comment(typ, sf)
		}
		rows = append(rows, [2]string{key, about})
	}
	return rows
}

// Every comment says what the default is, and says it right.
func TestCommentsSayTheDefault(t *testing.T) {
	p, defaults := &reference{comments: comments(t)}, defaultTexts(t)
	seen := 0
	var visit func(typ reflect.Type, prefix string)
	visit = func(typ reflect.Type, prefix string) {
		for sf := range structFields(typ) {
			key := sf.Tag.Get("key")
			if isSection(sf.Type) {
				visit(sf.Type, prefix+key+".")
				continue
			}
			path := prefix + key
			want, inFile := defaults[path]
			switch {
			case !inFile && key != "":
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
			if key == "" {
				want = "Default: "
			}
			if doc := p.comment(typ, sf); !strings.Contains(doc, want) {
				t.Errorf("%s: %q does not say %q", path, doc, want)
			}
			seen++
		}
	}
	visit(reflect.TypeFor[Config](), "")
	if seen < len(defaults) {
		t.Errorf("%d fields of at least %d", seen, len(defaults))
	}
}

// defaultTexts are the defaults of the fields of files, as text by path.
func defaultTexts(t *testing.T) map[string]string {
	t.Helper()
	page, err := Rendering{}.Render(Default())
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
