package engine_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
)

// A server of net/http sends through the engine: one line changes.
func ExampleEngine_Listener() {
	e, err := engine.New(engine.Config{Limits: &shape.Config{Client: shape.Limit{Rate: 50e6}}})
	must(err)
	defer e.Close()
	file, remove := tempFile("a file to download")
	defer remove()

	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, file)
	}))
	srv.Listener = e.Listener(srv.Listener)
	srv.Start()
	defer srv.Close()

	fmt.Println(get(srv.URL))
	// Output: a file to download
}

// Send sends a range of a file to a connection that is somebody else's.
func ExampleEngine_Send() {
	e, err := engine.New(engine.Config{})
	must(err)
	defer e.Close()
	name, remove := tempFile("0123456789")
	defer remove()
	file, err := os.Open(name)
	must(err)
	defer file.Close()

	conn, peer := connection()
	defer peer.Close()
	out, err := e.Send(context.Background(), conn, file, 3, 4)
	fmt.Println(out.End, out.Total(), "bytes,", out.FileVia(), err)
	conn.Close()
	got, _ := io.ReadAll(peer)
	fmt.Printf("%s\n", got)
	// Output:
	// complete 4 bytes, sendfile <nil>
	// 3456
}

// Over TLS the bytes are read and written, by the same limits.
func ExampleEngine_Send_tls() {
	e, err := engine.New(engine.Config{Limits: &shape.Config{Client: shape.Limit{Rate: 50e6}}})
	must(err)
	defer e.Close()
	name, remove := tempFile("0123456789")
	defer remove()
	file, err := os.Open(name)
	must(err)
	defer file.Close()

	srv := httptest.NewUnstartedServer(nil) // for its certificate
	srv.StartTLS()
	defer srv.Close()
	conn, peer := connection()
	defer conn.Close()
	client := tls.Client(peer, &tls.Config{InsecureSkipVerify: true})
	defer client.Close()
	client.SetDeadline(time.Now().Add(time.Minute))
	go func() {
		out, err := e.Send(context.Background(), tls.Server(conn, srv.TLS), file, 3, 4)
		must(err)
		fmt.Println(out.End, out.Total(), "bytes,", out.FileVia())
		conn.CloseWrite()
	}()
	got := make([]byte, 4)
	_, err = io.ReadFull(client, got)
	must(err)
	_, _ = client.Read(make([]byte, 1)) // the end
	fmt.Printf("%s\n", got)
	// Output:
	// complete 4 bytes, copy
	// 3456
}

// A handler says whose a response is, and how fast it may go.
func ExampleSetFlow() {
	e, err := engine.New(engine.Config{Limits: &shape.Config{}})
	must(err)
	defer e.Close()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _, _ := r.BasicAuth()
		err := engine.SetFlow(r.Context(), engine.Flow{Client: user, Limit: shape.Limit{Rate: 1e6}})
		fmt.Fprintf(w, "%s: %v", user, err)
	}))
	srv.Config.ConnContext = engine.ConnContext // or SetFlow does not find the connection
	srv.Listener = e.Listener(srv.Listener)
	srv.Start()
	defer srv.Close()

	fmt.Println(get("http://alice:secret@" + srv.Listener.Addr().String()))
	// Output: alice: <nil>
}

// ConnContext is for http.Server; with other servers the connection is enough, and with
// fasthttp its RequestCtx.
func ExampleConnContext() {
	e, err := engine.New(engine.Config{Limits: &shape.Config{}})
	must(err)
	defer e.Close()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	ln := e.Listener(inner)
	defer ln.Close()
	go func() {
		peer, err := net.Dial("tcp", ln.Addr().String())
		if err == nil {
			peer.Close()
		}
	}()
	conn, err := ln.Accept()
	must(err)
	defer conn.Close()
	fmt.Println(engine.SetFlow(engine.ConnContext(context.Background(), conn), engine.Flow{Client: "alice"}))
	fmt.Println(engine.SetFlow(context.Background(), engine.Flow{Client: "alice"}))
	// Output:
	// <nil>
	// engine: no connection of a Listener in the context (see ConnContext)
}

// WithFlow tells Send what it is counted by.
func ExampleWithFlow() {
	e, err := engine.New(engine.Config{Limits: &shape.Config{Paths: []shape.PathLimit{{Prefix: "/free/", Limit: shape.Limit{Rate: 1e6}}}}})
	must(err)
	defer e.Close()
	name, remove := tempFile("0123456789")
	defer remove()
	file, err := os.Open(name)
	must(err)
	defer file.Close()
	conn, peer := connection()
	defer peer.Close()
	defer conn.Close()

	ctx := engine.WithFlow(context.Background(), engine.Flow{Client: "bob", Path: "/free/f"})
	_, err = e.Send(ctx, conn, file, 0, -1)
	must(err)
	report, _ := e.LimitsReport(10)
	for _, c := range report.Clients {
		fmt.Println(c.Name, c.Granted)
	}
	// Output: bob 10
}

// Limits change while responses are under way.
func ExampleEngine_Limits() {
	e, err := engine.New(engine.Config{Limits: &shape.Config{}})
	must(err)
	defer e.Close()
	was, _, err := e.Limits().SetClient("bob", shape.Limit{Rate: 2e6}, 0)
	fmt.Println(was.Rate, err)
	for _, c := range e.Limits().Limits().Clients {
		fmt.Println(c.ID, c.Rate)
	}
	// Output:
	// unlimited <nil>
	// bob 2MB/s
}

// A user of a server of its own has a limit for an hour: handlers name the user by SetFlow.
func ExampleEngine_LimitClient() {
	e, err := engine.New(engine.Config{Limits: &shape.Config{Client: shape.Limit{Rate: 1e6}}})
	must(err)
	defer e.Close()
	fmt.Println(e.LimitClient("bob", shape.Limit{Rate: 2e6}, time.Hour))
	fmt.Println(e.LimitClient("bob", shape.Limit{Rate: 2e6}, -time.Second))
	for _, c := range e.Limits().Limits().Clients {
		fmt.Println(c.ID, c.Rate, c.Expires > 0)
	}
	// Output:
	// <nil>
	// engine: limit of client bob: it has ended 1s ago
	// bob 2MB/s true
}

// SendStats says what went which way.
func ExampleEngine_GuestStats() {
	e, err := engine.New(engine.Config{ZeroCopy: engine.ZeroCopySplice})
	must(err)
	defer e.Close()
	name, remove := tempFile("0123456789")
	defer remove()
	file, err := os.Open(name)
	must(err)
	defer file.Close()
	conn, peer := connection()
	defer peer.Close()
	defer conn.Close()
	_, err = e.Send(context.Background(), conn, file, 0, -1)
	must(err)
	s := e.GuestStats()
	fmt.Println(s.Sends, s.Failed, s.Bytes[engine.ViaSplice])
	// Output: 1 0 10
}

func tempFile(content string) (name string, remove func()) {
	f, err := os.CreateTemp("", "example")
	must(err)
	_, err = f.WriteString(content)
	must(err)
	must(f.Close())
	return f.Name(), func() { os.Remove(f.Name()) }
}

func get(url string) string {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(url)
	must(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(err)
	return string(body)
}

func connection() (ours, peer *net.TCPConn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	must(err)
	s, err := ln.Accept()
	must(err)
	return s.(*net.TCPConn), c.(*net.TCPConn)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
