package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// curl runs curl and returns its output.
func curl(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	cmd := exec.Command(path, append([]string{"-sS", "--fail-with-body", "--max-time", "30", "--noproxy", "*"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Errorf("curl %v: %v: %s", args, err, stderr.String())
	}
	return stdout.String()
}

// The usual ways to download, with the client that everybody has.
func TestCurl(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		root, big, size := site(t)
		p := serve(t, nil, "--root", root, driver)
		got := filepath.Join(t.TempDir(), "got")
		check := func(what string, off, n int64) {
			t.Helper()
			b, err := os.ReadFile(got)
			if err == nil {
				err = big.Check(b, off)
			}
			if err != nil || int64(len(b)) != n {
				t.Errorf("%s: %d bytes, want %d: %v", what, len(b), n, err)
			}
		}
		url := p.url("/big.bin")

		curl(t, "-o", got, url)
		check("download", 0, size)

		if err := os.Truncate(got, 5_000_001); err != nil {
			t.Fatal(err)
		}
		curl(t, "-C", "-", "-o", got, url)
		check("resumed download", 0, size)

		curl(t, "-r", "1000-1999", "-o", got, url)
		check("range", 1000, 1000)
		curl(t, "-r", "-777", "-o", got, url)
		check("last bytes", size-777, 777)

		if parts := curl(t, "-r", "0-9,100-109", url); strings.Count(parts, "Content-Range: bytes ") != 2 {
			t.Errorf("several ranges: %q", parts)
		}
		if head := curl(t, "-I", url); !strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n") || !strings.Contains(head, "Accept-Ranges: bytes\r\n") {
			t.Errorf("head: %q", head)
		}
		if status := curl(t, "-o", got, "-w", "%{http_code}", "-z", filepath.Join(root, "big.bin"), url); status != "304" {
			t.Errorf("not modified: %s", status)
		}
		if body := curl(t, "-L", "--path-as-is", p.url("/")); body != "<p>hello" {
			t.Errorf("index: %q", body)
		}
		// Several files on one connection.
		statuses := curl(t, "-o", got, "-o", got, "-w", "%{http_code} %{num_connects}\n", url, p.url("/index.html"))
		if statuses != "200 1\n200 0\n" {
			t.Errorf("kept connection: %q", statuses)
		}
		if out := curl(t, "-0", p.url("/")); out != "<p>hello" {
			t.Errorf("HTTP/1.0: %q", out)
		}
	})
}
