package fserve_test

import (
	"context"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
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

// The README's programs compile as they stand, and serve. Only where they do is replaced.
func TestReadmePrograms(t *testing.T) {
	for _, text := range blocks(t, "go") {
		dir := t.TempDir()
		file, binary, socket := filepath.Join(dir, "main.go"), filepath.Join(dir, "main"), filepath.Join(dir, "s")
		if err := os.Mkdir(filepath.Join(dir, "paid"), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string]string{file: text, filepath.Join(dir, "f.txt"): "content", filepath.Join(dir, "paid", "x"): "paid"} {
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		goCommand(t, "vet", file)
		here := strings.NewReplacer("/srv/downloads", dir, `[]string{":8080"}`, `[]string{"unix:`+socket+`"}`, `"tcp", ":8080"`, `"unix", "`+socket+`"`).Replace(text)
		if err := os.WriteFile(file, []byte(here), 0o600); err != nil {
			t.Fatal(err)
		}
		goCommand(t, "build", "-o", binary, file)
		run(t, binary)
		want := map[string]string{"/f.txt": "206 ont"}
		if strings.Contains(text, `"/paid/"`) {
			want["/paid/x"], want["/paid/x?ticket=1"] = "403 ", "206 aid"
		}
		for target, answer := range want {
			if got := ask(t, socket, target, "bytes=1-3"); got != answer {
				t.Errorf("%s: %q, want %q", target, got, answer)
			}
		}
	}
}

// run runs a program until the end of the test.
func run(t *testing.T, binary string) {
	t.Helper()
	cmd := exec.Command(binary)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended, or does now
		_ = cmd.Wait()
	})
}

// ask makes a request of a server on a Unix socket, once it listens, and returns status and body.
func ask(t *testing.T, socket, target, ranges string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (c net.Conn, err error) {
		testenv.Eventually(30*time.Second, func() bool {
			c, err = new(net.Dialer).DialContext(ctx, "unix", socket)
			return err == nil
		})
		return c, err
	}}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x"+target, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Range", ranges)
	w, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(w.StatusCode) + " " + string(body)
}

// ofPackage is a name of the module in a code span; e stands for an engine.
var ofPackage = regexp.MustCompile(`\b(engine|server|nethttp|e)\.([A-Z]\w*)(\()?`)

// What the README says of embedding in code spans is there: functions are no methods.
func TestReadmeNames(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## Embedding\n")
	section, _, _ = strings.Cut(section, "\n## ")
	found := 0
	for _, span := range codeSpan.FindAllString(codeBlock.ReplaceAllString(section, ""), -1) {
		for _, m := range ofPackage.FindAllStringSubmatch(span, -1) {
			found++
			api := map[string]string{"engine": "engine", "e": "engine", "server": "server", "nethttp": "server.nethttp"}[m[1]]
			text, err := os.ReadFile("api/" + api + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			want := "(?m)^(type|func|\t) ?" + m[2] + `\b`
			switch {
			case m[1] == "e":
				want = `(?m)^func \(e \*Engine\) ` + m[2] + `\(`
			case m[3] != "":
				want = "(?m)^func " + m[2] + `\(`
			}
			if !regexp.MustCompile(want).Match(text) {
				t.Errorf("%s: there is no such name in api/%s.txt", m[0], api)
			}
		}
	}
	if found < 8 {
		t.Errorf("%d names were found", found)
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
