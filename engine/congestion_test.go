package engine

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// congestionOf returns the congestion control of a socket.
func congestionOf(t *testing.T, fd int) string {
	t.Helper()
	name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// Connections have the congestion control of their listener, and a name that the
// kernel does not know fails at the start.
func TestCongestionOfConnections(t *testing.T) {
	eachDriver(t, func(t *testing.T, kind DriverKind) {
		e := startEngine(t, kind, Config{Congestion: "reno"})
		e.file(t, "f", 1000)
		c := e.dial(t)
		if err := c.get([]byte("f\n"), 1000); err != nil {
			t.Fatal(err)
		}
		seen := 0
		e.onLoop(t, func(l *Loop) {
			for _, ln := range l.listeners {
				if name := congestionOf(t, ln.fd); name != "reno" || ln.paced {
					t.Errorf("listener: %s, paced %v", name, ln.paced)
				}
				seen++
			}
			for slot := range l.conns.gens {
				c := l.conns.at(uint32(slot))
				if c.loop == nil { // of a listener, or free
					continue
				}
				if name := congestionOf(t, int(c.fd)); name != "reno" || c.paced {
					t.Errorf("connection: %s, paced %v", name, c.paced)
				}
				seen++
			}
		})
		if seen != 2 {
			t.Errorf("%d sockets", seen)
		}
		_, err := New(Config{Driver: kind, Listeners: []string{"127.0.0.1:0"}, Congestion: "no-such", NewSession: func(*Loop) Session { return &fileSession{} }})
		if err == nil || !strings.Contains(err.Error(), "no-such") {
			t.Errorf("an unknown name: %v", err)
		}
	})
}
