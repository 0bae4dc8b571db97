package main_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// releaseFiles makes two versions of a directory, and returns where they are.
func releaseFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"v1/f": "one", "v2/f": "two", "v1/v": "v1", "v2/v": "v2"} {
		writeFile(t, filepath.Join(dir, name), text)
	}
	return dir
}

// A share of the clients gets the canary, each always the same version, as who it is says.
func TestReleaseByWeight(t *testing.T) {
	dir := releaseFiles(t)
	writeFile(t, filepath.Join(dir, "f.yaml"), `
releases:
  web:
    stable: {name: v1, root: v1}
    canary: {name: v2, alias: v2}
    weight: 20%
    subject: [header X-Device, client]
respond: 404
locations:
  /app/: {release: web}
hosts:
  h.example: {respond: 404, locations: {/app/: {release: web}}}
`)
	writeFile(t, filepath.Join(dir, "v1/app/v"), "v1")
	l := serveLine(t, exec.Command(binary, "--config", filepath.Join(dir, "f.yaml"), "--listen=127.0.0.1:0", "--workers=1"), nil)
	canary := 0
	for i := range 200 {
		device := "X-Device: d" + strings.Repeat("x", i)
		first := get(t, "http://"+l.addrs[0]+"/app/v", device).Body
		if first != "v1" && first != "v2" {
			t.Fatalf("%q", first)
		}
		if again := get(t, "http://"+l.addrs[0]+"/app/v", device, "Host: h.example").Body; again != first {
			t.Errorf("%q after %q", again, first)
		}
		if first == "v2" {
			canary++
		}
	}
	if canary < 20 || canary > 60 { // of 40, with a deviation of 5.7
		t.Errorf("%d of 200 got the canary", canary)
	}
	l.stop()
}

// A root of a version that is missing keeps the server from starting, and check says where.
func TestReleaseWithoutCanary(t *testing.T) {
	dir := releaseFiles(t)
	writeFile(t, filepath.Join(dir, "f.yaml"), "releases: {web: {stable: {root: v1}, canary: {root: v3}}}\nrelease: web\n")
	for _, args := range [][]string{{"check"}, {"--listen=127.0.0.1:0"}} {
		got := fserve(t, nil, append(args, "--config", filepath.Join(dir, "f.yaml"))...)
		if got.code != 78 || !strings.Contains(got.stderr, "f.yaml:1:53: releases[web].canary.root: ") {
			t.Errorf("%v: exit %d, %s", args, got.code, got.stderr)
		}
	}
}

// A release is steered by the command, and goes on where it was after a reload, an upgrade and a restart; the
// access log has its versions.
func TestReleaseGoesOn(t *testing.T) {
	dir := releaseFiles(t)
	config := filepath.Join(dir, "f.yaml")
	text := `
releases: {web: {stable: {name: v1, root: v1}, canary: {name: v2, root: v2}, steps: [{weight: 0%}, {weight: 50%}, {weight: 100%}]}}
release: web
access_log: {file: access.log, format: '$status $release/$version'}
`
	writeFile(t, config, text)
	serve := func() *line {
		return serveLine(t, exec.Command(binary, "--config", config, "--config-watch=false", "--state-dir", filepath.Join(dir, "state"), "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--workers=1"), nil)
	}
	l := serve()
	admin := strings.TrimPrefix(l.process.admin(), "http://")
	release := func(want string, args ...string) {
		t.Helper()
		got := fserve(t, nil, append(append([]string{"release"}, args...), "--admin", admin)...)
		if text := got.stdout + got.stderr; !strings.Contains(text, want) {
			t.Errorf("%v: exit %d, %s; want %s", args, got.code, text, want)
		}
	}
	at := func() string { return "http://" + l.addrs[0] + "/v" }
	if got := get(t, at()).Body; got != "v1" {
		t.Errorf("%s at 0%%", got)
	}
	release(`"weight": "0%"`, "status")
	release(`"phase": "complete"`, "finish", "web")
	release("it is at its last step", "promote", "web")
	release(`there is no release "wbe"`, "pause", "wbe")
	release("status, or one of promote", "promote")
	if got := get(t, at()).Body; got != "v2" {
		t.Errorf("%s at 100%%", got)
	}
	if n := strings.Count(get(t, "http://"+admin+"/metrics").Body, `fserve_release_phase{phase="complete",release="web"} 1`); n != 1 {
		t.Errorf("the phase is %d times in the metrics", n)
	}
	writeFile(t, config, strings.Replace(text, "50%", "40%", 1))
	get2 := func(why string) {
		t.Helper()
		if got := get(t, at()).Body; got != "v2" {
			t.Errorf("%s after %s", got, why)
		}
	}
	if resp, err := http.Post("http://"+admin+"/-/reload", "", nil); err != nil {
		t.Fatal(err)
	} else if resp.Body.Close(); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	get2("a reload")
	l.upgrade()
	get2("an upgrade")
	l.stop()
	if b, err := os.ReadFile(filepath.Join(dir, "access.log")); err != nil || !strings.HasPrefix(string(b), "200 web/v1\n200 web/v2\n") {
		t.Errorf("%s, %v", b, err)
	}
	writeFile(t, config, text)
	l = serve()
	get2("a restart")
	l.stop()
}
