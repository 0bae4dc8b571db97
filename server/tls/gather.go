package tls

import (
	"net"
	"runtime"
	"sync"
	"time"
)

// gatherer gathers the records that are written to a connection while others are on their way to the
// kernel: package crypto/tls writes each by itself, and half of what a record costs is the call.
// Records that come alone, and small ones, are written at once. An error is that of the next write.
type gatherer struct {
	net.Conn

	mu      sync.Mutex
	room    sync.Cond
	pending *gathered // nil: nothing is
	running bool      // a goroutine writes
	err     error
}

const (
	// gatherLeast is what is gathered, in bytes; what is smaller is as a rule the last for now.
	gatherLeast = 8 << 10
	// gatherMost bounds what waits, but for the record that crosses it, in bytes.
	gatherMost = 64 << 10
	// gatherRecord is the longest that is gathered, in bytes: the longest that there is.
	gatherRecord = 17 << 10
	// gatherClose bounds the wait for what is pending when the connection is closed, as crypto/tls bounds
	// that for its last alert.
	gatherClose = 5 * time.Second
)

type gathered struct {
	n     int
	bytes [gatherMost + gatherRecord]byte
}

var gatheredPool = sync.Pool{New: func() any { return new(gathered) }}

func newGatherer(c net.Conn) *gatherer {
	g := &gatherer{Conn: c}
	g.room.L = &g.mu
	return g
}

// Write implements net.Conn. Its caller, crypto/tls, writes from one goroutine at a time.
func (g *gatherer) Write(p []byte) (int, error) {
	switch taken, err := g.gather(p); {
	case err != nil:
		return 0, err
	case taken:
		return len(p), nil
	}
	return g.Conn.Write(p)
}

// gather takes p, or waits until nothing is pending.
func (g *gatherer) gather(p []byte) (taken bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.err == nil && g.pending != nil && g.pending.n > gatherMost {
		g.room.Wait()
	}
	if len(p) > gatherRecord {
		for g.running {
			g.room.Wait()
		}
	}
	if g.err != nil || !g.running && (len(p) < gatherLeast || len(p) > gatherRecord) {
		return false, g.err
	}
	if g.pending == nil {
		g.pending = gatheredPool.Get().(*gathered)
	}
	g.pending.n += copy(g.pending.bytes[g.pending.n:], p)
	if !g.running {
		g.running = true
		go g.run()
	}
	return true, nil
}

// run writes what is pending until nothing is.
func (g *gatherer) run() {
	for {
		runtime.Gosched() // whoever is about to write the next record does
		g.mu.Lock()
		b := g.pending
		g.pending = nil
		if g.running = b != nil; b == nil {
			g.room.Broadcast()
			g.mu.Unlock()
			return
		}
		g.room.Broadcast()
		g.mu.Unlock()
		_, err := g.Conn.Write(b.bytes[:b.n])
		b.n = 0
		gatheredPool.Put(b)
		if err != nil {
			g.mu.Lock()
			g.err = err
			g.mu.Unlock()
		}
	}
}

// Close implements net.Conn.
func (g *gatherer) Close() error {
	late := time.AfterFunc(gatherClose, func() { _ = g.Conn.Close() })
	g.mu.Lock()
	for g.running {
		g.room.Wait()
	}
	g.mu.Unlock()
	late.Stop()
	return g.Conn.Close()
}
