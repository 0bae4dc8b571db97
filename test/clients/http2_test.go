package clients

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fserve/fserve/internal/testenv"
)

// withHTTP2 are the options of a server that offers it.
func withHTTP2(t *testing.T) []string {
	t.Helper()
	cert, key := testenv.KeyPair(t)
	return []string{"--tls-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--tls-http2"}
}

// Clients that speak HTTP/2 get what is there by it.
func TestHTTP2(t *testing.T) {
	for _, c := range []struct {
		program string
		args    []string
		says    string // that is a part of what the client writes
	}{
		{"curl", []string{"-sSfk", "-C", "-", "-o", bigName, "-w", "by %{http_version}"}, "by 2"},
		{"nghttp", []string{"-n", "--stat"}, ""},
		{"h2load", []string{"-n", "20", "-c", "2", "-m", "10"}, "20 succeeded"},
	} {
		t.Run(c.program, func(t *testing.T) {
			need(t, c.program)
			root := big(t)
			onBoth(t, root, func(t *testing.T, o *origin) {
				to := t.TempDir()
				if out := client(t, to, c.program, append(c.args, o.secure+bigTarget)...); !strings.Contains(out, c.says) {
					t.Errorf("%s", out)
				}
				if c.program == "curl" {
					wantFile(t, filepath.Join(to, bigName), filepath.Join(root, bigName))
				}
				o.stop()
				list := o.answers("/" + bigTarget)
				for _, a := range list {
					if a.Protocol != "HTTP/2.0" || a.Status != 200 || a.Bytes != bigSize {
						t.Errorf("%+v", a)
					}
				}
				if len(list) == 0 {
					t.Error("nothing was asked for")
				}
			}, withHTTP2(t)...)
		})
	}
}

// unmet are the cases of h2spec that fail, each with its reason; docs/decisions/http2.md has more of them.
var unmet = map[string]string{
	"Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE":                                                                         "a frame of SETTINGS that says one thing twice ends the connection",
	"Sends a HEADERS frame that contains the connection-specific header field":                                                      "answered with 400",
	"Sends a HEADERS frame that contains the TE header field with any value other than \"trailers\"":                                "answered with 400",
	"Sends a HEADERS frame with the \"content-length\" header field which does not equal the DATA frame payload length":             "answered before the body has come, as by HTTP/1.1",
	"Sends a HEADERS frame with the \"content-length\" header field which does not equal the sum of the DATA frames payload length": "the same",
}

// The protocol is kept as h2spec sees it, but for what has its reason.
func TestH2spec(t *testing.T) {
	bin := t.TempDir()
	build := exec.Command("go", "install", "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible")
	build.Env = append(os.Environ(), "GOBIN="+bin, "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Skipf("h2spec cannot be built: %v\n%s", err, out)
	}
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "index.html"), []byte("index"), 0o644); err != nil {
		t.Fatal(err)
	}
	onBoth(t, root, func(t *testing.T, o *origin) {
		report := filepath.Join(t.TempDir(), "report.xml")
		_, port, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(o.secure, "https://"), "/"), ":")
		out, _ := exec.CommandContext(t.Context(), filepath.Join(bin, "h2spec"), "-h", "127.0.0.1", "-p", port, "-t", "-k", "-j", report).CombinedOutput()
		text, err := os.ReadFile(report)
		if err != nil {
			t.Fatalf("%v\n%s", err, tail(out))
		}
		var suites struct {
			Cases []struct {
				Name   string  `xml:"classname,attr"`
				Failed *string `xml:"failure"`
				Error  *string `xml:"error"`
			} `xml:"testsuite>testcase"`
		}
		if err := xml.Unmarshal(text, &suites); err != nil {
			t.Fatal(err)
		}
		failed := 0
		for _, c := range suites.Cases {
			if c.Failed == nil && c.Error == nil {
				continue
			}
			if failed++; unmet[c.Name] == "" {
				t.Errorf("%s: %v %v", c.Name, c.Failed, c.Error)
			}
		}
		if t.Logf("%d of %d", len(suites.Cases)-failed, len(suites.Cases)); len(suites.Cases) != 145 {
			t.Errorf("%d cases were run", len(suites.Cases))
		}
	}, withHTTP2(t)...)
}

// A browser asks for many files at once by one connection.
func TestHTTP2Browser(t *testing.T) {
	need(t, "chromium")
	root := t.TempDir()
	for _, name := range []string{"small", "page.html"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte("small"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	onBoth(t, root, func(t *testing.T, o *origin) {
		b := startBrowser(t)
		b.open(o.secure + "page.html") // a listing may fetch nothing
		var by []string
		b.eval(`Promise.all([...Array(200).keys()].map(i => fetch('small?' + i).then(r => r.text()))).then(all => {
			if (all.some(text => text != 'small')) throw 'other bytes';
			return [...new Set(performance.getEntriesByType('resource').map(e => e.nextHopProtocol))] })`, &by)
		if len(by) != 1 || by[0] != "h2" {
			t.Errorf("by %v", by)
		}
		b.close()
		o.stop()
		if list := o.answers("/small?"); len(list) != 200 || list[0].Protocol != "HTTP/2.0" {
			t.Errorf("%d answers", len(list))
		}
	}, withHTTP2(t)...)
}
