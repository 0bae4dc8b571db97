package tls

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/fserve/fserve/internal/testenv"
)

// gate is a connection whose writes wait until they are let through.
type gate struct {
	net.Conn
	let <-chan error

	mu   sync.Mutex
	got  bytes.Buffer
	most int // bytes of a write
}

func (g *gate) Write(p []byte) (int, error) {
	if err := <-g.let; err != nil {
		return 0, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.most = max(g.most, len(p))
	return g.got.Write(p)
}

func (g *gate) Close() error { return nil }

// Records that are written while others are on their way leave together, in their order and whole.
func TestRecordsAreGathered(t *testing.T) {
	testenv.LeakCheck(t)
	let := make(chan error, 100)
	under := &gate{let: let}
	g := newGatherer(under)
	var want []byte
	write := func(n int) {
		p := bytes.Repeat([]byte{byte(len(want))}, n)
		want = append(want, p...)
		if k, err := g.Write(p); k != n || err != nil {
			t.Fatalf("%d, %v", k, err)
		}
	}
	let <- nil
	write(100) // it comes alone, and does not return before it has left
	if under.got.Len() != 100 {
		t.Errorf("%d bytes have left", under.got.Len())
	}
	for range 3 { // as many as wait without being in the way
		write(16 << 10)
		write(50)
	}
	for range 20 {
		let <- nil
	}
	write(gatherRecord + 1)
	for range 3 {
		write(9000)
	}
	if err := g.Close(); err != nil || !bytes.Equal(under.got.Bytes(), want) {
		t.Errorf("%v; other bytes, %d for %d", err, under.got.Len(), len(want))
	}
	if under.most < 2*16<<10 {
		t.Errorf("the longest write has %d bytes", under.most)
	}
}

// What cannot be written is said to those that come later, and to Close's caller nothing is owed.
func TestGathererFails(t *testing.T) {
	testenv.LeakCheck(t)
	broken := errors.New("broken")
	let := make(chan error)
	g := newGatherer(&gate{let: let})
	record := make([]byte, 16<<10)
	if _, err := g.Write(record); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := g.Write(record); err != nil {
				ended <- err
				return
			}
		}
	}()
	for failed := false; !failed; {
		select {
		case let <- broken:
		case err := <-ended:
			if failed = true; !errors.Is(err, broken) {
				t.Error(err)
			}
		}
	}
	close(let) // for what was pending
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}
