package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fserve/fserve/internal/testenv"
)

// What a client has had is known after kill -9, but for at most the last second of it, and it has not more by it.
func TestQuotaOutlivesAKill(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	const size = 600 << 10
	if err := os.WriteFile(filepath.Join(dir, "f"), make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "c.yaml")
	text := fmt.Sprintf("root: %s\nidentity: {tiers: {all: {quota: 700KiB/month}}, tier: all}\n", dir)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	get := func(p *piped) int { return testenv.Ask(t, http.DefaultClient, "GET", p.url+"f", "").StatusCode }
	used := func(p *piped) int64 {
		a := testenv.Ask(t, http.DefaultClient, "GET", strings.TrimSuffix(p.metrics, "metrics")+"quota/127.0.0.1?of=address", "")
		var list []struct{ Used int64 }
		if err := json.Unmarshal([]byte(a.Body), &list); err != nil || len(list) != 1 {
			t.Fatalf("%s: %v", a.Body, err)
		}
		return list[0].Used
	}
	first := servePiped(t, "--config", config, "--state-dir", state)
	if status := get(first); status != http.StatusOK {
		t.Fatal(status)
	}
	had := int64(0)
	kept := func() bool { // a second and a bit later, once the response has ended and it was written
		found := false
		had = used(first)
		_ = filepath.WalkDir(filepath.Join(state, "quota"), func(path string, _ os.DirEntry, _ error) error {
			b, _ := os.ReadFile(path) // a directory has nothing
			found = found || strings.Contains(string(b), fmt.Sprint(had))
			return nil
		})
		return found
	}
	if !testenv.Eventually(patience, kept) {
		t.Fatalf("%d bytes are not kept", had)
	}
	first.signal(syscall.SIGKILL)
	_ = first.cmd.Wait()
	http.DefaultClient.CloseIdleConnections()
	second := servePiped(t, "--config", config, "--state-dir", state)
	if again := used(second); again != had || had < size {
		t.Errorf("%d bytes, after the kill %d", had, again)
	}
	for i, want := range []int{http.StatusOK, http.StatusTooManyRequests} { // 100 KiB are left
		if status := get(second); status != want {
			t.Errorf("request %d: %d, want %d", i, status, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	second.wantEnd()
}
