package shape_test

import (
	"fmt"
	"time"

	"github.com/fserve/fserve/engine/shape"
)

// Two responses of one client under a limit of 1 MiB/s for the client, in virtual time.
func Example() {
	limit, err := shape.ParseRate("1MiB/s")
	if err != nil {
		panic(err)
	}
	s, err := shape.New(shape.Config{Client: shape.Limit{Rate: limit}})
	if err != nil {
		panic(err)
	}
	tree := s.Tree(0)
	start := int64(time.Hour)
	now := start

	left := make(map[*shape.Flow]int64)
	send := func(f *shape.Flow, n int64) {
		for ; n > 0; n = tree.Take(f, left[f], now) {
			left[f] -= n // all of it fits into the socket; else: tree.Refund
		}
		if left[f] == 0 {
			held := time.Duration(f.Held()[shape.LevelClient])
			fmt.Printf("done after %v, held for %v by the client's limit\n",
				time.Duration(now-start).Round(100*time.Millisecond), held.Round(100*time.Millisecond))
			tree.Leave(f, now)
		}
	}
	for _, size := range []int64{1 << 20, 2 << 20} {
		f := new(shape.Flow)
		left[f] = size
		tree.Join(f, s.Class([]byte("/file")), "192.0.2.1", now)
		send(f, tree.Take(f, size, now))
	}
	for due := tree.Due(); due >= 0; due = tree.Due() {
		now = max(now, due) // a loop would wait
		for f := tree.Next(now); f != nil; f = tree.Next(now) {
			send(f, f.Granted())
		}
	}
	// Output:
	// done after 2s, held for 2s by the client's limit
	// done after 3s, held for 3s by the client's limit
}
