package load

import (
	"crypto/tls"
	"strings"
	"sync/atomic"
	"testing"
)

// newSecureOrigin is newOrigin with TLS. It counts the handshakes that resume a session.
func newSecureOrigin(t *testing.T, files map[string]int) (o *origin, resumed *atomic.Int64) {
	t.Helper()
	o, resumed = unstarted(t, files), new(atomic.Int64)
	o.TLS = &tls.Config{VerifyConnection: func(cs tls.ConnectionState) error {
		if cs.DidResume {
			resumed.Add(1)
		}
		return nil
	}}
	o.StartTLS()
	return o, resumed
}

func TestSecureClosed(t *testing.T) {
	const size = 300 << 10 // several buffers
	o, _ := newSecureOrigin(t, map[string]int{"/f": size})
	c := o.config(Closed, "/f", size)
	c.TLS = NewSessions
	res, err := run(t, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := res.Groups[0]
	if seen.Requests < 1 || seen.Bytes < seen.Requests*size || res.Seconds <= 0 || seen.P50 <= 0 || seen.Max < seen.P99 {
		t.Errorf("%+v", res)
	}
	if n := o.opened.Load(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

// Each response has a connection of its own, and all but the first of a client resume.
func TestSecureReconnect(t *testing.T) {
	for way, resumes := range map[TLS]bool{NewSessions: false, Resumed: true} {
		o, resumed := newSecureOrigin(t, map[string]int{"/f": 1 << 10})
		c := o.config(Reconnect, "/f", 1<<10)
		c.TLS, c.Groups[0].Clients = way, 5
		res, err := run(t, c, nil)
		if err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		if n, r := o.opened.Load(), res.Groups[0].Requests; n < r || r < 1 {
			t.Errorf("%s: %d connections for %d requests", way, n, r)
		}
		if n := resumed.Load(); n > 0 != resumes {
			t.Errorf("%s: %d handshakes resumed a session", way, n)
		}
	}
}

func TestSecureHold(t *testing.T) {
	o, _ := newSecureOrigin(t, map[string]int{"/f": 1 << 10})
	c := o.config(Hold, "/f", 1<<10)
	c.TLS, c.Measure, c.Groups[0].Conns = NewSessions, 0, 2*opening
	_, err := run(t, c, func(int64) error {
		if opened, closed := o.opened.Load(), o.closed.Load(); opened != 2*opening || closed != 0 {
			t.Errorf("%d opened, %d closed", opened, closed)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestSecureFails(t *testing.T) {
	o, _ := newSecureOrigin(t, map[string]int{"/f": 10})
	for _, tc := range []struct {
		path string
		want string
	}{
		{"/f", "status 200 with 10 bytes instead of 200 with 11"},
		{"/none", "status 404"},
	} {
		c := o.config(Closed, tc.path, 11)
		c.TLS = NewSessions
		if _, err := run(t, c, nil); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v", tc.path, err)
		}
	}
	plain := newOrigin(t, map[string]int{"/f": 11})
	c := plain.config(Closed, "/f", 11)
	c.TLS = NewSessions
	if _, err := run(t, c, nil); err == nil || !strings.Contains(err.Error(), "connection") {
		t.Errorf("a server without TLS: error %v", err)
	}
}
