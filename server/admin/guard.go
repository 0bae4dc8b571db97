package admin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// crossOrigin refuses changes by pages of other origins.
var crossOrigin = http.NewCrossOriginProtection()

// guard stands in front of all routes: it bounds the time and the body, checks the token
// and the origin of a request, and turns refusals of the mux into problems.
func (a *Admin) guard() http.Handler {
	mux, special := http.NewServeMux(), make(map[string]route)
	for _, r := range a.table {
		mux.Handle(r.pattern, r.handler)
		if _, path := r.request(); r.open || r.maxBody > 0 {
			special[path] = r
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := special[r.URL.Path]
		conn := connOf(r)
		if conn != nil {
			defer conn.answering()()
		}
		// A failure shows when the answer is written.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
		r.Body = http.MaxBytesReader(w, r.Body, cmp.Or(at.maxBody, maxBody))
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		if at.open && *a.token.Load() != "" {
			h.Set("Connection", "close") // nobody keeps what needs no token
		}
		if p := a.refusal(r, at.open); p != nil {
			h.Set("Connection", "close")
			p.write(w)
			return
		}
		if conn != nil && !at.open {
			conn.prove()
		}
		handler, pattern := mux.Handler(r)
		if pattern == "" {
			refused(handler, r).write(w)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// refusal returns why a request is not looked at any further, nil if it is. open
// says that it needs no token.
func (a *Admin) refusal(r *http.Request, open bool) *problem {
	token := *a.token.Load()
	if token != "" && !open && !hasToken(r, token) {
		p := problemf(http.StatusUnauthorized, "the request needs the bearer token of the admin listener")
		p.header = http.Header{"Www-Authenticate": {`Bearer realm="fserve admin"`}}
		return p
	}
	// A page whose name was made to resolve to this machine (DNS rebinding) is of
	// the same origin to its browser, but its requests carry its name. With a
	// token, or on a Unix socket, browsers get nowhere.
	if token == "" && !isUnix(r) && !knownHost(r.Host) {
		return problemf(http.StatusForbidden, "Host %q is not an address of this machine or localhost", r.Host)
	}
	if err := crossOrigin.Check(r); err != nil {
		return problemf(http.StatusForbidden, "a page of another origin may not change anything")
	}
	if p := r.URL.EscapedPath(); cleaned(p) != p {
		return problemf(http.StatusBadRequest, "the path is not clean; a slash in a name is written %%2F where it would be lost")
	}
	return nil
}

// cleaned is the path as net/http's mux would have it.
func cleaned(p string) string {
	if p == "" {
		return "/"
	}
	c := path.Clean(p)
	if strings.HasSuffix(p, "/") && c != "/" {
		c += "/"
	}
	return c
}

// hasToken compares in a time that tells neither where two tokens differ nor how
// long they are.
func hasToken(r *http.Request, token string) bool {
	scheme, given, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return false
	}
	a, b := sha256.Sum256([]byte(strings.TrimSpace(given))), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// knownHost reports whether a Host names this machine by an address, or by the
// one name that cannot be made to mean another.
func knownHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil || strings.EqualFold(strings.TrimSuffix(name, "."), "localhost")
}

// refused returns the verdict of the mux on a request that no route takes: 404, or 405
// with the methods that would be allowed.
func refused(h http.Handler, r *http.Request) *problem {
	v := &verdict{header: make(http.Header)}
	h.ServeHTTP(v, r)
	if v.status == http.StatusMethodNotAllowed {
		p := problemf(v.status, "%s is not offered here, %s is", r.Method, v.header.Get("Allow"))
		p.header = http.Header{"Allow": v.header["Allow"]}
		return p
	}
	return problemf(http.StatusNotFound, "there is nothing at %s; / lists what there is", r.URL.Path)
}

// verdict is a ResponseWriter that keeps the status and the header.
type verdict struct {
	header http.Header
	status int
}

func (v *verdict) Header() http.Header         { return v.header }
func (v *verdict) WriteHeader(status int)      { v.status = status }
func (v *verdict) Write(p []byte) (int, error) { return len(p), nil }

// callerKey is the key of a connection's caller in its context.
type callerKey struct{}

// caller is the other end of a connection.
type caller struct {
	conn *boundedConn // nil: not of the listener of Start
	unix bool
	text string
}

// withCaller notes the caller of a connection: its address, or for a Unix socket the process
// that has connected.
func withCaller(ctx context.Context, c net.Conn) context.Context {
	p := caller{text: c.RemoteAddr().String()}
	if b, ok := c.(*boundedConn); ok {
		p.conn = b
		if u, ok := b.Conn.(*net.UnixConn); ok {
			p.unix, p.text = true, credentials(u)
		}
	}
	return context.WithValue(ctx, callerKey{}, p)
}

// connOf returns the connection of a request; nil: it is not of the listener of Start.
func connOf(r *http.Request) *boundedConn {
	p, _ := r.Context().Value(callerKey{}).(caller)
	return p.conn
}

// credentials asks for those of the peer (SO_PEERCRED, unix(7)).
func credentials(c *net.UnixConn) string {
	raw, err := c.SyscallConn()
	if err != nil {
		return "unix"
	}
	text := "unix"
	if err := raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			text = fmt.Sprintf("unix uid %d pid %d", cred.Uid, cred.Pid)
		}
	}); err != nil {
		return "unix"
	}
	return text
}

func isUnix(r *http.Request) bool {
	p, _ := r.Context().Value(callerKey{}).(caller)
	return p.unix
}

// who names the client of a request for the log.
func (a *Admin) who(r *http.Request) string {
	who := r.RemoteAddr
	if p, ok := r.Context().Value(callerKey{}).(caller); ok {
		who = p.text
	}
	if *a.token.Load() != "" {
		who += " with token " + a.cfg.TokenName
	}
	return who
}
