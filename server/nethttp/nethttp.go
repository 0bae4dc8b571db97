// Package nethttp serves files to servers of net/http as package server does to
// its own clients: the same paths, validators, ranges, sidecars, listings and error pages,
// decided by the same code. Where that differs from http.FileServer is listed in
// DIFFERENCES.md.
//
// With a listener of engine.Engine.Listener bodies go from the page cache to the
// network without passing through user memory, by the engine's limits.
package nethttp

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/httpfile"
)

// flushFrom is the size of bodies, in bytes, from which on the head is sent by itself.
// With a head that is not sent yet net/http reads the first 512 bytes of a file
// into memory, and if they are not in the page cache a thread waits for the disk.
const flushFrom = 64 << 10

// Handler is an http.Handler for the files below a root. It is safe for
// concurrent use.
type Handler struct{ files *server.Handler }

// New returns a Handler; see server.NewHandler about what it uses of a Config.
func New(cfg server.Config) (*Handler, error) {
	h, err := server.NewHandler(cfg)
	if err != nil {
		return nil, err
	}
	return &Handler{h}, nil
}

// Close closes the root. No request may be under way.
func (h *Handler) Close() error { return h.files.Close() }

// fields are those of a request that decide about files.
var fields = []string{
	"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range", "Accept-Encoding", "Accept",
}

// ServeHTTP implements http.Handler. It may stand behind http.StripPrefix. If
// the file changes while it is sent, it panics with http.ErrAbortHandler, so that the
// client does not take a part for the whole.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if to := withSlash(r); to != "" {
		http.Redirect(w, r, to, http.StatusMovedPermanently)
		return
	}
	q := query(r)
	a := h.files.Answer(&q)
	a.Share(r.Context())
	respond(w, r, a)
}

// Guard returns middleware: it has next answer the requests that are let in by the rules of access, proofs
// (Site.Require) and bounds (Config.Admission) of the place of their path, and refuses the others. A response
// counts until next has returned. server.CallerOf says who asks. Where the server has engine.ConnContext and
// a listener of engine.Engine.Listener, responses are limited by the tier of the user.
func (h *Handler) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := query(r)
		a, admitted := h.files.Enter(&q)
		if !admitted {
			respond(w, r, a)
			return
		}
		defer func() { _ = a.Close() }() // there is no file
		a.Share(r.Context())
		for name, value := range a.Fields() {
			w.Header().Set(name, value)
		}
		next.ServeHTTP(w, r.WithContext(a.With(r.Context())))
	})
}

// respond sends an answer, and closes it.
func respond(w http.ResponseWriter, r *http.Request, a *server.Answer) {
	defer func() { _ = a.Close() }() // it was only read
	head := w.Header()
	for name, value := range a.Fields() {
		switch {
		case name == "Vary": // there may be one of those around, and one of a rule
			head.Add(name, value)
			continue
		case name == "Location" && strings.HasPrefix(value, "/"):
			value = stripped(r) + value
		}
		head.Set(name, value)
	}
	w.WriteHeader(a.Status())
	if r.Method != http.MethodHead && a.ContentLength() >= flushFrom {
		_ = http.NewResponseController(w).Flush() // the copy tells what is wrong
	}
	if _, err := a.WriteTo(w); errors.Is(err, server.ErrFileChanged) {
		panic(http.ErrAbortHandler)
	}
}

// query returns what the answer depends on.
func query(r *http.Request) server.Query {
	q := server.Query{
		Request: httpfile.Request{
			Method: httpfile.ParseMethod([]byte(r.Method)), HTTP10: !r.ProtoAtLeast(1, 1),
		},
		Target: r.URL.EscapedPath(), Host: r.Host, Encrypted: r.TLS != nil,
		Referer: r.Referer(), UserAgent: r.UserAgent(), Authorization: r.Header.Get("Authorization"), APIKey: r.Header.Get("X-API-Key"),
		Cookie: r.Header.Get("Cookie"), Gone: r.Context().Done(),
		Twice: len(r.Header["Authorization"]) > 1 || len(r.Header["X-Api-Key"]) > 1,
	}
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		q.Query = []byte(r.URL.RawQuery)
	}
	if !strings.HasPrefix(q.Target, "/") && q.Target != "*" {
		q.Target = "/" + q.Target // http.StripPrefix may have left none
	}
	q.Client, q.Unix = client(r)
	for _, name := range fields {
		for _, value := range r.Header[name] {
			q.AddField([]byte(name), []byte(value))
		}
	}
	return q
}

// client returns the address of a client, the zero Addr if it is not known, and whether it
// came through a Unix socket. Middleware that puts another address into RemoteAddr may leave
// out the port.
func client(r *http.Request) (a netip.Addr, unix bool) {
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return ap.Addr(), false
	}
	if a, err := netip.ParseAddr(r.RemoteAddr); err == nil {
		return a, false
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	named := r.RemoteAddr != "" && r.RemoteAddr[0] != '@' && r.RemoteAddr[0] != '/'
	return netip.Addr{}, ok && local.Network() == "unix" && !named
}

// withSlash returns where a request is redirected of whose path http.StripPrefix has left
// nothing, not even a slash: what the root refers to is relative to it. Empty: nowhere.
func withSlash(r *http.Request) string {
	if r.URL.Path != "" || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return ""
	}
	path := sent(r)
	if path == "" || strings.HasSuffix(path, "/") {
		return ""
	}
	to := "/" + strings.TrimLeft(path, "/") + "/"
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	return to
}

// stripped returns what http.StripPrefix has taken from the path of a request, so
// that redirects lead to where the client knows the file.
func stripped(r *http.Request) string {
	prefix, ok := strings.CutSuffix(sent(r), r.URL.EscapedPath())
	if prefix = strings.Trim(prefix, "/"); !ok || prefix == "" {
		return ""
	}
	return "/" + prefix
}

// sent returns the path of a request as the client sent it, percent-encoded; empty if that is
// not known.
func sent(r *http.Request) string {
	u, err := url.ParseRequestURI(r.RequestURI)
	if err != nil {
		return ""
	}
	return u.EscapedPath()
}
