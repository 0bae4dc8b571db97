package difftest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
)

// TestAgainstNginx makes the same requests to nginx and to fserve on each
// driver. They must differ in exactly what DIFFERENCES.md lists.
func TestAgainstNginx(t *testing.T) {
	testenv.LeakCheck(t)
	root := makeSite(t)
	nginx := startNginx(t, root)
	requests := allRequests()
	want := askAll(t, nginx, requests)
	if len(want) == 0 {
		t.Fatal("nginx has answered nothing")
	}
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		addr := serve(t, d, root, 1)
		got := askAll(t, addr, requests)
		rows := readTable(t, differencesPage)
		for i := range requests {
			for _, diff := range compare(&requests[i], want[i], got[i]) {
				if !listed(rows, diff) {
					t.Errorf("not in DIFFERENCES.md: %v\n%.300q", diff, requests[i].raw)
				}
			}
		}
		for _, diff := range changeDifferences(t, nginx, addr, root) {
			if !listed(rows, diff) {
				t.Errorf("not in DIFFERENCES.md: %v", diff)
			}
		}
		for _, r := range rows {
			for _, text := range r.unused() {
				t.Errorf("DIFFERENCES.md:%d: `%s` does not occur any more: no difference that the rows above leave has it", r.line, text)
			}
		}
	})
}

// listed notes that the first row which matches d is in use.
func listed(rows []*row, d difference) bool {
	for _, r := range rows {
		if r.matches(d) {
			return true
		}
	}
	return false
}

// askAll makes all requests to one server, one after the other.
func askAll(t *testing.T, addr string, requests []request) []*answer {
	t.Helper()
	known := learn(t, addr)
	answers := make([]*answer, len(requests))
	for i, q := range requests {
		q.raw = known.Replace(q.raw)
		a, err := exchange(addr, &q)
		if err != nil {
			t.Fatalf("%s: %v", q.name, err)
		}
		a.neutralize(addr)
		answers[i] = a
	}
	return answers
}

// neutralize takes out what differs between servers by nature: the address.
func (a *answer) neutralize(addr string) {
	for _, p := range a.responses {
		for _, values := range p.fields {
			for i := range values {
				values[i] = neutral(values[i], addr)
			}
		}
	}
}

// Nothing of the neighbour of the root is ever shown, whatever nginx does.
func TestSecretStaysSecret(t *testing.T) {
	root := makeSite(t)
	if _, err := os.Stat(filepath.Join(root, "outside")); err != nil {
		t.Fatal(err)
	}
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		requests := allRequests()
		for i, a := range askAll(t, serve(t, d, root, 1), requests) {
			for _, p := range a.responses {
				if string(p.body) == secretContent {
					t.Errorf("%s shows what lies outside the root", requests[i].name)
				}
			}
		}
	})
}

func TestNamesAreUnique(t *testing.T) {
	seen := make(map[string]bool)
	for _, q := range allRequests() {
		if seen[q.name] {
			t.Errorf("two cases are called %q", q.name)
		}
		seen[q.name] = true
	}
	t.Logf("%d cases", len(seen))
}
