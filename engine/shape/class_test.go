package shape

import (
	"fmt"
	"testing"
)

// Path classes that come and go use up no numbers, and leave nothing behind in the trees,
// also if the same client has been in all of them.
func TestClassNumbersComeBack(t *testing.T) {
	for _, loops := range []int{1, 2} {
		w := newWorld(t, Config{Loops: loops})
		var f Flow
		for i := range 3 * maxClasses {
			prefix := fmt.Sprintf("/%d/", i)
			if _, existed, err := w.s.SetPath(prefix, Limit{Rate: mib, Guarantee: kib}); err != nil || existed {
				t.Fatalf("%s: %v, %v", prefix, existed, err)
			}
			tree := w.trees[i%loops]
			tree.Join(&f, w.s.Class([]byte(prefix+"f")), "c", w.now)
			if n := f.client.parent; n.class.prefix != prefix || n.meter.table.configured().Rate != mib {
				t.Fatalf("%s: of %q at %v", prefix, n.class.prefix, n.meter.table.configured().Rate)
			}
			tree.Leave(&f, w.now)
			w.s.RemovePath(prefix)
			for _, tree := range w.trees {
				tree.Next(w.now)
			}
		}
		if n := len(w.s.classes); n > 2 {
			t.Errorf("%d loops: %d numbers in use", loops, n)
		}
		for _, tree := range w.trees {
			if tree.nodes > 2 || len(tree.guaranteed) > 0 {
				t.Errorf("%d loops: %d nodes of clients, %d guarantees", loops, tree.nodes, len(tree.guaranteed))
			}
		}
	}
}

// A response goes on without a limit when its class is removed. It is never held by the
// class that is made next, and its class is forgotten when it ends.
func TestClassRemovedUnderResponse(t *testing.T) {
	w := newWorld(t, Config{})
	tree := w.trees[0]
	if _, _, err := w.s.SetPath("/a/", Limit{Rate: Paused}); err != nil {
		t.Fatal(err)
	}
	a := w.s.Class([]byte("/a/f"))
	f := w.join(0, "/a/f", "c", -1)
	if !f.Waiting() {
		t.Fatal("a paused class lets through")
	}
	w.s.RemovePath("/a/")
	if _, _, err := w.s.SetPath("/b/", Limit{Rate: Paused}); err != nil {
		t.Fatal(err)
	}
	if g := tree.Next(w.now); g != &f.Flow || g.Granted() == 0 {
		t.Fatal("it is still held")
	}
	if b := w.s.Class([]byte("/b/f")); b.id == a.id {
		t.Error("the number of a class that is in use was given away")
	}
	late := w.join(0, "/", "d", 0) // of a class that a response has noted before it was removed
	tree.Rest(&f.Flow, w.now)
	tree.Join(&late.Flow, a, "d", w.now)
	if n := late.client.parent; n.class.prefix != "" || tree.knownClass(a) != nil {
		t.Errorf("joined %q", n.class.prefix)
	}
	if _, _, err := w.s.SetPath("/c/", Limit{Rate: mib}); err != nil || w.s.Class([]byte("/c/f")).id != a.id {
		t.Errorf("%v, number %d, want %d", err, w.s.Class([]byte("/c/f")).id, a.id)
	}
	tree.AdaptClass(a, Paused, 1, w.now) // late news of the class that was
	if l, _, _ := w.s.Explain(Node{LevelPath, "/c/"}); l.Rate != mib || tree.Take(&late.Flow, 1, w.now) != 1 {
		t.Errorf("/c/ at %v", l.Rate)
	}
}
