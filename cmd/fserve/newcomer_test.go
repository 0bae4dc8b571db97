package main_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a newcomer does wrong is answered by one line each: where it is, and what was meant.
func TestNewcomer(t *testing.T) {
	dir := t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	at := taken.Addr().String()
	cert, key := writePair(t, dir)
	file := filepath.Join(dir, "fserve.yaml")
	if err := os.Mkdir(filepath.Join(dir, "www"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, content string // of the file; empty: none is given
		args          string
		code          int
		want          string
	}{
		{"mistyped key", "root: www\nlimits:\n  cleint: 1MiB/s\n", "", 78, file + `:3:3: unknown key "limits.cleint"; did you mean limits.client?`},
		{"mistyped key of a host", "hosts:\n  a.example:\n    root: www\n    lsiting: true\n", "", 78,
			file + `:4:5: hosts[a.example].lsiting: unknown key "lsiting"; did you mean listing?`},
		{"tab", "root: www\nfiles:\n\tlisting: true\n", "", 78, file + ":3:1: not YAML: a tab: lines are indented with spaces"},
		{"duplicate", "root: www\nworkers: 1\nroot: /srv\n", "", 78, file + `:3:1: duplicate key "root": it is on line 1 already`},
		{"unit missing", "root: www\nlimits: {client: 10}\n", "", 78,
			file + `:2:18: limits.client: rate "10" has no unit (nginx would mean bytes, tc bits): write 10B/s, 10KiB/s or 10Kbit/s`},
		{"unit missing of a duration", "root: www\ntimeouts: {send: 30}\n", "", 78, file + `:2:18: timeouts.send: "30" is not a duration with its unit, like 10s or 1m30s`},
		{"root missing", "root: wwww\n", "", 78, file + ":1:7: root: open " + dir + "/wwww: no such file or directory"},
		{"no root", "listen: [\":0\"]\n", "", 2, "--root is required: the directory to serve (root in the file)"},
		{"port taken", "root: www\nlisten:\n  - " + at + "\n", "", 69, file + ":3:5: listen[0]: " + at + ": bind: address already in use: by "},
		{"certificate unreadable", "root: www\ntls: {listen: \"127.0.0.1:0\", cert: none.pem, key: " + key + "}\n", "", 78,
			file + ":2:36: tls.cert: stat " + dir + "/none.pem: no such file or directory"},
		{"key in the place of the certificate", "root: www\ntls: {listen: \"127.0.0.1:0\", cert: " + key + ", key: " + cert + "}\n", "", 78, file + ":2:36: tls.cert: "},
		{"bad class", "root: www\nlocations: {/a/: {class: /b/}}\n", "", 78,
			file + `:2:26: locations[/a/].class: "/b/" is in no class of limits.paths; one that limits are set for while the server runs is /b/: unlimited`},
		{"word of nginx", "root: www\nautoindex: \"on\"\n", "", 78, file + `:2:1: unknown key "autoindex"; here it is listing`},
		{"list as a text", "root: www\ntry: $uri $uri/ /index.html\n", "", 78, file + `:2:6: try[0]: "$uri $uri/ /index.html": write a list: [$uri, $uri/, /index.html]`},
		{"configuration of nginx", "http {\n  server {\n    root www;\n  }\n}\n", "", 78, file + ":1:1: this is a configuration of nginx: fserve import nginx " + file},
		{"file missing", "", "-c " + dir + "/none.yaml", 78, dir + "/none.yaml: cannot be read: no such file or directory"},
		{"two files", "", "-c a.yaml -c b.yaml", 2, `invalid argument "b.yaml" for "-c, --config" flag: a second one: what adds to the first stands beside it, in conf.d`},
		{"unknown flag", "", "--lisen :80", 2, "unknown flag: --lisen; did you mean --listen?"},
		{"flag of another server", "", "-t", 2, "unknown flag: -t; here it is fserve check"},
		{"value of a flag", "", "--symlinks no", 2, `invalid argument "no" for "--symlinks" flag: "no" is not one of inside, follow, deny`},
		{"flag without a value", "", "--root", 2, "flag needs an argument: --root"},
		{"unknown command", "", "chekc", 2, `unknown command "chekc"; did you mean check?`},
		{"directory alone", "", dir, 2, `unknown command "` + dir + `"; did you mean --root ` + dir + `?`},
		{"file alone", "", cert, 2, `unknown command "` + cert + `"; did you mean --config ` + cert + `?`},
		{"path alone", "", "./none", 2, `unknown command "./none"; a directory is given as --root DIR, a configuration as --config FILE`},
		{"topic", "", "help limit", 2, `no help on "limit"; did you mean limits?`},
	} {
		args := strings.Fields(test.args)
		if test.content != "" {
			writeFile(t, file, test.content)
			args = append(args, "--config", file)
		}
		for _, command := range []string{"", "check"} {
			if command != "" && (test.content == "" || test.code == 2) {
				continue
			}
			want := test.code
			if command == "check" { // it tries nothing
				want = 78
			}
			r := fserve(t, nil, append(strings.Fields(command), args...)...)
			if r.code != want || !strings.HasPrefix(r.stderr, "fserve: "+test.want) || strings.Count(r.stderr, "\n") != 1 || r.stdout != "" {
				t.Errorf("%s: fserve %s: code %d, %swant %s", test.name, command, r.code, r.stderr, test.want)
			}
		}
	}
}

// A variable that has no effect is named, and keeps nothing from starting.
func TestUnknownVariable(t *testing.T) {
	root, _, _ := site(t)
	const want = "unknown variable FSERVE_SEND_TIMOUT; did you mean FSERVE_SEND_TIMEOUT?"
	env := []string{"FSERVE_SEND_TIMOUT=1s", "FSERVE_PORT=tcp://10.0.0.1:80"}
	r := fserve(t, env, "check", "-r", root, "-l", "127.0.0.1:0")
	if r.code != 0 || r.stderr != "fserve: "+want+"\n" {
		t.Errorf("%+v", r)
	}
	serve(t, env, "-r", root).wantLog(want)
}
