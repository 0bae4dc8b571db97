package openfile

import "testing"

// A file takes the memory of one that is gone, with what a session has made for it, but none that
// the session may have looked at for the request at hand.
func TestMemory(t *testing.T) {
	c := newCacheTest(t, onFallback, Config{Max: 16})
	for _, name := range []string{"a", "b", "c"} {
		c.write(name, "content of "+name)
	}
	a := c.open("a")
	a.Data = "made"
	before := a.lent.Serial
	c.fs.drop(a)
	b, e := c.lookup("b")
	if e != 0 || b == a || a.Data != "made" || a.Key() != "a" {
		t.Fatalf("memory of the request at hand was used, %v", e)
	}
	name := []byte("c")
	c.turn(1)
	got, e := c.fs.Add(string(name), c.root.Open("c", false), c.policy)
	if e != 0 || got != a || got.Data != nil || got.Spare != "made" || got.lent.Serial == before {
		t.Fatalf("%v, data %v, spare %v", e, got.Data, got.Spare)
	}
	if string(got.Content()) != "content of c" || got.Key() != "c" || c.open("c") != got || c.open("b") != b {
		t.Errorf("%q has %q", got.Key(), got.Content())
	}
	if again := c.open("a"); again == got || string(again.Content()) != "content of a" {
		t.Error("memory that is in use was used")
	}
	c.check()
}
