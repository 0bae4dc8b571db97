package wire_test

import (
	"fmt"

	"github.com/fserve/fserve/server/wire"
)

// A head may come in pieces; what was looked at before is said with seen.
func ExampleHead_Parse() {
	var h wire.Head // one for all connections of an event loop
	var buf []byte  // of the connection
	for _, piece := range []string{
		"GET /a?b HTTP/1.1\r\nHost: exam",
		"ple.org\r\nAccept-Encoding: gzip\r\naccept-encoding: br\r\n",
		"\r\nGET /next",
	} {
		seen := len(buf)
		buf = append(buf, piece...)
		n, reason := h.Parse(buf, seen, wire.Limits{})
		switch {
		case reason != wire.OK:
			fmt.Println("refused:", reason.Status(), reason)
		case n == 0:
			fmt.Println("more")
		default:
			fmt.Printf("%s %s for %s, %s\n", h.Method(), h.Path(), h.Host(), h.Get(wire.AcceptEncoding))
			fmt.Printf("then %q\n", buf[n:])
		}
	}
	_, reason := h.Parse([]byte("POST / HTTP/1.1\r\nHost : h\r\n\r\n"), 0, wire.Limits{})
	fmt.Println("refused:", reason.Status(), reason)
	// Output:
	// more
	// more
	// GET /a for example.org, gzip, br
	// then "GET /next"
	// refused: 400 bad field name
}

func ExampleChunked_Discard() {
	var c wire.Chunked
	in := []byte("5\r\nhello\r\n0\r\n\r\nGET /next")
	n, reason := c.Discard(in)
	fmt.Println(c.Done(), c.Size(), reason)
	fmt.Printf("then %q\n", in[n:])
	// Output:
	// true 5 ok
	// then "GET /next"
}
