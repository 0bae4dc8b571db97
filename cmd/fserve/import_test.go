package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// configurations as people publish them, with a place for files (@).
const nginxConfigs = "internal/nginxconf/testdata/*.conf"

// Configurations of nginx become the YAML beside them, which passes check. The exit code tells whether
// something could not be said.
func TestImportNginx(t *testing.T) {
	files, err := filepath.Glob(nginxConfigs)
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	cert, key := writePair(t, t.TempDir())
	for _, file := range files {
		r := fserve(t, nil, "import", "nginx", file)
		golden := strings.TrimSuffix(file, "conf") + "yaml"
		if os.Getenv("FSERVE_DOCS") == "write" {
			writeFile(t, golden, r.stdout)
		}
		want, err := os.ReadFile(golden)
		if err != nil || r.stdout != string(want) {
			t.Errorf("%s: not what is beside it (%v): FSERVE_DOCS=write writes it\n%s", file, err, r.stdout)
		}
		left := strings.Contains(r.stdout, "could not say")
		if (r.code == 1) != left || r.code > 1 {
			t.Errorf("%s: code %d", file, r.code)
		}
		dir := t.TempDir()
		for _, name := range regexp.MustCompile(`@(/[\w./-]*)`).FindAllStringSubmatch(r.stdout, -1) {
			path := filepath.Join(dir, name[1])
			switch filepath.Ext(path) {
			case ".pem":
				copyFile(t, cert, path)
			case ".key":
				copyFile(t, key, path)
			case ".htpasswd":
				writeFile(t, path, "joe:$2a$04$"+strings.Repeat(".", 53))
			case "":
				err = os.MkdirAll(path, 0o755)
			default:
				writeFile(t, path, "x")
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, page := range regexp.MustCompile(`: (/[\w/]+\.html)[,}]|page: (/[\w/]+\.html)`).FindAllStringSubmatch(r.stdout, -1) {
			for _, root := range regexp.MustCompile(`root: '@(/[\w./-]*)'`).FindAllStringSubmatch(r.stdout, -1) {
				writeFile(t, filepath.Join(dir, root[1], page[1]+page[2]), "x")
			}
		}
		yaml := filepath.Join(dir, "fserve.yaml")
		writeFile(t, yaml, strings.ReplaceAll(r.stdout, "@/", dir+"/"))
		if c := fserve(t, nil, "check", "-c", yaml); c.code != 0 {
			t.Errorf("%s: check: %s\n%s", file, c.stderr, r.stdout)
		}
	}
}

// All that the pairs of docs/migrating have for nginx can be said.
func TestImportMigrating(t *testing.T) {
	files, err := filepath.Glob("../../docs/migrating/*/nginx.conf")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		if r := fserve(t, nil, "import", "nginx", file); r.code != 0 {
			t.Errorf("%s: %s", file, r.stderr)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, to, string(b))
}

// What is no configuration is named with its line.
func TestImportFaults(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "nginx.conf")
	for _, test := range []struct {
		content, want string
		code          int
	}{
		{"server {\n  listen 80\n}\n", file + ":2: listen has no ;", 78},
		{"server {\n  listen 80;\n", file + ":3: the end of the file, and a block has no }", 78},
		{"root \"/srv;\n", file + ":1: a quote has no end", 78},
		{"listen 80;\n}\n", file + ":2: unexpected '}'", 78},
		{"http { include none.conf; }", file + ":1: include none.conf: there is no such file: what it says is missing here", 1},
		{"include nginx.conf;", "include each other too deep", 78},
		{"server {\n  lsten 80;\n}\n", file + ":2: lsten 80: fserve has nothing like it", 1},
	} {
		writeFile(t, file, test.content)
		if r := fserve(t, nil, "import", "nginx", file); r.code != test.code || !strings.Contains(r.stderr, test.want) {
			t.Errorf("%q: %+v, want %s", test.content, r, test.want)
		}
	}
	if r := fserve(t, nil, "import", "apache", file); r.code != 2 || !strings.Contains(r.stderr, "only configurations of nginx") {
		t.Errorf("%+v", r)
	}
	if r := fserve(t, nil, "import", "nginx", dir+"/none"); r.code != 78 || !strings.Contains(r.stderr, "no such file") {
		t.Errorf("%+v", r)
	}
}
