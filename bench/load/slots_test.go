package load

import (
	"testing"
	"time"
)

// bodies are what the servers of these tests send.
const bodies = 200_000

// downloads is a short measurement of n connections with slots.
func downloads(t *testing.T, n int) (*origin, Config) {
	t.Helper()
	o := newOrigin(t, map[string]int{"/": bodies, "/short": 10})
	c := o.config(Closed, "/", bodies)
	c.Groups[0].Conns, c.Groups[0].Clients, c.Groups[0].Turn = n, 2, 4<<20
	c.Slots, c.Measure, c.Spread = true, 400*time.Millisecond, 50*time.Millisecond
	return o, c
}

// What is counted by connection and slot fits together.
func TestSlots(t *testing.T) {
	_, c := downloads(t, 3)
	c.Groups = append(c.Groups,
		Group{Mode: Hold, Conns: 2, Clients: 1, Source: 9, Path: "/short", BodyLen: 10},
		Group{Mode: Closed, Conns: 2, Clients: 1, Source: 5, Path: "/", BodyLen: bodies},
		Group{Mode: Timed, Conns: 1, Clients: 1, Source: 7, Path: "/short", BodyLen: 10, Every: 20 * time.Millisecond, Skip: true})
	var began int64
	res, err := run(t, c, func(at int64) error { began = at; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Conns) != 5 || res.Seconds != 0.4 || len(res.Total) != 40 || len(res.Trace) != 4 || res.Began != began || began > Clock() {
		t.Errorf("%+v", res)
	}
	var conns, total, trace int64
	for i, conn := range res.Conns {
		conns += conn.Bytes
		if want := []int{0, 1, 0, 5, 5}[i]; conn.Client != want {
			t.Errorf("connection %d has source address %d, want %d", i, conn.Client, want)
		}
		if want := []int{0, 0, 0, 2, 2}[i]; conn.Group != want || conn.Bytes < 1 || conn.First < conn.Bytes {
			t.Errorf("connection %d: %+v", i, conn)
		}
	}
	for _, n := range res.Total {
		total += n
	}
	for _, n := range res.Trace {
		trace += n
	}
	if conns != total || trace != res.Conns[0].Bytes {
		t.Errorf("connections received %d bytes, slots hold %d; traced %d of %d", conns, total, trace, res.Conns[0].Bytes)
	}
	if total > res.Groups[0].Bytes+res.Groups[2].Bytes || res.Groups[1].Bytes != 0 || res.Groups[3].Requests < 1 {
		t.Errorf("%d bytes: %+v", total, res.Groups)
	}
}

// A client that paces itself takes no more than its pace.
func TestPace(t *testing.T) {
	_, c := downloads(t, 1)
	const pace = 2 << 20
	c.Groups[0].Pace = pace
	res, err := run(t, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Of the first response, the head and what comes with it are taken at once.
	most := int64(pace*(c.Measure+c.Spread).Seconds()) + maxHead + int64(pace*res.Stall.Seconds())
	if n := res.Conns[0].Bytes; n == 0 || n > most {
		t.Errorf("%d bytes, at most %d are right", n, most)
	}
}
