package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// problem is an error as the client sees it (RFC 9457). Its type is about:blank:
// the status says what kind it is.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Field  string `json:"field,omitempty"` // the member of the body, or the parameter, that is at fault

	header http.Header // further fields of the response
}

func problemf(status int, format string, args ...any) *problem {
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, args...)}
}

// bad returns the problem of a field.
func bad(field, format string, args ...any) *problem {
	p := problemf(http.StatusBadRequest, format, args...)
	p.Field = field
	return p
}

// Error implements error.
func (p *problem) Error() string {
	if p.Field != "" {
		return p.Field + ": " + p.Detail
	}
	return p.Detail
}

func (p *problem) write(w http.ResponseWriter) {
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "application/problem+json")
	writeJSON(w, p.Status, p)
}

// endpoint answers a request with a value, which is sent as JSON with status 200, or
// with a problem.
type endpoint func(*http.Request) (any, *problem)

// ServeHTTP implements http.Handler.
func (e endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v, p := e(r)
	if p != nil {
		p.write(w)
		return
	}
	answer(w, http.StatusOK, v)
}

// answer sends a value as JSON.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	writeJSON(w, status, v)
}

// writeJSON sends v. That it fails means that nobody is listening.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
}
