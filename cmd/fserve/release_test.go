package main_test

import (
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
