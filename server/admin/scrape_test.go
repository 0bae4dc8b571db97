package admin_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/admin"
)

// More clients than a loop looks at in one turn are all told of, time and again.
func TestScrapeOfManyClients(t *testing.T) {
	const clients = 1500
	g := start(t, nil)
	g.file("f", 1000)
	g.change("PUT", "/limits/client", `{"rate":"0"}`) // nobody gets anything
	for i := range clients {
		from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+i/200), byte(1+i%200))}}
		c, err := from.Dial("tcp", g.srv.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /f HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	if !testenv.Eventually(patience, func() bool { return g.samples()[`fserve_transfers_waiting`] == clients }) {
		t.Fatalf("%v responses wait", g.samples()[`fserve_transfers_waiting`])
	}
	for range 3 {
		report, _ := g.srv.Engine().LimitsReport(50)
		if report.Flows != clients || report.Others.Flows != clients-50 || len(report.Clients) != 50 {
			t.Errorf("%d responses, %d of others, %d clients told apart", report.Flows, report.Others.Flows, len(report.Clients))
		}
		for _, c := range report.Clients {
			if c.Flows != 1 {
				t.Errorf("client %q has %d responses", c.Name, c.Flows)
			}
		}
	}
}

// BenchmarkScrape is what a scrape computes and allocates where there are no clients.
func BenchmarkScrape(b *testing.B) {
	g := start(b, func(sc *server.Config, _ *admin.Config) { sc.Engine.Loops = 1 })
	r := httptest.NewRequest("GET", "http://127.0.0.1/metrics", nil)
	h := g.admin.Handler()
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code, w.Body)
		}
	}
}
