package fserve_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages returns the text of every Markdown page by its path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != "." && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var (
	link        = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	codeBlock   = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```")
	codeSpan    = regexp.MustCompile("`[^`\n]*`")
	heading     = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors returns the names that GitHub gives to the headings of a page.
func anchors(text string) map[string]bool {
	names := make(map[string]bool)
	for _, h := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
		plain := notInAnchor.ReplaceAllString(strings.ToLower(h[1]), "")
		names[strings.ReplaceAll(plain, " ", "-")] = true
	}
	return names
}

// Every link of a page inside the repository leads to a file, and to a heading.
func TestLinks(t *testing.T) {
	all := pages(t)
	for page, text := range all {
		prose := codeSpan.ReplaceAllString(codeBlock.ReplaceAllString(text, ""), "")
		for _, m := range link.FindAllStringSubmatch(prose, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			to, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if to != "" {
				target = filepath.Join(filepath.Dir(page), to)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", page, err)
			}
			if anchor != "" && !anchors(all[target])[anchor] {
				t.Errorf("%s: %s has no heading #%s", page, target, anchor)
			}
		}
	}
}

// blocks returns the code blocks of the README in a language.
func blocks(t *testing.T, language string) (list []string) {
	t.Helper()
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range codeBlock.FindAllStringSubmatch(string(b), -1) {
		if m[1] == language {
			list = append(list, m[2])
		}
	}
	if len(list) == 0 {
		t.Fatalf("the README has no block of %q", language)
	}
	return list
}

// goCommand runs the go command in the module.
func goCommand(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
		t.Errorf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// The README begins with the two commands that need no set-up.
func TestReadmeCommands(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	first := blocks(t, "")[0]
	for _, target := range []string{"run", "test"} {
		if !strings.Contains(first, "make "+target+" ") || !strings.Contains(string(makefile), "\n"+target+":") {
			t.Errorf("make %s is not in the README's first block, or not in the Makefile", target)
		}
	}
}

// The README's programs compile as they stand.
func TestReadmePrograms(t *testing.T) {
	for _, text := range blocks(t, "go") {
		file := filepath.Join(t.TempDir(), "main.go")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		goCommand(t, "vet", file)
	}
}

// The README's configuration is one that a server would start with.
func TestReadmeConfiguration(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"srv/downloads", "srv/builds", "srv/www", "var/log/fserve"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "srv/www/404.html"), []byte("not here"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("/srv/", dir+"/srv/", "/var/", dir+"/var/").Replace(blocks(t, "yaml")[0])
	file := filepath.Join(dir, "fserve.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	goCommand(t, "run", "./cmd/fserve", "check", "--config", file)
}
