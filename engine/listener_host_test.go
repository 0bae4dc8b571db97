package engine

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
)

// hostHandlers behave in ways for which net/http has promises.
var hostHandlers = map[string]http.HandlerFunc{
	"panics at once": func(http.ResponseWriter, *http.Request) { panic("on purpose") },
	"panics later": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		w.Write(make([]byte, 50_000))
		panic("on purpose")
	},
	"aborts": func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "part")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	},
	"writes less": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "too little")
	},
	"writes more": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		_, err := io.WriteString(w, "too much")
		if !errors.Is(err, http.ErrContentLength) {
			panic(err)
		}
	},
	"chunks": func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			io.WriteString(w, "chunk")
			w.(http.Flusher).Flush()
		}
	},
	"hijacks": func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		io.WriteString(c, "not HTTP at all")
	},
	"upgrades": func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
		rw.Flush()
		io.CopyN(rw, rw, 4)
		rw.Flush()
	},
	"deadline": func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(-time.Second)); err != nil {
			panic(err)
		}
		w.Write(make([]byte, 100_000))
	},
	"reads late": func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "first, ")
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	},
}

// TestHostPromises compares what clients see of such handlers with the engine and
// without.
func TestHostPromises(t *testing.T) {
	for name, h := range hostHandlers {
		want, err := hostExchange(t, nil, h)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for what, cfg := range map[string]Config{"without limits": {}, "with limits": {Limits: &shape.Config{Client: shape.Limit{Rate: 100e6}}}} {
			e := hostOf(t, cfg)
			got, err := hostExchange(t, e, h)
			if err != nil || got != want {
				t.Errorf("%s, %s: %v\ngot  %.300q\nwant %.300q", name, what, err, got, want)
			}
		}
	}
}

var dateField = regexp.MustCompile(`Date: [^\r]*`)

// hostExchange returns all that a client of h receives.
func hostExchange(t *testing.T, e *Engine, h http.Handler) (string, error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	if e != nil {
		ln = e.Listener(ln)
	}
	srv := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	ended := make(chan struct{})
	go func() { srv.Serve(ln); close(ended) }()
	defer func() { srv.Close(); <-ended }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"+"body"+"GET /last HTTP/1.0\r\nConnection: close\r\n\r\n")
	all, err := io.ReadAll(c)
	var n net.Error
	if errors.As(err, &n) && n.Timeout() {
		return "", err
	}
	return dateField.ReplaceAllString(string(all), "Date: …"), nil // a reset is an end, too
}

// TestPeerLeaves has handlers write to peers that are gone: they hear of it and end.
func TestPeerLeaves(t *testing.T) {
	testenv.LeakCheck(t)
	for _, limits := range []*shape.Config{nil, {Client: shape.Limit{Rate: 1e6}}} {
		e := hostOf(t, Config{Limits: limits})
		f := patternFile(t, testenv.NewPattern(30), 8<<20).Name()
		ended := make(chan error, 2)
		url := serveHTTP(t, e, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/file" {
				http.ServeFile(w, r, f)
				ended <- io.EOF // it has ended: http.ServeFile tells nobody why
				return
			}
			var err error
			for err == nil {
				_, err = w.Write(make([]byte, 10_000))
			}
			ended <- err
		}), nil)
		for _, path := range []string{"/file", "/memory"} {
			c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
			if _, err := io.ReadFull(c, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
			select {
			case err := <-ended:
				if err == nil {
					t.Errorf("%s: the handler has not heard of it", path)
				}
			case <-time.After(patience):
				t.Fatalf("%s: the handler goes on", path)
			}
		}
	}
}
