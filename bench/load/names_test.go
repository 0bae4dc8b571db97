package load

import "testing"

// Connections draw all files, each about as often, and not in step.
func TestFilesAreDrawn(t *testing.T) {
	const files, conns, draws = 50, 4, 1000
	g := newGroup(&Config{Groups: []Group{{Path: "/f/", BodyLen: 10, Files: files, Conns: conns}}}, 0)
	tg := newTarget("h", &g.Group)
	seen := make(map[string]int)
	for j := range conns {
		c := conn{t: tg, next: g.first(j)}
		for range draws {
			seen[string(c.request())]++
		}
	}
	if len(seen) != files {
		t.Errorf("%d different requests", len(seen))
	}
	for req, n := range seen {
		if n < conns*draws/files/2 || n > conns*draws/files*2 {
			t.Errorf("%d times %q", n, req)
		}
	}
	if want := string(render("h", "/f/000049", "")); seen[want] == 0 {
		t.Errorf("no %q", want)
	}
}
