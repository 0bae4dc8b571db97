// Package difftest holds two tests of the whole server that need a judge from
// outside: nginx, for the answers to a few hundred requests, and a writer that
// keeps changing the file that is being downloaded.
//
// Every difference from nginx is listed with its reason in DIFFERENCES.md,
// which the test reads: what is not listed fails, and what is listed but does
// not occur any more fails too.
package difftest

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// patience bounds every wait of a test; no test is right or wrong by less.
const patience = 20 * time.Second

// onBoth runs a test on each driver.
func onBoth(t *testing.T, test func(t *testing.T, d engine.DriverKind)) {
	t.Run("uring", func(t *testing.T) {
		testenv.NeedUring(t)
		test(t, engine.DriverUring)
	})
	t.Run("fallback", func(t *testing.T) { test(t, engine.DriverFallback) })
}

// serve runs fserve over root until the end of the test and returns its address.
func serve(t *testing.T, d engine.DriverKind, root string, loops int) string {
	t.Helper()
	testenv.LeakCheck(t)
	srv, err := server.New(server.Config{
		Site: server.Site{Root: root, Precompressed: true}, Listen: []string{"127.0.0.1:0"}, Log: slog.New(slog.DiscardHandler),
		Engine: engine.Config{Driver: d, Loops: loops},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return srv.Addrs()[0].String()
}
