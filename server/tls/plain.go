package tls

import (
	crypto "crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// plainText is the answer to a request that came without TLS.
	plainText = "This port speaks TLS: the address begins with https://\n"
	// plainLinger and maxPlain bound what is read and dropped after it: a reset because of
	// unread bytes would destroy it on its way.
	plainLinger = 2 * time.Second
	maxPlain    = 64 << 10
)

// isHTTP reports whether a handshake has failed because the client speaks HTTP without TLS.
func isHTTP(err error) bool {
	var e crypto.RecordHeaderError
	if !errors.As(err, &e) || e.Conn == nil { // nil: a later record
		return false
	}
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost, http.MethodPut} {
		if strings.HasPrefix(m+" /", string(e.RecordHeader[:])) || strings.HasPrefix(string(e.RecordHeader[:]), m+" ") {
			return true
		}
	}
	return false
}

// refuseHTTP tells the client, and once a minute the operator.
func (b *bridge) refuseHTTP() {
	f, now := b.front, time.Now()
	f.mu.Lock()
	says := now.Sub(f.plain) >= silence
	if says {
		f.plain = now
	}
	f.mu.Unlock()
	if says {
		f.cfg.Log.Warn("HTTP without TLS at a TLS port: answered with 400", "client", b.peer.Addr(), "listener", b.tcp.LocalAddr())
	}
	_ = b.tcp.SetDeadline(time.Now().Add(plainLinger)) // fails if it is closed, and so does what follows
	_, err := fmt.Fprintf(b.tcp, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		len(plainText), plainText)
	if err == nil && b.tcp.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, b.tcp, maxPlain)
	}
}
