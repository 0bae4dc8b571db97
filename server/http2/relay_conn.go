package http2

import (
	"net/http"
	"slices"
	"sync"

	"github.com/fserve/fserve/server/tls"
)

// relayConn is the connection of a client. It is the http.Handler of its streams.
type relayConn struct {
	of     *relay
	client *tls.Client
	number uint64

	mu      sync.Mutex
	streams map[*relayed]struct{}
	idle    []*pair // the one that was used last is the last
	led     bool    // one of the pairs stands for the client's connection where that is measured
	over    bool
	running sync.WaitGroup // streams and what sends their bodies

	// places has one for each pair that its loop has not ended: a client that resets streams
	// faster than loops end theirs has no more of them than one that does not.
	places chan struct{}
}

// begin notes a relayed; false: the connection has ended.
func (c *relayConn) begin(s *relayed) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.running.Add(1)
		c.streams[s] = struct{}{}
	}
	return !c.over
}

// done forgets a relayed.
func (c *relayConn) done(s *relayed) {
	c.mu.Lock()
	delete(c.streams, s)
	if s.whole {
		c.of.completed.Add(1)
	} else {
		c.of.aborted.Add(1)
	}
	c.mu.Unlock()
	c.running.Done()
}

// end ends what is left of a connection that serves no relayed any more.
func (c *relayConn) end() {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	c.running.Wait()
	c.mu.Lock()
	idle := c.idle
	c.idle = nil
	c.mu.Unlock()
	for _, p := range idle {
		p.close()
	}
}

// take returns a pair for a relayed. One that was used before may just have been ended by its
// loop.
func (c *relayConn) take(used bool) (*pair, error) {
	c.mu.Lock()
	if n := len(c.idle); used && n > 0 {
		p := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		return p, nil
	}
	leads := !c.led
	c.led = true
	c.mu.Unlock()
	c.places <- struct{}{} // pairs of streams that are over are about to end
	p, err := newPair(c, leads)
	if err != nil {
		<-c.places
	}
	if err != nil && leads {
		c.mu.Lock()
		c.led = false
		c.mu.Unlock()
	}
	return p, err
}

// put keeps a pair for another relayed.
func (c *relayConn) put(p *pair) {
	c.mu.Lock()
	keeps := !p.ended
	if keeps {
		c.idle = append(c.idle, p)
	}
	c.mu.Unlock()
	if !keeps {
		p.close()
	}
}

// drop forgets a pair that its loop has ended. If it serves a relayed, that finds out.
func (c *relayConn) drop(p *pair) {
	<-c.places
	c.mu.Lock()
	p.ended = true
	if p.leads {
		c.led = false
	}
	i := slices.Index(c.idle, p)
	if i >= 0 {
		c.idle = slices.Delete(c.idle, i, i+1)
	}
	c.mu.Unlock()
	if i >= 0 {
		p.close()
	}
}

// ServeHTTP implements http.Handler.
func (c *relayConn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := &relayed{relayConn: c, w: w, r: r}
	if !c.begin(s) {
		panic(http.ErrAbortHandler)
	}
	defer c.done(s)
	s.keep(w, c.of.cfg.Send)
	defer s.leave()
	if c.client.Refused {
		w.Header().Set("Connection", "close") // GOAWAY
		s.refuse(http.StatusServiceUnavailable)
	} else {
		s.serve()
	}
	s.whole = true
}
