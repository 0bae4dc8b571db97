package config

import (
	"os"
	"strings"
	"testing"
	"time"
)

// writing opens the file for writing, as an editor or cp does, and empties it.
func (g *rig) writing() *os.File {
	g.t.Helper()
	if _, sure, _ := readUnless(g.file); !sure {
		g.t.Skip("this file system has no leases")
	}
	w, err := os.OpenFile(g.file, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { w.Close() })
	return w
}

// A file that is written slowly is not read before the writer closes it, however long that
// rests.
func TestHalfAFileIsNotRead(t *testing.T) {
	g := newRig(t, "root: /r\ndeny: [10.0.0.0/8]\n")
	g.up()
	g.watch()
	w := g.writing()
	for _, part := range []string{"root: /r\n", "limits: {client: 7MiB/s}\n", "deny: [10.0.0.0/8]\n"} {
		if _, err := w.WriteString(part); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(4 * watchQuiet); time.Now().Before(end); time.Sleep(watchQuiet / 20) {
			if c := g.r.Config(); len(c.Deny) != 1 || c.Limits.Client.String() != "unlimited" {
				t.Fatalf("half a file is in force: %+v", c.Access)
			}
		}
	}
	w.Close()
	g.wantRate("closed", "7MiB/s")
	if got := g.logged(); strings.Contains(got, "ACCESS RULES") || strings.Contains(got, "problem") {
		t.Error(got)
	}
}

// Who asks for a reload meanwhile, or starts, waits a moment, and is refused if it takes
// longer.
func TestReloadOfHalfAFile(t *testing.T) {
	g := newRig(t, "root: /r\n")
	g.up()
	w := g.writing()
	if _, err := g.r.Reload("test"); err == nil || !strings.Contains(err.Error(), g.file+": cannot be read: somebody has it open for writing") {
		t.Errorf("%v", err)
	}
	if _, err := w.WriteString("root: /other\n"); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(writers/4, func() { w.Close() })
	if _, err := g.r.Reload("test"); err != nil || g.r.Config().Root != "/other" {
		t.Errorf("%v, root %s", err, g.r.Config().Root)
	}
}

// A reload that lets clients in who were denied says so.
func TestLostRulesAreWarnedOf(t *testing.T) {
	const rules = "root: /r\ndeny: [10.0.0.0/8, 192.0.2.0/24]\nlocations: {/a/: {allow: [127.0.0.1]}}\n"
	for _, c := range []struct{ to, path string }{
		{"root: /r\ndeny: [10.0.0.0/8]\nlocations: {/a/: {allow: [127.0.0.1]}}\n", "path=deny"},
		{"root: /r\ndeny: [10.0.0.0/8, 192.0.2.0/24]\n", "path=locations[/a/].allow"},
		{"root: /r\ndeny: [192.0.2.0/24, 10.0.0.0/8, 172.16.0.0/12]\nlocations: {/a/: {allow: [127.0.0.1, 127.0.0.2]}}\n", ""},
		{"root: /r\ndeny: [10.0.0.0/8, 192.0.2.0/24]\nlocations: {/a/: {deny: [all], allow: [127.0.0.1]}}\nlimits: {client: 1MB/s}\n", ""},
		{rules + "referers: [a]\n", ""},
		{strings.Replace(rules, "allow: [127.0.0.1]", "allow: [127.0.0.1], password_file: p", 1), ""},
	} {
		g := newRig(t, rules)
		g.up()
		g.write(c.to)
		if _, err := g.r.Reload("test"); err != nil {
			t.Fatal(err)
		}
		var lines []string
		for line := range strings.Lines(g.logged()) {
			if strings.Contains(line, "ACCESS RULES ARE GONE") {
				lines = append(lines, line)
			}
		}
		if c.path == "" && len(lines) > 0 || c.path != "" && (len(lines) != 1 || !strings.Contains(lines[0], "level=WARN") || !strings.Contains(lines[0], c.path+" ")) {
			t.Errorf("%s%q", c.to, lines)
		}
	}
}
