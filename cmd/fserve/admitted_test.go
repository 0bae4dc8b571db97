package main_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
)

const ofAnn = "X-API-Key: the key of ann"

// keyOfAnn returns the name of a file with the key of a user of a tier.
func keyOfAnn(t *testing.T, tier string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys")
	writeFile(t, name, fmt.Sprintf("ann %x tier=%s\n", sha256.Sum256([]byte("the key of ann")), tier))
	return name
}

// downloadOfAnn begins a download that is read to its end; what is said is "" if it is whole.
func downloadOfAnn(t *testing.T, url string) (said chan string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	name, value, _ := strings.Cut(ofAnn, ": ")
	req.Header.Set(name, value)
	resp, err := testenv.Single.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	said = make(chan string, 1)
	go func() {
		defer resp.Body.Close()
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != resp.ContentLength {
			said <- fmt.Sprintf("%d bytes of %d, %v", n, resp.ContentLength, err)
		}
		close(said)
	}()
	return said
}

// A tier that another configuration changes holds at the next request, also for what is under way on the same event loop,
// and that stays counted.
func TestReloadChangesTier(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		tier := func(s string) string {
			return base + "require: key\nidentity: {api_keys: " + "%KEYS%" + ", tiers: {slow: " + s + "}}\nadmission: {queue: {length: 0}}\n"
		}
		keys := keyOfAnn(t, "slow")
		text := func(s string) string { return strings.ReplaceAll(tier(s), "%KEYS%", keys) }
		p, rewrite := configured(t, text("{rate: 20KiB/s, connections: 1}"), driver, "--config-watch=false", "--workers", "1")
		first := downloadOfAnn(t, p.url("/big.bin"))
		call(t, 429, "GET", p.url("/"), "", ofAnn)
		for i, s := range []string{"{rate: 20KiB/s, connections: 2}", "{rate: 20KiB/s, connections: 1}", "{connections: 2}"} {
			rewrite(text(s))
			p.signal(syscall.SIGHUP)
			if !testenv.Eventually(patience, func() bool { return strings.Count(p.errors(), "configuration reloaded") == i+1 }) {
				t.Fatal("not reloaded")
			}
			if i == 1 { // one is under way, and no more may be
				call(t, 429, "GET", p.url("/"), "", ofAnn)
			}
		}
		call(t, 200, "GET", p.url("/"), "", ofAnn)
		if fault := <-first; fault != "" {
			t.Error(fault)
		}
	})
}

// The process that takes the place of another one knows what an operator has said: whom to deny, and the breaker. What is
// under way goes on, and who has asked too often may ask a burst again, and no more.
func TestUpgradeKeepsOrders(t *testing.T) {
	root, _, _ := site(t)
	config := filepath.Join(t.TempDir(), "f.yaml")
	writeFile(t, config, "root: "+root+"\nlisten: ['127.0.0.1:0']\nadmin: {listen: 127.0.0.2:0}\n"+
		"identity: {api_keys: "+keyOfAnn(t, "slow")+", tiers: {slow: {requests: 1/day burst 2}}}\n"+
		"locations: {= /big.bin: {require: key}}\nlimits: {paths: {/big.bin: 20KiB/s}}\nadmission: {client: {requests: 1/day burst 3}}\n")
	l := serveLine(t, exec.Command(binary, "--config", config, "--config-watch=false"), nil)
	admin := l.admin()
	oldest, running := l.serving(), downloadOfAnn(t, l.url("/big.bin"))
	call(t, 200, "GET", l.url("/"), "")
	call(t, 200, "HEAD", l.url("/big.bin"), "", ofAnn)
	call(t, 429, "GET", l.url("/"), "")
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for range 2 { // it is handed on
		call(t, 200, "PUT", admin+"/breaker", `{"state":"closed","ttl":"1h"}`)
		call(t, 200, "POST", admin+"/deny", `{"user":"ann","until":"`+until+`"}`)
		l.upgrade()
		call(t, 403, "HEAD", l.url("/big.bin"), "", ofAnn)
		call(t, 200, "GET", l.url("/"), "")
		call(t, 200, "GET", l.url("/"), "")
		call(t, 429, "GET", l.url("/"), "")
		if b := call(t, 200, "GET", admin+"/breaker", ""); !strings.Contains(b, `"forced":true`) || !strings.Contains(b, `"ttl":"59m`) && !strings.Contains(b, `"ttl":"1h`) {
			t.Error(b)
		}
	}
	l.upgrade() // and on, without being ordered again
	call(t, 403, "HEAD", l.url("/big.bin"), "", ofAnn)
	call(t, 200, "PUT", admin+"/breaker", `{"state":"open"}`)
	l.upgrade()
	call(t, 503, "GET", l.url("/"), "")
	call(t, 200, "PUT", admin+"/breaker", `{"state":"auto"}`)
	l.upgrade()
	call(t, 200, "GET", l.url("/"), "")
	select {
	case fault := <-running:
		t.Error("the download ended: ", fault)
	default:
	}
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} { // the download has hours to go
		if err := syscall.Kill(oldest, s); err != nil {
			t.Error(err)
		}
	}
	l.stop()
}

// Who asks by a Unix socket is one client, whatever the connection, and another one than those by TCP.
func TestUnixSocketIsOneClient(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		root, _, _ := site(t)
		socket := filepath.Join(t.TempDir(), "s")
		p := serve(t, nil, "--root", root, driver, "--listen", "unix:"+socket, "--limit-requests", "1/day burst 2", "--workers", "2")
		dial := func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
		for i, want := range []int{200, 200, 429, 429} {
			if a := testenv.Ask(t, client, "GET", "http://h/", ""); a.StatusCode != want {
				t.Errorf("request %d: %d, want %d", i, a.StatusCode, want)
			}
		}
		call(t, 200, "GET", p.url("/"), "")
	})
}
