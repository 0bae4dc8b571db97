package http2

import (
	"net/http"
	"sync"

	"github.com/fserve/fserve/server/tls"
)

// conn is the connection of a client. It is the http.Handler of its streams.
type conn struct {
	of     *Server
	client *tls.Client

	mu      sync.Mutex
	idle    []*pair // the one that was used last is the last
	led     bool    // one of the pairs stands for the client's connection where that is measured
	over    bool
	running sync.WaitGroup // streams
}

// begin notes a stream; false: the connection has ended.
func (c *conn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.running.Add(1)
	}
	return !c.over
}

// end ends what is left of a connection that serves no stream any more.
func (c *conn) end() {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	c.running.Wait()
	for _, p := range c.idle {
		p.close()
	}
}

// take returns a pair for a stream. One that was used before may just have been ended by its
// loop.
func (c *conn) take(used bool) (p *pair, err error) {
	c.mu.Lock()
	if n := len(c.idle); used && n > 0 {
		p = c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		return p, nil
	}
	leads := !c.led
	c.led = true
	c.mu.Unlock()
	return newPair(c, leads)
}

// put keeps a pair for another stream.
func (c *conn) put(p *pair) {
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

// drop forgets a pair that its loop has ended. If it serves a stream, that finds out.
func (c *conn) drop(p *pair) {
	c.mu.Lock()
	p.ended = true
	if p.leads {
		c.led = false
	}
	idle := false
	for i, o := range c.idle {
		if o == p {
			c.idle, idle = append(c.idle[:i], c.idle[i+1:]...), true
			break
		}
	}
	c.mu.Unlock()
	if idle {
		p.close()
	}
}

// ServeHTTP implements http.Handler.
func (c *conn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !c.begin() {
		panic(http.ErrAbortHandler)
	}
	defer c.running.Done()
	s := stream{conn: c, w: w, r: r}
	s.serve()
}
