package main_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// A session that was begun with a process is resumed by its successor, and by the one after.
func TestUpgradeResumesSessions(t *testing.T) {
	root, _, _ := site(t)
	cert, key := writePair(t, t.TempDir())
	l := serveLine(t, exec.Command(binary, "--root", root, "--listen", "127.0.0.1:0", "--tls-listen", "127.0.0.2:0", "--tls-cert", cert, "--tls-key", key), nil)
	addr := strings.TrimPrefix(l.addrs[len(l.addrs)-1], "https://")
	cache := tls.NewLRUClientSessionCache(1)
	resumed := func() bool {
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ClientSessionCache: cache, ServerName: "localhost"}) //nolint:gosec // self-signed
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n") // a ticket comes with the answer
		resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodHead})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return c.ConnectionState().DidResume
	}
	if resumed() {
		t.Error("the first session is resumed")
	}
	for i := range 2 {
		l.upgrade()
		if !resumed() {
			t.Errorf("after upgrade %d: a new session", i+1)
		}
	}
	l.stop()
}
