package main_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// limitsOf is what GET /limits says, as far as the tests ask.
type limitsOf struct {
	Global  limitOf
	Paths   []limitOf
	Clients []limitOf

	Profiles []string `json:"profiles_in_force"`
}

type limitOf struct {
	Name  string
	Limit struct {
		Rate    string
		Ends    string
		InForce struct{ Rate, By string } `json:"in_force"`
	}
}

// What was changed by HTTP is handed from process to process: limits, also such as end, what
// was removed, and alerts. What the file of the successor says otherwise than that of the
// predecessor counts.
func TestUpgradeKeepsChanges(t *testing.T) {
	root, _, _ := site(t)
	config := filepath.Join(t.TempDir(), "f.yaml")
	write := func(client string) {
		writeFile(t, config, "root: "+root+"\nlisten: ['127.0.0.1:0']\nadmin: {listen: 127.0.0.2:0}\n"+
			"limits: {client: "+client+", paths: {/a/: 1MiB/s, /b/: 2MiB/s}}\nprofiles: {slow: {client: 5MiB/s, match: {alertname: Slow}}}\n"+
			"adapt: {min: 1MiB/s, max: 50MiB/s}\n")
	}
	write("80MiB/s")
	l := serveLine(t, exec.Command(binary, "--config", config, "--config-watch=false"), nil)
	admin := l.admin()
	call(t, 200, "PUT", admin+"/limits/global", `{"rate":"10MiB/s"}`)
	call(t, 200, "PUT", admin+"/limits/client", `{"rate":"9MiB/s"}`)
	call(t, 200, "PUT", admin+"/limits/path/a/", `{"rate":"6MiB/s","ttl":"1h"}`)
	call(t, 200, "PUT", admin+"/limits/path/c/", `{"rate":"3MiB/s","ttl":"1h"}`)
	call(t, 200, "DELETE", admin+"/limits/path/b/", "")
	call(t, 200, "PUT", admin+"/limits/client/1.2.3.4", `{"rate":"0","ttl":"1h"}`)
	call(t, 200, "PUT", admin+"/limits/client/1.2.3.5", `{"rate":"7MiB/s"}`)
	call(t, 200, "PUT", admin+"/limits/client/1.2.3.6", `{"floor":"2MiB/s","ceiling":"4MiB/s"}`)
	call(t, 200, "POST", admin+"/alerts", `{"version":"4","alerts":[{"status":"firing","labels":{"alertname":"Slow"},"startsAt":"2026-01-02T03:04:05Z"}]}`)
	write("70MiB/s")
	for range 2 {
		l.upgrade()
		var v limitsOf
		if err := json.Unmarshal([]byte(call(t, 200, "GET", admin+"/limits", "")), &v); err != nil {
			t.Fatal(err)
		}
		if v.Global.Limit.Rate != "10MiB/s" || len(v.Profiles) != 1 || v.Profiles[0] != "slow" {
			t.Errorf("%+v", v)
		}
		found := make(map[string]string)
		for _, n := range append(v.Paths, v.Clients...) {
			found[n.Name] = n.Limit.Rate + " " + n.Limit.InForce.Rate
			if n.Limit.Ends != "" {
				found[n.Name] += " ends"
			}
		}
		for name, want := range map[string]string{
			"/a/": "6MiB/s 6MiB/s ends", "/b/": "", "/c/": "3MiB/s 3MiB/s ends", "1.2.3.4": "0B/s 0B/s ends", "1.2.3.5": "7MiB/s 5MiB/s",
		} {
			if found[name] != want {
				t.Errorf("%s: %q, want %q", name, found[name], want)
			}
		}
		if a := call(t, 200, "GET", admin+"/adapt", ""); !strings.Contains(a, `"name":"1.2.3.6"`) || !strings.Contains(a, `"ceiling_bps":4194304`) {
			t.Errorf("bounds: %s", a)
		}
		if m := call(t, 200, "GET", admin+"/metrics", ""); !strings.Contains(m, `fserve_limit_bytes_per_second{level="client",name=""} 7.340032e+07`) {
			t.Error("the limit that the new file changes is the old one")
		}
	}
	l.stop()
}
