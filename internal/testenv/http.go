package testenv

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Answer is a response with its body, which was read to its end.
type Answer struct {
	*http.Response
	Body string
}

// Single is a client with a connection for each request. It takes answers as they
// come: it follows no redirects and decodes nothing.
var Single = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       time.Minute,
}

// Ask sends a request by a client and reads the answer. Fields are written
// "Name: value"; Host is the name that the request is for.
func Ask(t testing.TB, client *http.Client, method, url, body string, fields ...string) Answer {
	t.Helper()
	var content io.Reader = http.NoBody
	if body != "" {
		content = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, url, content)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
	}
	r.Host = r.Header.Get("Host")
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Answer{resp, string(b)}
}
