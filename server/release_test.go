package server_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/release"
)

// versionSize is the size of the file f in the versions of withRelease.
const versionSize = 64 << 10

// withRelease serves a release web with two versions by the field X-Device.
func withRelease(t *testing.T, d engine.DriverKind, change func(*server.Release, *server.Config)) (g *rig, dir string) {
	t.Helper()
	dir = t.TempDir()
	r := server.Release{
		Stable: server.ReleaseVersion{Name: "v1", Root: filepath.Join(dir, "v1")}, Canary: server.ReleaseVersion{Name: "v2", Root: filepath.Join(dir, "v2")},
		Steps: []server.ReleaseStep{{Weight: 0.05}, {Weight: 0.5}, {Weight: 1}}, Subject: []server.ReleaseSubject{{Kind: release.ByHeader, Name: "X-Device"}},
	}
	for i, v := range []string{"v1", "v2"} {
		writeFile(t, filepath.Join(dir, v, "f"), bytes.Repeat([]byte{'1' + byte(i)}, versionSize))
		writeFile(t, filepath.Join(dir, v, "v"), []byte(v))
	}
	writeFile(t, filepath.Join(dir, "v1", "old"), []byte("old"))
	cfg := server.Config{ReleaseFile: filepath.Join(dir, "releases.json"), Hosts: []server.Host{{Names: []string{"h", "files.example"}, Site: server.Site{Release: "web"}}}}
	if change != nil {
		change(&r, &cfg)
	}
	cfg.Releases = map[string]server.Release{"web": r}
	return start(t, d, cfg), dir
}

// as asks for a path as a device, and returns the answer and its body.
func (g *rig) as(client *http.Client, device, path string, fields ...string) (*http.Response, []byte) {
	g.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+g.addr+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Host = "h"
	req.Header.Set("X-Device", device)
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] != "" {
			req.Header.Set(fields[i], fields[i+1])
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp, body
}

// Downloads that are under way when the canary is promoted end in the version that they have begun with:
// for the time of the hold all of them, later those that say its tag.
func TestResumesStayInTheirVersion(t *testing.T) {
	rest, half := fmt.Sprintf("bytes=%d-", versionSize/2), versionSize/2
	for _, c := range []struct {
		name string
		hold time.Duration
		hows [][]string
	}{
		{"held", 0, [][]string{{"If-Range", "", "Range", rest}, {"If-Match", "", "Range", rest}, {"", "", "Range", rest}}},
		{"by tag", -1, [][]string{{"If-Range", "", "Range", rest}, {"If-Match", "", "Range", rest}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, d engine.DriverKind) {
				n, _ := strconv.Atoi(cmp.Or(os.Getenv("FSERVE_RESUMES"), "500"))
				g, dir := withRelease(t, d, func(r *server.Release, _ *server.Config) { r.Hold = c.hold })
				if c.hold < 0 {
					if err := os.Chtimes(filepath.Join(dir, "v2", "f"), settled, settled.Add(time.Second)); err != nil {
						t.Fatal(err)
					}
				}
				client := &http.Client{Transport: &http.Transport{}}
				defer client.CloseIdleConnections()
				first, tags := make([]string, n), make([]string, n)
				for i := range n {
					resp, body := g.as(client, fmt.Sprint(i), "/f", "Range", fmt.Sprintf("bytes=0-%d", half-1))
					first[i], tags[i] = string(body[:1]), resp.Header.Get("ETag")
				}
				for range 2 {
					if _, err := g.srv.Releases()["web"].Do(release.Promote, "", sys.Nanotime()); err != nil {
						t.Fatal(err)
					}
				}
				for _, how := range c.hows {
					whole := 0
					for i := range n {
						how[1] = tags[i]
						resp, body := g.as(client, fmt.Sprint(i), "/f", how...)
						if resp.StatusCode == http.StatusPartialContent && string(body) == strings.Repeat(first[i], half) {
							whole++
						}
					}
					if t.Logf("%d of %d with %q", whole, n, how[0]); whole != n {
						t.Errorf("%d of %d are of one version with %q", whole, n, how[0])
					}
				}
				for i := range min(n, 100) {
					if _, fresh := g.as(client, fmt.Sprint(i), "/v"); string(fresh) != "v2" {
						t.Fatalf("%d begins with %s after the promotion", i, fresh)
					}
				}
			})
		})
	}
}

