package server_test

import (
	"io"
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
)

// Within a class each client and each connection has its rate, over both loops and for
// every connection; two clients that want more than the class has share it evenly.
func TestWithinClass(t *testing.T) {
	const rate, length = 4 << 20, 4 << 20
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		limits := shape.Config{Paths: []shape.PathLimit{{Prefix: "/v/", Limit: shape.Limit{Client: rate, Connection: 3 << 20, After: length / 4}}}}
		cfg := shaped(limits)
		cfg.Engine.Loops = 2
		g := start(t, d, cfg)
		p := g.pattern("v/big.bin", 6, length)
		// What passes before the limits begin waits for nothing; the rest at most at its rate.
		limit := shape.Limit{Rate: 3 << 20, Burst: 256 << 10}
		a := allow(t, limit)
		r := g.dial().get("/v/big.bin")
		a.want(length - length/4)
		r.want(t, 200)
		if err := p.Check(r.body, 0); err != nil {
			t.Error(err)
		}
		// Four connections of the one client have its rate together.
		a = allow(t, shape.Limit{Rate: rate, Burst: 512 << 10})
		got := make(chan int64)
		for range 4 {
			c := g.dial()
			c.send(request("GET", "/v/big.bin"))
			go func() {
				if r, err := readResponse(c.r, "GET"); err == nil {
					got <- r.length - length/4
				} else {
					got <- 0
				}
			}()
		}
		total := <-got + <-got + <-got + <-got
		a.want(total)
		if total != 4*(length-length/4) {
			t.Errorf("%d bytes", total)
		}
		if s, _ := g.srv.Engine().LimitsReport(10); len(s.Classes) == 0 || s.Throttled[shape.LevelClient] == 0 {
			t.Errorf("the client was not held: %+v", s.Throttled)
		}
		g.wantFlows(0)
	})
}

// Two clients of a class get the same of it, whatever their connections.
func TestWithinClassIsFair(t *testing.T) {
	const rate = 8 << 20
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		limits := shape.Config{Paths: []shape.PathLimit{{Prefix: "/v/", Limit: shape.Limit{Rate: rate, Client: 6 << 20}}}}
		cfg := shaped(limits)
		cfg.Trust = trust(t, "127.0.0.1")
		g := start(t, d, cfg)
		g.pattern("v/big.bin", 6, 512<<20)
		for i, client := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.2"} {
			c := g.dial()
			c.send(request("GET", "/v/big.bin", "X-Forwarded-For: "+client))
			go io.Copy(io.Discard, c.conn) // until the server ends
			g.wantFlows(i + 1)
		}
		before, one, two := g.clients(), int64(0), int64(0)
		a := allow(t, shape.Limit{Rate: rate, Burst: rate / 2})
		if !testenv.Eventually(patience, func() bool {
			now := g.clients()
			one, two = now["192.0.2.1"]-before["192.0.2.1"], now["192.0.2.2"]-before["192.0.2.2"]
			return one+two > 2*rate
		}) || one < two*9/10 || two < one*9/10 {
			t.Errorf("%d and %d bytes", one, two)
		}
		a.want(one + two)
	})
}

// clients returns what was granted to each client.
func (g *rig) clients() map[string]int64 {
	m := make(map[string]int64)
	for _, c := range g.report().Clients {
		m[c.Name] = c.Granted
	}
	return m
}
