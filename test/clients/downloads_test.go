package clients

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// bigSize is that of a file that is worth its parts, in bytes.
const bigSize = 24 << 20

// big makes a directory with one such file.
func big(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	noise(t, filepath.Join(root, "big+file & é.iso"), bigSize)
	return root
}

const bigName, bigTarget = "big+file & é.iso", "big%2Bfile%20%26%20%C3%A9.iso"

// Each client makes one download in parts, and goes on with one that has broken off.
func TestDownload(t *testing.T) {
	for _, c := range []struct {
		program string
		args    []string // before the URL
		resumes bool
		parts   bool // also of a whole file
	}{
		{"curl", []string{"-sSf", "-C", "-", "-o", bigName}, true, false},
		{"wget", []string{"-q", "-c"}, true, false},
		{"wget2", []string{"-q", "-c"}, true, false},
		{"aria2c", []string{"-q", "-c", "-x8", "-s8", "-k1M", "--no-conf", "-o", bigName}, true, true},
		{"axel", []string{"-q", "-n", "8", "-o", bigName}, false, true},
		{"lftp", []string{"-e", `pget -n 8 "` + bigName + `"; exit`}, false, true},
	} {
		t.Run(c.program, func(t *testing.T) {
			need(t, c.program)
			root := big(t)
			onBoth(t, root, func(t *testing.T, o *origin) {
				to := t.TempDir()
				got, want := filepath.Join(to, bigName), filepath.Join(root, bigName)
				url := o.url + bigTarget
				if c.program == "lftp" {
					url = o.url
				}
				client(t, to, c.program, append(c.args, url)...)
				wantFile(t, got, want)
				if c.resumes {
					if err := os.Truncate(got, bigSize/3); err != nil {
						t.Fatal(err)
					}
					client(t, to, c.program, append(c.args, url)...)
					wantFile(t, got, want)
				}
				o.stop()
				status := make(map[int]int)
				for _, a := range o.answers("/" + bigTarget) {
					status[a.Status]++
				}
				if c.parts && status[206] < 2 || c.resumes && status[206] == 0 {
					t.Errorf("answers by status: %v", status)
				}
			})
		})
	}
}

// A second time nothing is sent of what has not changed.
func TestCurlAsksAgain(t *testing.T) {
	need(t, "curl")
	root := big(t)
	onBoth(t, root, func(t *testing.T, o *origin) {
		to := t.TempDir()
		args := []string{"-sSf", "--etag-save", "tag", "--etag-compare", "tag", "-o", "got", "-w", "%{http_code} %{size_download}", o.url + bigTarget}
		first, second := client(t, to, "curl", args...), client(t, to, "curl", args...)
		if first != "200 "+strconv.Itoa(bigSize) || second != "304 0" {
			t.Errorf("first %s, then %s", first, second)
		}
		wantFile(t, filepath.Join(to, "got"), filepath.Join(root, bigName))
	})
}
