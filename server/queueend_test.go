package server_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// TestCloseWithQueue: a server ends while a request waits for its turn.
func TestCloseWithQueue(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{
			Admission: server.Admission{ClientDownloads: 1, QueueLength: 5, QueueWait: time.Hour},
			Engine:    engine.Config{Loops: 1, Limits: &shape.Config{Connection: shape.Limit{Rate: 1000, Burst: 1000}}},
		})
		g.pattern("f", 1, 300_000)
		g.queue("/f", "/f")
		ended := make(chan error, 1)
		go func() { ended <- g.srv.Close() }()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Fatal("it does not end")
		}
		if a := g.srv.Admission(); a.UnderWay() != 0 || a.Waiting() != 0 {
			t.Errorf("at the end %d are counted, %d wait", a.UnderWay(), a.Waiting())
		}
	})
}

// queue asks for two targets, of which the second has to wait.
func (g *rig) queue(first, second string) (a, b *client) {
	g.t.Helper()
	a, b = g.dial(), g.dial()
	a.send(request(http.MethodGet, first))
	if !testenv.Eventually(patience, func() bool { return g.srv.Admission().UnderWay() == 1 }) {
		g.t.Fatal("the first is not counted")
	}
	b.send(request(http.MethodGet, second))
	if !testenv.Eventually(patience, func() bool { return g.srv.Admission().Waiting() == 1 }) {
		g.t.Fatal("the second does not wait")
	}
	return a, b
}

// occupy keeps others from opening a file, until its function is called.
func (g *rig) occupy(name string) (end func()) {
	g.t.Helper()
	f, err := os.OpenFile(filepath.Join(g.root, name), os.O_RDWR, 0)
	if err != nil {
		g.t.Fatal(err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		g.t.Skip("no leases here: ", err)
	}
	return func() { f.Close() }
}

// TestGoneWhileOpening: whoever leaves while a disk is waited for is not counted any more: a
// disk that hangs would take the downloads of all.
func TestGoneWhileOpening(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g, _ := slowly(t, d, server.Admission{Downloads: 1})
		g.write("hangs", "hangs")
		defer g.occupy("hangs")()
		c := g.dial()
		c.send(request(http.MethodGet, "/hangs"))
		if !testenv.Eventually(patience, func() bool { return g.srv.Admission().UnderWay() == 1 }) {
			t.Fatal("the request is not counted")
		}
		_ = c.conn.SetLinger(0)
		c.conn.Close()
		// The file is waited for for five seconds.
		if !testenv.Eventually(4*time.Second, func() bool { return g.srv.Admission().UnderWay() == 0 }) {
			t.Error("it is counted as long as the file is waited for")
		}
	})
}

// TestOpeningAfterQueue: what a request waited in the queue is not taken from the time that a
// disk has.
func TestOpeningAfterQueue(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		ends := make(chan struct{})
		const wait = 2 * time.Second
		g, _ := slowly(t, d, server.Admission{ClientDownloads: 1, QueueLength: 1, QueueWait: wait}, server.Route{
			Prefix: "/handler", Blocking: true, Handler: func(*fasthttp.RequestCtx) { <-ends },
		})
		g.write("hangs", "hangs")
		time.AfterFunc(wait+time.Second, g.occupy("hangs"))
		_, b := g.queue("/handler", "/hangs")
		close(ends)
		b.read(http.MethodGet).want(t, 200, "hangs")
	})
}