// A tag of no version gets the whole of the version that the client has; a name gets any version, and a
// file that the canary lacks is not taken from stable.
func TestReleaseAnswers(t *testing.T) {
	g, _ := withRelease(t, engine.DriverFallback, func(r *server.Release, _ *server.Config) {
		r.Steps = []server.ReleaseStep{{Weight: 0}}
		r.Override.Header = "X-Release"
	})
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for _, c := range []struct {
		path   string
		fields []string
		want   string
	}{
		{"/v", nil, "200 v1"},
		{"/v", []string{"X-Release", "v2"}, "200 v2"},
		{"/v", []string{"X-Release", "canary"}, "200 v2"},
		{"/v", []string{"X-Release", "v3"}, "200 v1"},
		{"/v", []string{"Range", "bytes=1-", "If-Range", `"1-1"`}, "200 v1"},
		{"/v", []string{"X-Release", "v2", "Range", "bytes=1-", "If-Range", `"1-1"`}, "200 v2"},
		{"/v", []string{"If-Match", `"1-1"`}, "412 "},
		{"/old", nil, "200 old"},
		{"/old", []string{"X-Release", "v2"}, "404 "},
		{"/none", []string{"If-Match", `"1-1"`}, "404 "},
	} {
		resp, body := g.as(client, "d", c.path, c.fields...)
		if resp.StatusCode >= 400 {
			body = nil
		}
		if got := fmt.Sprintf("%d %s", resp.StatusCode, body); got != c.want {
			t.Errorf("%s %v: %s, want %s", c.path, c.fields, got, c.want)
		}
	}
}

// A canary that lacks its files is taken back, and one whose directory goes away; both rest, also for the
// next process.
func TestCanaryIsTakenBack(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"files": func(dir string) error { return os.Remove(filepath.Join(dir, "v2", "v")) },
		"root":  func(dir string) error { return os.Rename(filepath.Join(dir, "v2"), filepath.Join(dir, "v3")) },
	} {
		t.Run(name, func(t *testing.T) {
			g, dir := withRelease(t, engine.DriverFallback, func(r *server.Release, _ *server.Config) {
				r.Steps = []server.ReleaseStep{{Weight: 0.5}}
				r.Rollback.Responses = 20
			})
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			if !testenv.Eventually(patience, func() bool {
				for i := range 100 {
					g.as(client, fmt.Sprint(i), "/v")
				}
				return g.srv.Releases()["web"].Saved().Phase == release.RolledBack
			}) {
				t.Fatalf("%+v", g.srv.Releases()["web"].Saved())
			}
			for i := range 100 {
				if _, body := g.as(client, fmt.Sprint(i), "/v"); string(body) != "v1" {
					t.Fatalf("%s after the rollback", body)
				}
			}
			if !testenv.Eventually(patience, func() bool {
				b, err := os.ReadFile(filepath.Join(dir, "releases.json"))
				return err == nil && bytes.Contains(b, []byte(`"rolled-back"`))
			}) {
				t.Error("the state was not kept")
			}
		})
	}
}

// A state file that cannot be read is said once, and the release begins as the configuration has it.
func TestTornReleaseFile(t *testing.T) {
	g, _ := withRelease(t, engine.DriverFallback, func(_ *server.Release, cfg *server.Config) {
		if err := os.WriteFile(cfg.ReleaseFile, []byte(`{"web":{"phase":"comp`), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	if got := g.srv.Releases()["web"].Saved(); got.Weight != 0.05 || got.Phase != release.Progressing {
		t.Errorf("%+v", got)
	}
	if n := g.logs.count("the states of releases cannot be read: they begin anew"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// A release whose roots are missing, or that is not there, is a fault of the configuration.
func TestReleaseFaults(t *testing.T) {
	dir := t.TempDir()
	for want, cfg := range map[string]server.Config{
		"releases[w].canary.root": {Site: server.Site{Release: "w"}, Releases: map[string]server.Release{"w": {Stable: server.ReleaseVersion{Root: dir}, Canary: server.ReleaseVersion{Root: dir + "/none"}}}},
		`there is no release "w"`: {Site: server.Site{Release: "w"}},
		"the stable version is":   {Site: server.Site{Release: "w"}, Releases: map[string]server.Release{"w": {}}},
		"one of the two is":       {Site: server.Site{Root: dir, Release: "w"}, Releases: map[string]server.Release{"w": {Stable: server.ReleaseVersion{Root: dir}}}},
	} {
		if err := server.Check(cfg); !errors.Is(err, server.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// A request for a version of a release costs no memory, whoever it is chosen by.
func TestReleasesCostNoMemory(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g, _ := withRelease(t, d, func(r *server.Release, cfg *server.Config) {
			r.Subject = append(r.Subject, server.ReleaseSubject{Kind: release.ByCookie, Name: "id"}, server.ReleaseSubject{Kind: release.ByClient})
			r.Override = server.ReleaseOverride{Header: "X-Release", Users: []string{"u"}}
		})
		if _, err := g.srv.Releases()["web"].Do(release.Promote, "", sys.Nanotime()); err != nil {
			t.Fatal(err)
		}
		for _, head := range []string{
			"GET /v", "GET /f\r\nX-Device: d", "GET /f\r\nCookie: a=b; id=7", "GET /v\r\nX-Release: v2", "GET /f\r\nX-Device: e\r\nRange: bytes=9-",
			"GET /f\r\nRange: bytes=9-\r\nIf-Range: \"1-1\"",
		} {
			if n := g.mallocs(head); n > 0.1 {
				t.Errorf("%q: %.2f allocations a request", head, n)
			}
		}
	})
}
