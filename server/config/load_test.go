package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// write makes files in a directory: names and contents in turn.
func write(t *testing.T, dir string, files ...string) {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		name := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// sources are those of a command line and an environment.
func sources(t *testing.T, environ []string, args ...string) *Sources {
	t.Helper()
	flags := &Flags{}
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.Register(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &Sources{Flags: flags, Environ: environ}
}

func load(t *testing.T, s *Sources) *Loaded {
	t.Helper()
	l, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLayers(t *testing.T) {
	dir := t.TempDir()
	main, second := filepath.Join(dir, "fserve.yaml"), filepath.Join(dir, "conf.d", "20.yaml")
	write(t, dir,
		"fserve.yaml", "root: /file\nworkers: 1\ntimeouts: {send: 1s, idle: 1s, header: 1s}\nlisten: [a:1, a:2]\nlimits:\n  paths: {/a/: 1MiB/s}\n",
		"conf.d/20.yaml", "timeouts: {send: 3s}\nlisten: [c:1]\n",
		"conf.d/10.yaml", "timeouts: {send: 2s}\nlog: {level: warn}\nlimits:\n  paths: {/b/: 2MiB/s}\n",
		"conf.d/.hidden.yaml", "nonsense", "conf.d/30.yml", "nonsense", "conf.d/dir.yaml/x", "nonsense")
	l := load(t, sources(t, []string{"FSERVE_IDLE_TIMEOUT=4s", "FSERVE_HEADER_TIMEOUT=4s", "FSERVE_ADMIN_TOKEN=t", "FSERVE_PORT=tcp://x", "OTHER=1"},
		"--config", main, "--header-timeout=5s", "--mime=a=b/c", "--mime=d=e/f"))
	if l.Root != "/file" || l.Workers != 1 || l.Log.Level.String() != "WARN" || l.Admin.Token != "t" {
		t.Errorf("%+v", l.Config)
	}
	if want := (Timeouts{Header: 5 * time.Second, Idle: 4 * time.Second, Body: 30 * time.Second, Open: 30 * time.Second, Send: 3 * time.Second, Drain: 30 * time.Second, Upgrade: time.Hour}); l.Timeouts != want {
		t.Errorf("%+v, want %+v", l.Timeouts, want)
	}
	if len(l.Listen) != 1 || len(l.Limits.Paths) != 2 || len(l.Files) != 3 || len(l.Config.Files.Types) != 2 {
		t.Errorf("listen %v, paths %v, files %v, types %v", l.Listen, l.Limits.Paths, l.Files, l.Config.Files.Types)
	}
	for path, want := range map[string]string{
		"root": main + ":1:7", "timeouts.send": second + ":1:18", "timeouts.idle": "FSERVE_IDLE_TIMEOUT",
		"timeouts.header": "--header-timeout", "timeouts.drain": "default", "limits.paths[/a/]": main + ":6:11",
		"limits.paths[/b/]": filepath.Join(dir, "conf.d", "10.yaml") + ":4:11", "listen[0]": second + ":2:10", "files.types[a]": "--mime",
		"admin.token": "FSERVE_ADMIN_TOKEN",
	} {
		if got := l.Origins.Of(path).String(); got != want {
			t.Errorf("%s: from %s, want %s", path, got, want)
		}
	}
}

// A flag or a variable replaces lists and tables of the files, and the parts of
// theirs have no places there any more.
func TestFlagsReplaceCollections(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f.yaml", "root: /r\nlisten: [a:1, a:2, a:3]\nlimits:\n  paths: {/a/: {rate: 1MiB/s, weight: 2}, /b/: 1MiB/s}\n")
	l := load(t, sources(t, []string{"FSERVE_LIMIT_PATH=/c/=1MiB/s,weight=3\n/d/=2MiB/s"}, "--config", filepath.Join(dir, "f.yaml"), "--listen=b:1,b:2", "--listen", "b:3"))
	if strings.Join(l.Listen, " ") != "b:1 b:2 b:3" || len(l.Limits.Paths) != 2 || l.Limits.Paths["/c/"].Weight != 3 {
		t.Errorf("%v, %v", l.Listen, l.Limits.Paths)
	}
	for path, want := range map[string]string{"listen[2]": "--listen", "limits.paths[/a/].weight": "FSERVE_LIMIT_PATH"} {
		if got := l.Origins.Of(path).String(); got != want {
			t.Errorf("%s: from %s, want %s", path, got, want)
		}
	}
}

func TestFaultsOfSources(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	write(t, dir, "a.yaml", "root: /r\nlimits: {paths: {/a/: 1MiB/s}}\n", "b/b.yaml", "root: /r\nworkers: 3000\n",
		"b/conf.d/1.yaml", "pni: true\nfiles: {types: {a: b/c}}\n", "b/conf.d/2.yaml", "files: {types: {a: b/d}}\n", "fifo/conf.d/x", "", "good.yaml", "root: /r\n")
	if err := os.Mkdir(file("dir.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/none", file("fifo/conf.d/9.yaml")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "fifo/f.yaml", "root: /r\n")
	for _, test := range []struct {
		name    string
		environ []string
		args    []string
		form    bool
		want    string
	}{
		{"nothing", nil, nil, true, "--root is required: the directory to serve (root in the file)"},
		{"no file", nil, []string{"--config", file("none.yaml")}, false, file("none.yaml") + ": cannot be read: no such file or directory"},
		{"a directory", nil, []string{"--config", file("dir.yaml")}, false, file("dir.yaml") + ": cannot be read: not a regular file"},
		{"dangling link", nil, []string{"--config", file("fifo/f.yaml")}, false, file("fifo/conf.d/9.yaml") + ": cannot be read: no such file or directory"},
		{"several files", nil, []string{"--config", file("b/b.yaml")}, false,
			file("b/b.yaml") + ":2:10: workers: 3000: --workers must be from 1 to 1024, or 0 for one for each core\n" +
				file("b/conf.d/1.yaml") + `:1:1: unknown key "pni"; did you mean pin?` + "\n" +
				file("b/conf.d/2.yaml") + ":1:17: files.types: duplicate key \"a\": it is at " + file("b/conf.d/1.yaml") + ":2:17 already"},
		{"variables", []string{"FSERVE_ROOT=/r", "FSERVE_WORKERS=many", "FSERVE_LIMIT_GLOBAL=3"}, nil, true,
			"FSERVE_LIMIT_GLOBAL: rate \"3\" has no unit (nginx would mean bytes, tc bits): write 3B/s, 3KiB/s or 3Kbit/s\n" +
				"FSERVE_WORKERS: \"many\" is not a whole number"},
		{"variable that does not count", []string{"FSERVE_WORKERS=many"}, []string{"--root=/r", "--workers=3000"}, true,
			"--workers: 3000: --workers must be from 1 to 1024, or 0 for one for each core"},
		{"sense", nil, []string{"--root=/r", "--attachment=x"}, false, `--attachment: disposition rule "x": not a path or a pattern with one *`},
		{"fallback without a place", nil, []string{"--root=/r", "--config-fallback"}, true,
			"--config-fallback: --config-fallback needs a --state-dir in which the last good configuration is kept"},
	} {
		_, err := sources(t, test.environ, test.args...).Load()
		var ps Problems
		if !errors.As(err, &ps) {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if err.Error() != test.want || ps.Form() != test.form {
			t.Errorf("%s: form %t, got\n%s\nwant\n%s", test.name, ps.Form(), err, test.want)
		}
	}
}

func TestFlagsAreChecked(t *testing.T) {
	for _, test := range []struct{ arg, want string }{
		{"--workers=x", `invalid argument "x" for "--workers" flag: "x" is not a whole number`},
		{"--limit-path=/a/", `invalid argument "/a/" for "--limit-path" flag: "/a/" is not PREFIX=RATE[,client=RATE][,connection=RATE][,after=SIZE][,weight=N][,burst=SIZE][,guarantee=RATE][,priority=N]`},
		{"--limit-path=/a/=1MiB/s,weight=2,weight=3", `invalid argument "/a/=1MiB/s,weight=2,weight=3" for "--limit-path" flag: weight is given twice`},
		{"--limit-global=80Mb/s", `invalid argument "80Mb/s" for "--limit-global" flag: rate "80Mb/s": unit "Mb" may mean bits or bytes: use one of B, KB, MB, GB, KiB, MiB, GiB, bit, Kbit, Mbit, Gbit`},
		{"-c=a -c=b", `invalid argument "b" for "-c, --config" flag: a second one: what adds to the first stands beside it, in conf.d`},
		{"--listen=\"a", `invalid argument "\"a" for "-l, --listen" flag: "\"a" is not a list with commas`},
	} {
		set := pflag.NewFlagSet("test", pflag.ContinueOnError)
		new(Flags).Register(set)
		if err := set.Parse(strings.Fields(test.arg)); err == nil || err.Error() != test.want {
			t.Errorf("%s: %v, want %s", test.arg, err, test.want)
		}
	}
}

// Variables without effect are named, but those that systems which run containers make.
func TestUnknownVariables(t *testing.T) {
	s := sources(t, []string{"FSERVE_SEND_TIMOUT=1s", "FSERVE_X=y", "FSERVE_PORT=tcp://x", "FSERVE_PORT_8080_TCP_ADDR=x", "FSERVE_SERVICE_HOST=x",
		"FSERVE_WEB_SERVICE_PORT_HTTP=1", "FSERVE_ROOT=/r", "FSERVE_ADMIN_TOKEN=t", "OTHER=1"})
	want := []string{"unknown variable FSERVE_SEND_TIMOUT; did you mean FSERVE_SEND_TIMEOUT?", "unknown variable FSERVE_X"}
	if got := s.Unknown(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Defaults that depend on other values.
func TestSettledDefaults(t *testing.T) {
	tls := []string{"--root=/r", "--tls-listen=a:1", "--tls-cert=c", "--tls-key=k"}
	if l := load(t, sources(t, nil, tls...)); len(l.Listen) != 0 {
		t.Errorf("TLS only: %v", l.Listen)
	}
	if l := load(t, sources(t, nil, append(tls, "--listen=b:1")...)); len(l.Listen) != 1 {
		t.Errorf("both: %v", l.Listen)
	}
	if l := load(t, sources(t, []string{"STATE_DIRECTORY=/s/a:/s/b"}, "--root=/r")); l.StateDir != "/s/a" {
		t.Errorf("state in %q", l.StateDir)
	}
	if l := load(t, sources(t, []string{"STATE_DIRECTORY=/s/a"}, "--root=/r", "--state-dir=/t")); l.StateDir != "/t" {
		t.Errorf("state in %q", l.StateDir)
	}
}
