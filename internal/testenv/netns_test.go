package testenv

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLine sends through a line that is limited and loses packets.
func TestLine(t *testing.T) {
	l := NewLine(t)
	l.SetRate(100e6, 64<<10)
	l.SetLoss(0)
	l.SetLoss(5_000)
	ln := l.Listen()
	const size = 2 << 20
	p := NewPattern(9)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.Write(p.Bytes(0, size))
	}()
	began := time.Now()
	c, err := l.Dial(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if from := c.LocalAddr().(*net.TCPAddr).IP.String(); from != ClientAddr {
		t.Errorf("connected from %s", from)
	}
	c.SetDeadline(time.Now().Add(time.Minute))
	b, err := io.ReadAll(c)
	if err != nil || len(b) != size {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if err := p.Check(b, 0); err != nil {
		t.Error(err)
	}
	// 2 MiB at 100 Mbit/s cannot take less; how much more is up to the machine.
	if took := time.Since(began); took < 160*time.Millisecond {
		t.Errorf("done within %v: the limit does not hold", took)
	}
}

// TestLineIsApart checks that the test's own thread stays where it was.
func TestLineIsApart(t *testing.T) {
	LeakCheck(t)
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Skip(err)
	}
	l := NewLine(t)
	var inside string
	l.InServer(func() {
		var b [64]byte
		n, _ := unix.Readlink("/proc/thread-self/ns/net", b[:])
		inside = string(b[:max(n, 0)])
	})
	if after, _ := os.Readlink("/proc/self/ns/net"); after != before || inside == before || inside == "" {
		t.Errorf("namespace %s, then %s; of the server %s", before, after, inside)
	}
}
