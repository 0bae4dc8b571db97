package guest

import (
	"context"
	"testing"
)

// TestNaming follows who counts for the bytes of a connection.
func TestNaming(t *testing.T) {
	var n naming
	is := func(bytes int, want string) {
		t.Helper()
		if f := n.forWrite(bytes); f.Client != want {
			t.Errorf("%q, want %q", f.Client, want)
		}
	}
	is(1, "")
	ctx, end := context.WithCancel(context.Background())
	n.set(ctx, Flow{Client: "a"})
	n.received(nil) // the body of the request
	is(1<<20, "a")
	n.received(nil) // the beginning of the next request, ahead of time
	is(1<<20, "a")
	end()
	is(afterNaming, "a") // what the server had kept
	is(1, "")
	n.set(ctx, Flow{Client: "b"}) // for a request that has ended
	n.received(nil)
	is(1, "")
	n.set(context.Background(), Flow{Client: "c"})
	n.received(nil)
	is(1, "c")
	is(1<<20, "c")
	n.received(nil)
	is(1, "")
}
