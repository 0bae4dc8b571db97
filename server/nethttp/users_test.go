package nethttp_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/nethttp"
)

// byUser names whom a response is counted by.
func byUser(files http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _, _ := r.BasicAuth() // has been checked
		if err := engine.SetFlow(r.Context(), engine.Flow{Client: user}); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		files.ServeHTTP(w, r)
	})
}

// Two users behind one address have rates of their own, each over all connections: bob that of every
// client, ann a higher one.
func TestUsersHaveTheirOwnRates(t *testing.T) {
	testenv.LeakCheck(t)
	const burst, mega = 256 << 10, 1_000_000
	rates := map[string]int64{"ann": 4 * mega, "bob": 1 * mega}
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "f"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(root, "f"), 1<<40); err != nil {
		t.Fatal(err)
	}
	files, err := nethttp.New(server.Config{Site: server.Site{Root: root}})
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	e, err := engine.New(engine.Config{Limits: &shape.Config{Client: shape.Limit{Rate: mega, Burst: burst}}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.LimitClient("ann", shape.Limit{Rate: 4 * mega, Burst: burst}, time.Hour); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(byUser(files))
	srv.Config.ConnContext = engine.ConnContext
	srv.Listener = e.Listener(srv.Listener)
	srv.Start()
	defer srv.Close()
	received := make(map[string]*atomic.Int64)
	began := time.Now()
	for user := range rates {
		received[user] = new(atomic.Int64)
		for range 3 {
			defer download(t, srv.Listener.Addr(), user, received[user])()
		}
	}
	// A window ends when bob has his bytes of a second. One counts in which the machine kept nobody from the rate.
	now := func() (at time.Time, ann, bob int64) {
		return time.Now(), received["ann"].Load(), received["bob"].Load()
	}
	good := false
	for window := 0; window < 60 && !good; window++ {
		at, ann, bob := now()
		if !testenv.Eventually(patience, func() bool { return received["bob"].Load() >= bob+mega }) {
			t.Fatal("bob receives nothing")
		}
		end, annNow, bobNow := now()
		share, rate := float64(annNow-ann)/float64(bobNow-bob), float64(bobNow-bob)/end.Sub(at).Seconds()
		t.Logf("ann has %.3f times what bob has, who has %.0f B/s", share, rate)
		good = window > 0 && share > 3.9 && share < 4.1 && rate > 0.97*mega && rate < 1.03*mega // in the first there is the burst
		for user, n := range received {
			got := n.Load()
			if most := burst + int64(float64(rates[user])*time.Since(began).Seconds()); got > most {
				t.Errorf("%s: %d bytes since the beginning, at most %d may be", user, got, most)
			}
		}
	}
	if !good {
		t.Error("no window in which both had their rate")
	}
}

const patience = time.Minute

// download counts what a user receives on a connection, until the end.
func download(t *testing.T, addr net.Addr, user string, n *atomic.Int64) (end func()) {
	t.Helper()
	conn, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/f", http.NoBody)
	r.SetBasicAuth(user, "x")
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 64<<10)
		for {
			got, err := conn.Read(buf)
			if n.Add(int64(got)); err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s: %v", user, err)
				}
				return
			}
		}
	}()
	return func() {
		conn.Close()
		<-ended
	}
}

// Clients of a tier get its rate in place of that of every client, of files and of what is guarded.
func TestTiersLimitGuests(t *testing.T) {
	testenv.LeakCheck(t)
	local, err := server.ParseNetworks([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "f"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	tier := server.Tier{Rate: 3_000_000, Networks: local}
	files, err := nethttp.New(server.Config{Site: server.Site{Root: root}, Identity: server.Identity{Tiers: map[string]server.Tier{"local": tier}}})
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")) })
	for name, h := range map[string]http.Handler{"files": files, "guarded": files.Guard(answer), "others": answer} {
		e, err := engine.New(engine.Config{Limits: &shape.Config{Client: shape.Limit{Rate: 1_000_000}}})
		if err != nil {
			t.Fatal(err)
		}
		srv := httptest.NewUnstartedServer(h)
		srv.Config.ConnContext = engine.ConnContext
		srv.Listener = e.Listener(srv.Listener)
		srv.Start()
		resp, err := srv.Client().Get(srv.URL + "/f")
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v, %v", name, resp, err)
		}
		resp.Body.Close()
		want := tier.Rate
		if name == "others" {
			want = 1_000_000
		}
		if r, _ := e.LimitsReport(1); len(r.Clients) != 1 || r.Clients[0].Limit != want {
			t.Errorf("%s: %+v, want %v", name, r.Clients, want)
		}
		srv.Close()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}
