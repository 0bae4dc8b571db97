package httpfile

import (
	"encoding/json"
	"testing"
)

func TestPrefersHTML(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "text/*": false, "text/html": true, "Text/html ; Q=0.3": true, "text/html;q=0": false, "application/xhtml+xml": false,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": true, "text/html, */*": true, "text/plain, text/html;q=0.9": false,
		"application/json, text/html;q=0.9": false, "text/html, application/json": true, "text/html;q=0.2, */*;q=0.1": true, "text/html;level=1": true,
	} {
		if got := PrefersHTML([]byte(accept)); got != want {
			t.Errorf("%q: %t, want %t", accept, got, want)
		}
	}
}

// A problem in JSON is for those who name it, and rank nothing else above it.
func TestProblem(t *testing.T) {
	pol := testPolicy(t, Config{})
	for accept, want := range map[string]bool{
		"application/json": true, "application/problem+json": true, "application/json, text/plain;q=0.5, */*;q=0.1": true,
		"": false, "*/*": false, "application/*": false, "text/html, application/json": false, "application/json;q=0": false, "application/json;q=0.5, text/plain": false,
	} {
		var p Plan
		req := Request{Method: MethodGet, Accept: []byte(accept)}
		p.Fail(StatusTooManyRequests, &req, pol)
		p.Violates(&req, "requests", 7)
		if p.RetryAfter != 7 || p.IsProblem() != want {
			t.Errorf("%q: a problem: %v", accept, p.IsProblem())
		}
		var v struct {
			Type, Title string
			Status      int
			Violated    []string `json:"violated-policies"`
			RetryAfter  int      `json:"retry_after"`
		}
		body := p.Segments()[0].Mem
		if err := json.Unmarshal(body, &v); want != (err == nil) || want && (v.Type != problemQuota || v.Title != "Too Many Requests" || v.Status != 429 || v.Violated[0] != "requests" || v.RetryAfter != 7) {
			t.Errorf("%q: %s", accept, body)
		}
	}
}
