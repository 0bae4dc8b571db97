package engine

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
)

// The streams of one HTTP/2 connection cannot have flows of their own: SetFlow says so, be
// the protocol agreed on in TLS or known before. HTTP/1.1 on the same servers has them.
func TestSetFlowHTTP2(t *testing.T) {
	testenv.LeakCheck(t)
	e := hostOf(t, Config{Limits: &shape.Config{}})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := SetFlow(r.Context(), Flow{Client: "ann"})
		fmt.Fprint(w, r.Proto, " ", err == nil, errors.Is(err, ErrMultiplexed))
	})
	var both http.Protocols
	both.SetHTTP1(true)
	both.SetHTTP2(true)
	both.SetUnencryptedHTTP2(true)
	clear := serveHTTP(t, e, h, func(s *http.Server) { s.Protocols = &both })
	secure := serveHTTP(t, e, h, func(s *http.Server) {
		s.Protocols = &both
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, NextProtos: []string{"h2", "http/1.1"}}
	})
	for url, ask := range map[string]func(*http.Protocols){
		clear:  func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
		secure: func(p *http.Protocols) { p.SetHTTP2(true) },
	} {
		for want, set := range map[string]func(*http.Protocols){
			"HTTP/2.0 false true": ask,
			"HTTP/1.1 true false": func(p *http.Protocols) { p.SetHTTP1(true) },
		} {
			tr := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
			set(tr.Protocols)
			if _, body := get(t, &http.Client{Transport: tr}, url); string(body) != want {
				t.Errorf("%s: %q, want %q", url, body, want)
			}
			tr.CloseIdleConnections()
		}
	}
}
