package nethttp_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/nethttp"
)

// Files are served over TLS, by HTTP/1.1 and HTTP/2, and count for their client.
func TestOverTLS(t *testing.T) {
	testenv.LeakCheck(t)
	const size = 1<<20 + 3
	root, want := t.TempDir(), testenv.NewPattern(3).Bytes(0, size)
	if err := os.WriteFile(filepath.Join(root, "f"), want, 0o644); err != nil {
		t.Fatal(err)
	}
	h, err := nethttp.New(server.Config{Site: server.Site{Root: root}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	e, err := engine.New(engine.Config{Limits: &shape.Config{Client: shape.Limit{Rate: 100e6}}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, h2 := range []bool{false, true} {
		srv := httptest.NewUnstartedServer(h)
		srv.Config.ConnContext = engine.ConnContext
		srv.Listener = e.Listener(srv.Listener)
		srv.EnableHTTP2 = h2
		srv.StartTLS()
		client := srv.Client()
		client.Transport.(*http.Transport).TLSClientConfig.MinVersion = tls.VersionTLS13
		for field, part := range map[string][]byte{"": want, "bytes=1000-500000": want[1000:500_001], "bytes=-7": want[size-7:]} {
			r, _ := http.NewRequest(http.MethodGet, srv.URL+"/f", nil)
			if field != "" {
				r.Header.Set("Range", field)
			}
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || !bytes.Equal(got, part) || (resp.ProtoMajor == 2) != h2 {
				t.Errorf("%s, range %q: %s, %d bytes, %v", resp.Proto, field, resp.Status, len(got), err)
			}
		}
		srv.Close()
	}
	if n := e.GuestStats().Bytes[engine.ViaMemory]; n < 2*size {
		t.Errorf("%d bytes were limited", n)
	}
}
